"""Knobs of the other agentic tasks and of reasoning: what one moves, and what stays."""

from __future__ import annotations

import numpy as np
import pytest

from apportion.bench import reasoning
from apportion.bench.agentic import build
from apportion.bench.layouts import to_batch
from apportion.bench.metadata import record
from apportion.bench.oracle import oracle, truth
from apportion.bench.tabular import Task
from apportion.bench.world import roll
from apportion.errors import OptionError


def visited(task: Task) -> float:
    """Share of prefixes of 32 rollouts whose state key another prefix of the batch has."""
    rollouts = roll(task, task.start_theta, 4, 8, np.random.default_rng(0))
    keys = to_batch(rollouts, logp=False).need("state").to_list()
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return float((counts[inverse] > 8).mean())


def test_fewer_places_are_come_back_to_more_often() -> None:
    found = [visited(build(f"agentic/{name}")) for name in ("timeless-2", "timeless", "timeless-8", "timeless-16")]
    assert (np.diff(found) < 0).all(), found


def test_the_habit_is_the_first_policys_lean_to_the_safe_action() -> None:
    safe = []
    for name in ("echo-habit-0", "echo-trap", "echo-habit-2", "echo-habit-4"):
        task = build(f"agentic/{name}")
        safe.append(float(task.policy(task.start_theta)[:, 0].mean()))
        np.testing.assert_array_equal(task.kernels, build("agentic/echo-trap").kernels)
    assert (np.diff(safe) > 0.05).all(), safe


def test_a_trap_can_be_repeated_as_often_as_there_are_turns() -> None:
    for T in (8, 16, 32):
        task = build("agentic/echo-trap" + (f"-{T}" if T > 8 else ""))
        assert task.horizon == T
        assert record(task).values.optimum == pytest.approx(record(build("agentic/echo-trap")).values.optimum)


def test_the_gap_is_the_turns_between_a_note_and_its_use() -> None:
    for gap in (5, 10, 15, 20, 25):
        units = record(build(f"agentic/memory-gap-{gap}")).bifurcation_units
        assert units == (0, gap + 1)


def test_a_step_is_as_long_as_the_answer_needs() -> None:
    for n in (512, 2048, 8192, 30720):
        units = record(reasoning.build(f"reasoning/tokens-{n}")).units
        assert units.count * units.tokens == n
        assert units.count == 32


def test_a_plan_decides_at_the_first_step_only() -> None:
    made = record(reasoning.build("reasoning/planning"))
    assert made.bifurcation_units == (0,)
    assert made.delay == 29


def test_a_planted_slip_earns_nobody_anything_and_can_be_mended() -> None:
    task = reasoning.build("reasoning/planted")
    rollouts = roll(task, task.start_theta, 16, 8, np.random.default_rng(0))
    status = rollouts.states // 2
    assert (status[:, 3] == reasoning.SOUND).all(), "sound before"
    assert (status[:, 4:10] == reasoning.SLIP).all(), "a slip after, whatever was written"
    assert (status[:, 10:] == reasoning.SOUND).any(), "later steps mend it"
    with oracle():
        solved = truth(task, task.start_theta)
        assert np.abs(solved.A[:, 3]).max() < 1e-12, "nobody had a choice"
        before, after = solved.V[:, 3, 0], solved.V[:, 4, 2 * reasoning.SLIP]
        np.testing.assert_allclose(before, after, atol=1e-12)
    assert (task.success[:, 0] - task.success[:, 2 * reasoning.SLIP]).min() > 0.1, "left as it is, the slip costs"
    assert not task.fork[:, 3].any()


def test_a_slip_planted_on_a_fork_is_refused() -> None:
    with pytest.raises(OptionError, match="planted = 9"):
        reasoning.reasoning("x", horizon=30, title="", at=np.array([9, 17, 25]), planted=9)


@pytest.mark.parametrize("id_", sorted(reasoning.variants()))
def test_steps_that_are_no_fork_have_equal_value(id_: str) -> None:
    task = reasoning.build(id_)
    with oracle():
        latent = truth(task, task.start_theta).latent
    assert np.abs(latent[~task.fork]).max() < 1e-12
    assert (np.abs(latent).max(axis=(2, 3))[task.fork] > 1e-3).all()
