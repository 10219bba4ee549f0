"""Sweeps: their tasks exist, one knob moves along each, and all of it can be listed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from apportion.bench.estimate import estimate, seconds
from apportion.bench.records import Cell
from apportion.bench.suites import SUITES, plan
from apportion.bench.sweeps import LARGE, SWEEPS
from apportion.bench.task_page import rewritten
from apportion.bench.tasks import find
from apportion.cli import main

#: What may differ between the definitions of a sweep's tasks; where the forks stand follows from the horizon.
MOVES = {
    "horizon": {"horizon", "forks"}, "forks": {"forks"}, "position": {"forks"}, "gap": {"gap"}, "drift": {"drift"},
    "flip": {"flip"}, "recover": {"recover"}, "delay": {"forks"}, "unseen": {"unseen"},
    "observability": {"unseen", "aliased", "hidden"}, "routine-entropy": {"routine_entropy"},
    "entropy-alignment": {"routine_entropy", "fork_entropy"}, "rooms": {"rooms"}, "tokens": {"tokens"},
    "policy-strength": {"trained"}, "interaction": {"kind", "forks"}, "steps": {"horizon", "forks"}, "answer-tokens": {"tokens"},
    "turns": {"horizon", "forks", "types"}, "reversibility": {"ruinous"}, "errand-tokens": {"tokens"}, "revisits": {"rooms"},
    "trap-length": {"horizon"}, "trap-strength": {"habit"}, "memory-gap": {"gap"}, "delayed-effect": {"horizon", "kind"},
    # an agent has a fork each; how often the policy does right is set so that all teams start equally well
    **{key: {"agents", "forks", "roles", "right"} for key in ("agents", "redundant-agents", "complementary-agents")},
    "coupling": {"kind", "right"},
    "umbrella": {"horizon", "kind"},  # a classical task has its id for a kind
}  # fmt: skip


def test_every_sweep_says_what_may_move() -> None:
    assert set(MOVES) == set(SWEEPS)


@pytest.mark.parametrize("knob", sorted(MOVES))
def test_one_knob_moves_and_everything_else_stays(knob: str) -> None:
    tasks = [find(id_) for _, id_ in SWEEPS[knob].points]
    assert len(tasks) >= 3
    assert len({t.id for t in tasks}) == len(tasks)
    assert {(t.prompts, t.actions, t.layout, t.family) for t in tasks} == {
        (tasks[0].prompts, tasks[0].actions, tasks[0].layout, tasks[0].family)
    }
    keys = {key for t in tasks for key in t.definition}
    moved = {key for key in keys if len({json.dumps(t.definition.get(key)) for t in tasks}) > 1}
    assert moved
    assert moved <= MOVES[knob]


def test_numbers_are_in_order_and_words_stand_once() -> None:
    for sweep in SWEEPS.values():
        values = [value for value, _ in sweep.points]
        kinds = {type(value) for value in values}
        assert kinds in ({float}, {str}), sweep.knob
        assert len(set(values)) == len(values)
        if kinds == {float}:
            assert (np.diff(np.array(values, dtype=np.float64)) > 0).all(), sweep.knob
        assert find(sweep.points[0][1]).title


def test_the_command_lists_every_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--sweeps"], ["--sweeps", "--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["bench", "tasks", *words])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        if "--json" in words:
            listed = {row["knob"]: row for row in json.loads(out)}
            assert set(listed) == set(SWEEPS)
            assert listed["gap"]["points"][0] == {"value": 0.05, "task": "bifurcation/gap-0.05"}
        else:
            assert all(knob in out for knob in SWEEPS)
            assert "1,048,576" in out


def test_the_suite_holds_every_point_that_fits_and_ends_within_half_an_hour_of_two_cores() -> None:
    made = plan("sweeps")
    points = {id_ for sweep in SWEEPS.values() for _, id_ in sweep.points}
    assert set(made.tasks) == points - LARGE
    taken = estimate(made, 2, speed=1.0)
    assert taken.wall < 30 * 60
    assert taken.peak < 8e9
    sizes = {tuple(made.settings.gradient.sizes(task.horizon)) for task in made.tasks.values()}
    assert len(sizes) == 1, "every point of a curve is measured at the same batches"


def test_longer_words_are_expected_to_take_longer() -> None:
    settings = SUITES["sweeps"].settings
    cells = [Cell("gae", f"bifurcation/{name}", 0, "gradient") for name in ("tokens-1", "tokens-8", "tokens-512")]
    found = [seconds(cell, settings) for cell in cells]
    assert found[0] < 1.5 * found[1] < found[2] / 5


def test_the_page_of_tasks_has_the_tables_as_they_are() -> None:
    page = (Path(__file__).parents[1] / "docs" / "tasks.md").read_text("utf-8")
    assert rewritten(page) == page, "docs/tasks.md is stale: make docs"
