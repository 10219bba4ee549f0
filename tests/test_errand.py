"""Errands: what can be put right, what cannot, and what the turns are declared to be."""

from __future__ import annotations

import numpy as np
import pytest

from apportion.bench.agentic import build, variants
from apportion.bench.errand import ASTRAY, RUINED, SOUND
from apportion.bench.layouts import choices, to_batch
from apportion.bench.metadata import record
from apportion.bench.oracle import oracle, truth
from apportion.bench.segments import types
from apportion.bench.tabular import Float, Task
from apportion.bench.world import roll
from apportion.errors import OptionError
from apportion.methods.finepo import action_shares

ERRANDS = [id_ for id_ in variants() if "types" in build(id_).definition]


def moved(task: Task, t: int) -> Float:
    """Chance to go from one status to another at turn t of the first prompt, whatever the room: (3, A, 3)."""
    S, A = task.looks, task.actions
    rooms = S // 3
    kernel = task.kernels[task.kernel_of[0, t]].reshape(3, rooms, A, 3, rooms)
    found: Float = kernel.sum(axis=4).mean(axis=1)
    return found


@pytest.mark.parametrize("id_", ERRANDS)
def test_routine_turns_decide_nothing_and_all_others_something(id_: str) -> None:
    task = build(id_)
    with oracle():
        solved = truth(task, task.start_theta)
        latent, d = solved.latent, solved.d
        start = (task.start * solved.V[:, 0]).sum(axis=1)
    if task.horizon > 4:
        assert np.abs(latent[~task.fork]).max() < 1e-12
    assert ((np.abs(latent).max(-1) * (d[:, :-1] > 0)).max(-1)[task.fork] > 1e-3).all()
    assert start.min() > 0.1
    assert start.max() < 0.8
    assert task.features.shape[1] < task.features.shape[0]


def test_a_plan_can_ruin_a_tool_call_leads_astray_and_a_recovery_puts_right() -> None:
    task = build("agentic/turns-64")
    plan, call, recovery, answer = task.definition["forks"]
    assert (plan, answer) == (0, 63)
    assert [task.definition["types"][t] for t in (plan, call, recovery, answer)] == ["plan", "tool", "recovery", "message"]
    assert moved(task, plan)[SOUND, :, RUINED].max() == pytest.approx(0.6)
    assert moved(task, answer)[ASTRAY, :, RUINED].max() == pytest.approx(0.6)
    assert moved(task, call)[SOUND, :, RUINED].max() == 0.0
    assert moved(task, call)[SOUND, :, ASTRAY].max() == pytest.approx(0.6, abs=2e-3)
    back = moved(task, recovery)[ASTRAY, :, SOUND]
    assert sorted(back > 0.5) == [False, False, False, True]
    for t in range(64):
        assert moved(task, t)[RUINED, :, RUINED].min() == pytest.approx(1.0), "what is ruined stays so"


def test_the_dial_says_which_mistakes_ruin() -> None:
    found = {}
    for name in ("reversible", "turns-64", "irreversible"):
        task = build(f"agentic/{name}")
        found[name] = [bool(moved(task, t)[SOUND, :, RUINED].max() > 0) for t in task.definition["forks"]]
    assert found == {
        "reversible": [False] * 4,
        "turns-64": [True, False, False, True],
        "irreversible": [True, True, False, True],
    }


def test_the_horizon_alone_does_not_change_what_an_errand_is_worth() -> None:
    worth = [record(build(f"agentic/turns-{T}")).values.expected_return for T in (16, 64, 256)]
    np.testing.assert_allclose(worth, worth[0], atol=2e-3)
    assert record(build("agentic/turns-1")).bifurcation_units == (0,)


def test_mistakes_are_seen_unless_the_knob_hides_them() -> None:
    shown, hidden = build("agentic/turns-64"), build("agentic/unseen-mistakes")
    assert record(shown).observability == "full"
    assert record(hidden).observability == "partial"
    assert record(hidden).unseen is None
    rooms = hidden.looks // 3
    assert (hidden.observation[0, 5, :rooms] == hidden.observation[0, 5, rooms : 2 * rooms]).all()
    np.testing.assert_array_equal(shown.kernels, hidden.kernels)


def test_a_batch_can_say_what_type_every_turn_is() -> None:
    task = build("agentic/turns-16")
    rollouts = roll(task, task.start_theta, 2, 2, np.random.default_rng(0))
    batch = to_batch(rollouts)
    spans = types(task, batch)
    assert spans.label[:16] == tuple(task.definition["types"])
    np.testing.assert_array_equal(spans.start, choices(task, batch).first)
    shares = action_shares(batch.with_columns(spans={"types": spans}), "types")
    assert shares == {"memory": 6 / 16, "message": 1 / 16, "plan": 1 / 16, "recovery": 1 / 16, "tool": 7 / 16}
    assert record(task).action_types == ("memory", "message", "plan", "recovery", "tool")
    assert record(build("agentic/timeless")).action_types is None
    with pytest.raises(OptionError, match="no types"):
        types(build("agentic/timeless"), batch)


def test_a_million_tokens_can_be_rolled() -> None:
    task = build("agentic/tokens-1M")
    assert record(task).units.count * record(task).units.tokens == 2**20
    rollouts = roll(task, task.start_theta, 1, 2, np.random.default_rng(0))
    batch = to_batch(rollouts, logp=False)
    assert int(batch.action.sum()) == 2 * 2**20
