"""Judges who are taken in by vivid writing about turns that decided nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from apportion.bench.cells import run_cell
from apportion.bench.knobs import entrant
from apportion.bench.layouts import situation, to_batch
from apportion.bench.records import Cell
from apportion.bench.sources import VIVID, SimulatedJudge
from apportion.bench.suites import plan
from apportion.bench.tasks import find
from apportion.bench.world import Rollouts, roll
from apportion.errors import BenchError, OptionError
from apportion.evidence import Rubric


def rollouts_of(id_: str, groups: int = 32) -> Rollouts:
    task = find(id_)
    return roll(task, task.start_theta, groups, 8, np.random.default_rng(0))


def scored(r: Rollouts, lure: float, seed: int = 0, **more: Any) -> Any:
    batch = to_batch(r)
    return SimulatedJudge(r, 0.8, lure=lure).score(batch, "turn", np.random.default_rng(seed), **more).values


def test_a_lured_judge_calls_the_declared_share_of_routine_texts_decisive_and_reads_forks_as_before() -> None:
    r = rollouts_of("bifurcation/horizon-100", 8)
    batch = to_batch(r)
    prompt, time, state, action = situation(r, batch)
    fork = r.task.fork[prompt, time]
    plain = scored(r, 0.0)
    np.testing.assert_array_equal(plain, SimulatedJudge(r, 0.8).score(batch, "turn", np.random.default_rng(1)).values)
    text = r.task.observation[prompt, time, state] * r.task.actions + action
    _, first = np.unique(text, return_index=True)
    first = first[~fork[first]]
    for lure in (0.3, 1.0):
        found = scored(r, lure)
        np.testing.assert_array_equal(found[fork], plain[fork])
        moved = found != plain
        assert set(found[moved]) == {-1.0, 1.0}
        assert moved[first].mean() == pytest.approx(VIVID * lure, rel=0.15)
        assert (found[first][moved[first]] > 0).mean() == pytest.approx(0.5, abs=0.08)


def test_the_same_text_takes_the_judge_in_every_time_and_more_lure_takes_in_more() -> None:
    r = rollouts_of("bifurcation/horizon-30", 8)
    few, again, many = scored(r, 0.3, 1), scored(r, 0.3, 2), scored(r, 0.8)
    np.testing.assert_array_equal(few, again)
    plain = scored(r, 0.0)
    assert ((many == few) | (few == plain)).all()  # who is taken in at .3 is taken in at .8, in the same way
    assert (many != plain).sum() > (few != plain).sum() > 0


def test_a_rubric_is_answered_with_its_ends_and_the_one_error_allowed_may_be_a_vivid_turn() -> None:
    r = rollouts_of("bifurcation/horizon-30", 8)
    rubric = Rubric("steps", "Which? {units}", (0.0, 0.5, 1.0), asks="correctness", at_most_one=True)
    plain, lured = scored(r, 0.0, rubric=rubric), scored(r, 1.0, rubric=rubric)
    batch = to_batch(r)
    prompt, time, _, _ = situation(r, batch)
    routine = ~r.task.fork[prompt, time]
    of = batch.within("turn", "trajectory")
    assert (plain[routine] == 1.0).all()  # nothing is wrong where all is worth the same
    blamed = lured == 0.0
    assert np.bincount(of, weights=blamed).max() == 1
    assert (blamed & routine).sum() > 0.5 * blamed.sum()


@pytest.mark.parametrize("id_", ["pure-judge80", "capo-judge80"])
def test_credit_leaks_to_routine_turns_as_the_judge_is_lured(id_: str) -> None:
    made = plan("break-even", tasks=["bifurcation/horizon-30"], methods=[f"{id_}@lure={x}" for x in (0, 0.5, 1)])
    leak = np.empty((3, 4))
    for i, name in enumerate(list(made.entrants)[-3:]):
        for seed in range(4):
            rows = run_cell(Cell(name, "bifurcation/horizon-30", seed, "identification"), made.settings)
            leak[i, seed] = {row.metric: row.value for row in rows}["leak_routine"]
    assert (np.diff(leak, axis=0) > 0).all(), leak


def test_a_lure_is_a_share_of_a_judge() -> None:
    assert entrant("pure-judge80@lure=0.5").source == {"accuracy": 0.8, "lure": 0.5}
    with pytest.raises(BenchError, match="asks no simulated judge that could have lure"):
        entrant("hcapo-exact@lure=0.5")
    with pytest.raises(BenchError, match="from 0 to 1"):
        entrant("pure-judge80@lure=2")
    with pytest.raises(OptionError, match="lure = -1"):
        SimulatedJudge(rollouts_of("bifurcation/horizon-10", 1), lure=-1)
