"""What ``make demo-train`` rests on: a task of twelve turns that is small enough, and a transformer that learns with a curve."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from apportion.bench.estimate import estimate, need
from apportion.bench.knobs import entrant
from apportion.bench.learning import train
from apportion.bench.neural.learned import Reading
from apportion.bench.neural.model import MOST
from apportion.bench.neural.process import MOST_CONTEXTS
from apportion.bench.neural.task import NeuralTask, build
from apportion.bench.neural.time import parameters, update_seconds
from apportion.bench.oracle import expected_return
from apportion.bench.records import Cell
from apportion.bench.settings import Learning, Settings
from apportion.bench.suites import plan
from apportion.bench.tabular import chain
from apportion.bench.tasks import find, register


def test_the_task_is_within_its_limits_and_nothing_is_learned_to_say_so() -> None:
    task = find("neural/tiny/turns-12")
    assert isinstance(task, NeuralTask)
    described = task.describe()["definition"]
    assert (task.horizon, task.words.shape[1]) == (12, 2)
    assert described["texts"] <= MOST_CONTEXTS
    assert 11_000 < described["parameters"] == parameters(task) <= MOST
    found = estimate(plan("train"), 2, speed=1.0)
    assert 120 < found.wall <= 900, "a quarter of an hour on two idle cores is promised"
    assert need(Cell("rloo", task.id, 0, "gradient"), Settings()) > 0
    assert "first_theta" not in task.__dict__, "an estimate has made the first checkpoint"


def test_a_wider_model_takes_longer_and_a_table_nothing() -> None:
    wide, usual = find("neural/tiny/turns-12"), find("neural/tiny/turns")
    assert update_seconds(wide) > 3 * update_seconds(usual) > 0
    assert update_seconds(find("tiny/turns-12")) == 0.0


def test_a_transformer_trains_to_the_end_of_its_budget_and_tells_its_curve() -> None:
    kernel = np.random.default_rng(3).dirichlet(np.ones(2), size=(2, 3))
    base = chain("own/curve", kernel, [[0.1, 0.8], [0.3, 0.9]], horizon=3, start=[0.6, 0.4], tokens=2)
    task = register(build(base, reading=Reading(rollouts=128, steps=15)))
    settings = Settings(learning=Learning(curve=4, target=0.5))  # passed at the start
    cell, budget = Cell("exact", task.id, 0, "learning"), 8 * 64 * 3 * 11.0
    found, again = (train(cell, task, entrant("exact"), settings, 64, 0.3, budget) for _ in range(2))
    assert found == again
    assert (found["reached"], found["cost"]) == (1.0, 0.0)
    assert found["return:0"] == expected_return(task, task.start_theta)
    curve = [found[f"return:{share:g}"] for share in (0, 0.25, 0.5, 0.75, 1)]
    assert curve == sorted(curve), "exact credit ascends"
    assert curve[-1] == found["final"] > curve[0] + 0.01
