"""The anchors are the problems they are named after, and the witness pair cannot be told apart by a log."""

from __future__ import annotations

import numpy as np
import pytest

import apportion as ap
from apportion.bench import classical
from apportion.bench.entrants import entrants, run_entrant
from apportion.bench.estimands import contrast
from apportion.bench.identification import identify
from apportion.bench.layouts import to_batch
from apportion.bench.oracle import attainable, expected_return, optimum, oracle, truth
from apportion.bench.tasks import find
from apportion.bench.world import roll

#: id -> expected return of the uniform policy, and the best there is (of any policy that sees the state).
KNOWN = {
    "classical/umbrella-length-30": (0.5, 1.0),
    "classical/umbrella-distract": (0.5, 1.0),
    "classical/discounting-chain": ((1 + 4 / 1.1) / 5, 1.0),
    "classical/delayed-effect-8": (0.5, 0.8),
    "classical/ambiguous-bandit": (0.5, 0.9 * 0.6 + 0.1 * 0.4),
    "classical/shortcut": (1 - sum(min(i, 8) / 8 * 0.5 ** (i + 1) for i in range(8)) - 0.5**8, 1.0),
    "classical/matrix-game": ((11 - 30 - 30 + 7 + 6 + 5 + 9 * 30) / 9 / 41, 1.0),
}


@pytest.mark.parametrize("id_", KNOWN)
def test_returns_are_those_worked_out_by_hand(id_: str) -> None:
    task = find(id_)
    start, best = KNOWN[id_]
    assert expected_return(task, task.start_theta) == pytest.approx(start, abs=1e-12)
    assert optimum(task) == pytest.approx(best, abs=1e-12)


def test_key_to_door_needs_the_key_at_the_door() -> None:
    task = find("classical/key-to-door")
    r = roll(task, task.start_theta, 200, 8, np.random.default_rng(0))
    taken = (r.actions[:, :2] == 0).any(axis=1)
    opened = (r.states[:, -1] % 2 == 1) & (r.states[:, -2] % 2 == 0)
    np.testing.assert_array_equal(opened, taken & (r.actions[:, -1] == 0))


@pytest.mark.parametrize("id_", ["classical/umbrella-length-10", "classical/umbrella-distract", "classical/delayed-effect-32"])
def test_only_the_first_choice_matters(id_: str) -> None:
    task = find(id_)
    with oracle():
        a = np.abs(truth(task, task.start_theta).A)
    assert a[:, 0].max() > 0.1
    assert a[:, 1:].max() < 1e-12


def test_agents_who_do_not_see_each_other_cannot_always_climb() -> None:
    """Independent ascent stops on a shoulder of the climbing game or reaches 11; it never mixes to more."""
    task = find("classical/matrix-game")
    payoffs = (classical.CLIMBING - classical.CLIMBING.min()) / np.ptp(classical.CLIMBING)
    best = attainable(task)
    assert min(abs(best - x) for x in payoffs.ravel()) < 1e-3


def columns(world: str, seed: int) -> tuple[ap.Batch, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    task = find(f"witness/{world}")
    r = roll(task, task.start_theta, 100, 8, np.random.default_rng(seed))
    return to_batch(r, logp=False), contrast(r, "uniform")


def test_the_two_worlds_read_the_same() -> None:
    """Same text but for the action, same keys, and the same chance of reward after each action."""
    plus, minus = columns("plus", 0)[0], columns("minus", 1)[0]
    for batch in (plus, minus):
        assert batch.ids is not None
        seen = batch.ids[~batch.action].reshape(batch.n_trajectories, -1)
        assert (seen == seen[0]).all()
        assert len(batch.need("state").names) == 6
    chances = []
    for batch in (plus, minus):
        assert batch.ids is not None
        first = batch.ids[batch.turn_offsets[:-1][batch.turn_index == 0] + 3]
        chances.append([float(batch.reward[first == x].mean()) for x in np.unique(first)])
    np.testing.assert_allclose(chances[0], [0.2, 0.8], atol=0.05)
    np.testing.assert_allclose(chances[1], [0.2, 0.8], atol=0.05)


def test_their_contrasts_are_opposite() -> None:
    for world, by in (("plus", 0.3), ("minus", -0.1)):
        batch, delta = columns(world, 0)
        assert batch.ids is not None
        first = batch.ids[batch.turn_offsets[:-1][batch.turn_index == 0] + 3]
        one = first == first.max()
        np.testing.assert_allclose(delta[one, 0], by, atol=1e-9)
        np.testing.assert_allclose(delta[~one, 0], -by, atol=1e-9)
        np.testing.assert_allclose(delta[:, 1:], 0.0, atol=1e-12)


@pytest.mark.parametrize("id_", ["rloo", "grpo", "gigpo", "tempo"])
def test_whoever_reads_logs_is_wrong_about_one_of_the_two(id_: str) -> None:
    signs = []
    for world in ("plus", "minus"):
        task = find(f"witness/{world}")
        streams = np.random.default_rng(0), np.random.default_rng(1)
        outcome = run_entrant(entrants()[id_], task, task.start_theta, 64, 8, *streams)
        signs.append(identify(outcome, 1e-6, np.random.default_rng(2))["sign:contrast"])
    assert sum(signs) == pytest.approx(1.0, abs=0.06)
    assert signs[0] > 0.6


def test_who_abstains_is_heard_to_be_silent() -> None:
    task = find("witness/plus")
    said = {}
    for id_ in ("rloo", "pooled_td"):
        outcome = run_entrant(entrants()[id_], task, task.start_theta, 64, 8, np.random.default_rng(0), np.random.default_rng(1))
        said[id_] = identify(outcome, 1e-6, np.random.default_rng(2))["silent"]
    assert said["rloo"] < 0.2
    assert said["pooled_td"] > 0.9
