"""Collapse of training runs: what is counted, what is not, and that training tells it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from apportion.bench import learning
from apportion.bench.collapse import fell, stalled, visited_entropy
from apportion.bench.draws import streams
from apportion.bench.entrants import run_entrant
from apportion.bench.gradient import update
from apportion.bench.knobs import entrant
from apportion.bench.learning import train
from apportion.bench.records import Cell
from apportion.bench.settings import Settings
from apportion.bench.statistics import wilson
from apportion.bench.tasks import find
from apportion.report.collapse import collapse_row, collapse_share, collapse_text

TASK = "bifurcation/horizon-10"


def test_a_run_collapses_once_it_rose_and_lost_nine_tenths_of_its_gain() -> None:
    assert fell([0.1, 0.3, 0.5, 0.14], goal=0.6)  # gained 0.4, keeps 0.04
    assert not fell([0.1, 0.3, 0.5, 0.15], goal=0.6), "an eighth of the gain is left"
    assert fell([0.1, 0.5, 0.05, 0.6], goal=0.6), "who recovers has collapsed all the same"
    assert not fell([0.1, 0.19, 0.1], goal=0.6), "had not come a fifth of the way"
    assert fell([0.1, 0.2, 0.1], goal=0.6)
    assert not fell([0.1, 0.05, 0.0], goal=0.6), "never rose: did not learn, did not collapse"
    assert not fell([0.1, 0.05, 0.3, 0.5], goal=0.6), "a dip before the rise is none"
    assert fell([0.0, 0.2, 0.5, 0.06, 0.04], goal=1.0), "the fall is measured from the highest gain"
    assert not fell([0.5], goal=0.6)
    assert not fell([0.7, 0.1], goal=0.6), "what began at its goal had nothing to gain"


def test_a_policy_that_is_certain_too_early_has_stalled() -> None:
    assert stalled(1.3, 0.012, reached=False)
    assert not stalled(1.3, 0.014, reached=False)
    assert not stalled(1.3, 0.0, reached=True), "certain, and right"
    assert not stalled(math.nan, math.nan, reached=False)


def test_entropy_is_that_of_the_visited_choices() -> None:
    task = find(TASK)
    outcome = run_entrant(entrant("rloo"), task, task.start_theta, 2, 4, *streams(Cell("rloo", TASK, 0, "cost")))
    r, total = outcome.first, 0.0
    for i in range(8):
        for t in range(task.horizon):
            row = task.policy(r.theta)[task.context[r.prompt[i], t, r.states[i, t]]]
            total -= sum(float(p) * math.log(p) for p in row)
    assert visited_entropy(outcome) == pytest.approx(total / 8 / task.horizon)


def _train(lr: float, updates: int = 40) -> dict[str, float]:
    task = find(TASK)
    return train(Cell("exact", TASK, 0, "learning"), task, entrant("exact"), Settings(), 64, lr, updates * 64 * task.horizon * 11)


def test_training_that_goes_well_tells_of_no_collapse() -> None:
    found = _train(0.1)
    assert (found["reached"], found["collapsed"]) == (1.0, 0.0)
    assert found["start"] < found["final"] <= found["best"] <= found["attainable"] + 1e-9
    assert 0 < found["entropy"] < found["first_entropy"] < math.log(4) + 1e-9


def test_training_that_turns_around_is_told_as_collapse(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [0]

    def turning(*args: Any) -> Any:
        calls[0] += 1
        return update(*args) * (1.0 if calls[0] <= 12 else -1.0)

    monkeypatch.setattr(learning, "update", turning)
    found = _train(0.1, updates=60)
    assert (found["reached"], found["collapsed"]) == (0.0, 1.0)
    assert found["best"] > found["start"] + 0.05
    assert found["final"] < found["start"] + 0.01
    assert found["entropy"] > 0.01 * found["first_entropy"]


def test_steps_that_are_too_long_end_in_a_policy_that_tries_nothing() -> None:
    task = find(TASK)
    found = train(Cell("rloo", TASK, 0, "learning"), task, entrant("rloo"), Settings(), 64, 3.0, 60 * 64 * task.horizon * 11)
    assert (found["reached"], found["collapsed"]) == (0.0, 1.0)
    assert found["entropy"] < 0.01 * found["first_entropy"]


def test_a_goal_that_stands_at_the_start_is_no_collapse() -> None:
    task = find(TASK)
    easy = Settings().model_copy(update={"learning": Settings().learning.model_copy(update={"target": 0.01})})
    found = train(Cell("rloo", TASK, 0, "learning"), task, entrant("rloo"), easy, 64, 0.1, 1e6)
    assert (found["updates"], found["collapsed"], found["best"]) == (0.0, 0.0, found["start"])
    assert np.isnan([found["entropy"], found["first_entropy"]]).all()


def test_the_report_counts_every_run_of_the_grid() -> None:
    nan = math.nan
    one = {"collapsed": np.array([1.0, 0.0, nan]), "first_entropy": np.array([1.0, 1.0, nan]),
           "entropy": np.array([0.001, 0.5, nan]), "reached": np.array([0.0, 1.0, nan])}  # fmt: skip
    two = {
        "collapsed": np.array([1.0, 0.0, 0.0]),
        "first_entropy": np.ones(3),
        "entropy": np.full(3, 0.4),
        "reached": np.zeros(3),
    }
    found = collapse_row([one, two])
    assert found is not None
    assert (found["collapsed"], found["runs"], found["certain"]) == (2, 5, 1)
    assert (found["value"], found["low"], found["high"]) == pytest.approx(wilson(2, 5), rel=1e-5)
    assert collapse_row([{"reached": np.ones(2)}]) is None, "a run from before collapse was told"


def test_the_terminal_names_who_collapses() -> None:
    methods = [{"id": "a", "name": "A"}, {"id": "b", "name": "B"}]
    fallen, fine = (collapse_share(k, 10) | {"runs": 10, "collapsed": k, "certain": 0} for k in (5, 0))
    rows = [{"method": "a", "collapse": fallen}, {"method": "a", "collapse": fine}, {"method": "b", "collapse": fine}]
    text = collapse_text({"learning": rows, "methods": methods})
    assert text == "Collapse, share of training runs over all settings (30 runs): A 25% (11% to 47%); not the other."
    assert collapse_text({"learning": rows[2:], "methods": methods}).startswith("Collapse: none of 10 training runs")
    assert collapse_text({"learning": [{"method": "a", "collapse": None}], "methods": methods}) == ""
