"""Variants of the bifurcation family: what a knob says is so, and nothing else has moved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from apportion.bench.bifurcation import bifurcation, build
from apportion.bench.forks import recent
from apportion.bench.metadata import record
from apportion.bench.oracle import oracle, truth
from apportion.bench.tabular import Float, Task

BASE = build("bifurcation/horizon-100")


def made(name: str) -> Task:
    return build(f"bifurcation/{name}")


def returns(task: Task) -> Float:
    """Expected return of every prompt under the starting policy."""
    with oracle():
        found: Float = (task.start * truth(task, task.start_theta).V[:, 0]).sum(axis=1)
    return found


def turns_of_forks(task: Task) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in task.fork]


def test_forks_stand_where_the_knob_says() -> None:
    for n in (1, 2, 4, 8):
        assert {len(t) for t in turns_of_forks(made(f"forks-{n}"))} == {n}
    for name, (first, last) in {"early": (0, 10), "middle": (45, 55), "late": (90, 100)}.items():
        found = turns_of_forks(made(f"position-{name}"))
        assert all(first <= t < last for row in found for t in row)
        assert found == [found[0]] * 16
    drawn, own = (turns_of_forks(made(f"position-{name}")) for name in ("random", "per-prompt"))
    assert drawn == [drawn[0]] * 16
    assert len({tuple(row) for row in own}) > 12
    assert {len(row) for row in drawn + own} == {3}
    for d in (0, 10, 50):
        assert record(made(f"delay-{d}")).delay == d
    apart = [np.diff(turns_of_forks(made(f"delay-{d}"))[0]).tolist() for d in (0, 10, 50)]
    assert apart == [[16, 16]] * 3


def test_where_forks_stand_does_not_change_what_they_are_worth() -> None:
    for name in ("early", "middle", "late", "random", "per-prompt"):
        np.testing.assert_allclose(returns(made(f"position-{name}")), returns(BASE), atol=1e-9)


@pytest.mark.parametrize(
    ("names", "value", "falls"),
    [
        (["gap-0.05", "gap-0.2", "small-gap", "gap-0.4", "horizon-100"], lambda t: record(t).gap, False),
        (["drift-0.0", "horizon-100", "drift-0.3", "lucky"], lambda t: record(t).noise.transition, False),
        (["horizon-100", "recover-0.4", "recoverable"], lambda t: record(t).recoverability, False),
        (["horizon-100", "routine-entropy-0.75", "sure-routine"], lambda t: record(t).entropy.routine, True),
        (["rooms-1", "horizon-100", "rooms-4", "rooms-8", "rare-states"], lambda t: t.looks, False),
        (["horizon-100", "flip-0.1", "flip-0.2", "flip-0.4"], lambda t: record(t).gap, True),
    ],
)  # fmt: skip
def test_records_of_a_sweep_are_in_the_order_of_its_knob(names: list[str], value: Callable[[Task], float], falls: bool) -> None:
    found = [value(made(name)) for name in names]
    assert (np.diff(found) < 0).all() if falls else (np.diff(found) > 0).all(), found


def test_a_verifier_that_flips_shrinks_every_advantage_by_the_same_factor() -> None:
    with oracle():
        whole = truth(BASE, BASE.start_theta).A
        for flip in (0.1, 0.2, 0.4):
            noisy = made(f"flip-{flip}")
            np.testing.assert_allclose(truth(noisy, noisy.start_theta).A, (1 - 2 * flip) * whole, atol=1e-12)
            np.testing.assert_allclose(returns(noisy), flip + (1 - 2 * flip) * returns(BASE), atol=1e-12)


def test_no_luck_means_that_only_forks_derail() -> None:
    task = made("drift-0.0")
    with oracle():
        on_track = truth(task, task.start_theta).d[:, :, :2].sum(axis=2)
    lost = np.diff(on_track, axis=1) < -1e-12
    assert lost.any()
    assert not lost[~task.fork].any()


def test_the_status_is_shown_again_after_as_many_turns_as_the_knob_says() -> None:
    """On track and derailed in the same room look alike just as long as the fork is recent."""
    for d in (10, 30, 50):
        task = made(f"unseen-{d}")
        alike = task.observation[0, :, 0] == task.observation[0, :, 2]
        forks = turns_of_forks(task)[0]
        since = [min((t - 1 - k for k in forks if k < t), default=10**6) for t in range(101)]
        assert alike.tolist() == [s < d for s in since]
        np.testing.assert_allclose(returns(task), returns(BASE), atol=1e-9)
    assert not recent(BASE.kernel_of, 0).any()


def test_aliased_states_share_a_look_that_no_action_can_choose() -> None:
    task, plain = made("aliased"), made("recoverable")
    assert np.unique(task.observation[0, 0]).size == 3
    assert task.observation[0, 0, 1] == task.observation[0, 0, 2], "on track in the last room, derailed in the first"
    assert record(task).observability == "partial"
    same = task.kernels - task.kernels[:, :, :1]
    assert np.abs(same[0]).max() < 1e-15, "routine actions differ in nothing"
    with oracle():
        solved = truth(task, task.start_theta)
        assert np.abs(solved.A - solved.latent).max() > 0.05
    np.testing.assert_array_equal(task.success, plain.success)


def test_actions_are_spelled_in_as_many_tokens_as_the_knob_says() -> None:
    for n in (1, 8, 64, 512):
        task = made(f"tokens-{n}")
        assert task.words.shape == (4, n)
        np.testing.assert_allclose(returns(task), returns(build("bifurcation/horizon-30")), atol=1e-12)
    one = made("tokens-1")
    logp, entropy = one.token_probabilities(one.policy(one.start_theta))
    pi = one.policy(one.start_theta)
    np.testing.assert_allclose(logp[:, :, 0], np.log(pi), atol=1e-12)
    np.testing.assert_allclose(entropy[:, 0, 0], -(pi * np.log(pi)).sum(axis=1), atol=1e-12)


def test_a_knob_at_its_default_leaves_the_task_as_it_was() -> None:
    same = bifurcation("bifurcation/horizon-100", horizon=100, title="", flip=0.0, unseen=0, aliased=False)
    assert same.describe()["sha256"] == BASE.describe()["sha256"]
    assert same.definition == BASE.definition
