"""Asking judges: what may come back, and how the simulated one errs anew or names one main mistake."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from apportion import Batch
from apportion.bench.layouts import choices, situation, to_batch
from apportion.bench.oracle import oracle, truth
from apportion.bench.sources import SimulatedJudge
from apportion.bench.tasks import find
from apportion.bench.world import roll
from apportion.errors import OptionError
from apportion.evidence import Asked, Bill, Rubric
from apportion.evidence.judging import ask, check_levels, provenance
from apportion.words import Axis, Provenance

PLAIN = Rubric("plain", "Which steps are wrong? {units}", (0.0, 1.0))
SHOWN = Rubric("shown", "Which steps are wrong? {units} {reference}", (0.0, 1.0), privileged=True)
MAIN = Rubric("main", "Where is the main mistake? {units}", (-1.0, 0.0, 1.0), at_most_one=True)


@dataclass
class Says:
    values: Any
    provenance: Provenance = "model_judgement"

    def score(self, batch: Batch, unit: Axis, rng: np.random.Generator, *, rubric: Rubric | None = None) -> Asked:
        return Asked(np.asarray(self.values), Bill(judge_calls=1.0))


def _rollouts(id_: str = "bifurcation/horizon-10", groups: int = 32, size: int = 4) -> Any:
    task = find(id_)
    return roll(task, task.start_theta, groups, size, np.random.default_rng(0))


def test_an_answer_that_is_not_on_the_scale_is_refused_by_index() -> None:
    batch, rng = Batch.from_turns([[1, 1], [1]]), np.random.default_rng(0)
    asked = ask(batch, Says([1.0, np.nan, 0.0]), "turn", rng, PLAIN)
    assert_array_equal(asked.values, [1.0, np.nan, 0.0])
    assert asked.bill.judge_calls == 1
    with pytest.raises(OptionError, match=r"rubric 'plain'\[2\] = 0\.5: expected one of 0, 1"):
        ask(batch, Says([1.0, np.nan, 0.5]), "turn", rng, PLAIN)
    with pytest.raises(OptionError, match=r"shape \(2,\), expected \(3,\): one per turn"):
        ask(batch, Says([1.0, 0.0]), "turn", rng, PLAIN)
    with pytest.raises(OptionError, match=r"x\[\(1, 0\)\] = 3: expected"):
        check_levels("x", np.array([[0.0, 1.0], [3.0, 0.0]]), (0.0, 1.0))


def test_what_was_shown_the_reference_is_privileged() -> None:
    assert provenance(Says([]), PLAIN) == "model_judgement"
    assert provenance(Says([]), SHOWN) == "privileged"
    assert provenance(Says([], provenance="oracle"), SHOWN) == "oracle"


def test_errors_are_frozen_unless_they_are_said_to_be_independent() -> None:
    r = _rollouts("reasoning/steps-10", 256, 8)
    batch, rng = to_batch(r), np.random.default_rng(0)
    right = SimulatedJudge(r).score(batch, "step", rng, rubric=PLAIN).values

    def rates(independent: float) -> tuple[float, float]:
        judge = SimulatedJudge(r, accuracy=0.7, independent=independent)
        a, b = (judge.score(batch, "step", rng, rubric=PLAIN).values for _ in range(2))
        return float((a != b).mean()), float((a != right).mean())

    frozen, half, fresh = rates(0.0), rates(0.5), rates(1.0)
    assert frozen[0] == 0.0
    assert 0.2 * fresh[0] < half[0] < 0.8 * fresh[0]
    assert abs(frozen[1] - fresh[1]) < 0.05  # as often wrong, only not at the same places
    before = rng.bit_generator.state
    SimulatedJudge(r, accuracy=0.7).score(batch, "step", rng, rubric=PLAIN)
    assert rng.bit_generator.state == before  # who does not ask for them does not draw them
    with pytest.raises(OptionError, match="independent = 2"):
        SimulatedJudge(r, independent=2.0)


def test_one_main_mistake_per_trajectory_is_where_most_was_lost() -> None:
    r = _rollouts()
    batch, rng = to_batch(r), np.random.default_rng(0)
    many = SimulatedJudge(r).score(batch, "turn", rng, rubric=replace(MAIN, at_most_one=False)).values
    one = SimulatedJudge(r).score(batch, "turn", rng, rubric=MAIN).values
    prompt, time, state, action = situation(r, batch)
    with oracle():
        q = truth(r.task, r.theta).seen[prompt, time, state]
    lost = q.max(axis=1) - q[np.arange(action.size), action]
    owner = batch.within(choices(r.task, batch).level, "trajectory")
    several = 0
    for i in range(batch.n_trajectories):
        mine = np.flatnonzero(owner == i)
        bad = mine[many[mine] == -1]
        expected = many[mine].copy()
        expected[many[mine] == -1] = 0.0
        if bad.size:
            expected[np.flatnonzero(mine == bad[np.argmax(lost[bad])])] = -1.0
        several += bad.size > 1
        assert_array_equal(one[mine], expected)
    assert several > 3
