"""Exact truth: against brute force, and out of reach of everything but oracles."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from apportion.bench.bifurcation import bifurcation, build, variants
from apportion.bench.layouts import situation, to_batch
from apportion.bench.oracle import attainable, expected_return, oracle, truth
from apportion.bench.tabular import Float, Task
from apportion.bench.world import roll
from apportion.errors import TruthAccessError


def tiny(hidden: bool = False, recover: float = 0.3) -> Task:
    return bifurcation(
        "test/tiny", horizon=4, title="tiny", forks=2, rooms=2, prompts=2, recover=recover, drift=0.3, hidden=hidden, width=5
    )


def paths(task: Task, pi: Float, prompt: int) -> list[tuple[float, list[int], list[int], float]]:
    """Every (probability, states, actions, chance of reward) of one prompt, by enumeration."""
    T, S, A = task.horizon, task.start.shape[1], task.actions
    found = []
    for states in itertools.product(range(S), repeat=T + 1):
        if task.start[prompt, states[0]] == 0:
            continue
        for actions in itertools.product(range(A), repeat=T):
            p = task.start[prompt, states[0]]
            for t in range(T):
                p *= pi[task.context[prompt, t, states[t]], actions[t]]
                p *= task.kernels[task.kernel_of[prompt, t], states[t], actions[t], states[t + 1]]
            if p > 0:
                found.append((float(p), list(states), list(actions), float(task.success[prompt, states[-1]])))
    return found


@pytest.mark.parametrize("hidden", [False, True])
def test_backward_induction_agrees_with_enumeration_of_every_trajectory(hidden: bool) -> None:
    task = bifurcation("test/three", horizon=3, title="", forks=2, rooms=2, prompts=2, recover=0.3, hidden=hidden, width=5)
    theta = np.random.default_rng(0).normal(size=task.start_theta.shape)
    pi = task.policy(theta)
    with oracle():
        exact = truth(task, theta)
        total, gradient = 0.0, np.zeros_like(theta)
        for p in range(task.prompts):
            every = paths(task, pi, p)
            assert sum(x[0] for x in every) == pytest.approx(1.0, abs=1e-12)
            q = np.zeros((3, task.observation.max() + 1, task.actions))
            mass = np.zeros_like(q)
            for chance, states, actions, success in every:
                total += chance * success / task.prompts
                for t in range(3):
                    c, seen = task.context[p, t, states[t]], task.observation[p, t, states[t]]
                    score = -pi[c].copy()
                    score[actions[t]] += 1
                    gradient += chance * success * np.outer(task.features[c], score) / task.prompts
                    q[t, seen, actions[t]] += chance * success
                    mass[t, seen, actions[t]] += chance
            for t in range(3):
                for s in range(task.start.shape[1]):
                    seen, c = task.observation[p, t, s], task.context[p, t, s]
                    if mass[t, seen].min() > 0:
                        given = q[t, seen] / mass[t, seen]
                        np.testing.assert_allclose(exact.A[p, t, s], given - pi[c] @ given, atol=1e-12)
        assert pytest.approx(total, abs=1e-12) == exact.J
        np.testing.assert_allclose(exact.gradient, gradient, atol=1e-12)
        np.testing.assert_allclose(exact.prompt_gradient.mean(axis=0), gradient, atol=1e-12)
    assert expected_return(task, theta) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("id_", ["bifurcation/horizon-20", "bifurcation/recoverable", "bifurcation/hidden"])
def test_skill_and_luck_sum_to_the_surprise_of_every_trajectory(id_: str) -> None:
    task = build(id_)
    rollouts = roll(task, task.start_theta, 16, 4, np.random.default_rng(1))
    batch = to_batch(rollouts)
    with oracle():
        exact = truth(task, rollouts.theta)
        where = situation(rollouts, batch)
        skill = exact.latent[where].reshape(64, -1)
        n, t = np.arange(64)[:, None], np.arange(task.horizon)[None, :]
        after = exact.V[rollouts.prompt[:, None], t + 1, rollouts.states[n, t + 1]]
        after[:, -1] = rollouts.reward
        luck = after - exact.Q[where].reshape(64, -1)
        start = exact.V[rollouts.prompt, 0, rollouts.states[:, 0]]
    np.testing.assert_allclose(skill.sum(1) + luck.sum(1), rollouts.reward - start, atol=1e-12)
    assert np.abs(luck.mean()) < 0.02


@pytest.mark.parametrize("id_", sorted(variants()))
def test_every_variant_is_a_bifurcation_task(id_: str) -> None:
    task = build(id_)
    with oracle():
        exact = truth(task, task.start_theta)
        start = (task.start * exact.V[:, 0]).sum(1)
        latent, d = exact.latent, exact.d
    assert task.prompts >= 16
    assert task.actions >= 4
    assert start.min() > 0.015
    assert start.max() < 0.985
    assert np.abs(latent[~task.fork]).max() < 1e-12, "routine turns must have exactly equal Q"
    at_forks = (np.abs(latent).max(-1) * (d[:, :-1] > 0)).max(-1)[task.fork]
    stake = min(1.0, task.definition["gap"] / 0.8) * (1 - 2 * task.definition.get("flip", 0.0))
    assert (at_forks > 1e-3 * stake).all(), "every fork must matter"
    pi = task.policy(task.start_theta)[np.unique(task.context[task.fork])]
    assert (pi.max(1) - pi.min(1) > 0.02).all(), "the policy must not be uniform at forks"
    assert task.features.shape[1] < task.features.shape[0], "parameters must be shared"


def test_the_policy_sees_no_status_where_it_is_hidden() -> None:
    open_, hidden = build("bifurcation/horizon-100"), build("bifurcation/hidden")
    assert len(np.unique(open_.observation[0, 0])) == 2 * len(np.unique(hidden.observation[0, 0]))
    with oracle():
        seen, latent = truth(hidden, hidden.start_theta).A, truth(hidden, hidden.start_theta).latent
    assert np.abs(seen - latent).max() > 0.05
    with oracle():
        np.testing.assert_allclose(truth(open_, open_.start_theta).A, truth(open_, open_.start_theta).latent, atol=1e-12)


def test_reading_the_truth_outside_an_oracle_raises() -> None:
    task = tiny()
    solved = truth(task, task.start_theta)
    for name in ("V", "Q", "A", "latent", "J", "gradient"):
        with pytest.raises(TruthAccessError, match=name):
            getattr(solved, name)
    with oracle():
        assert solved.V.shape[1] == task.horizon + 1
    with pytest.raises(TruthAccessError):
        _ = solved.V


def test_gradient_ascent_finds_the_optimum_of_a_fully_observed_task() -> None:
    task = build("bifurcation/horizon-10")
    v = task.success
    for t in reversed(range(task.horizon)):
        v = np.einsum("psan,pn->psa", task.kernels[task.kernel_of[:, t]], v).max(-1)
    best = float((task.start * v).sum(1).mean())
    assert attainable(task) == pytest.approx(best, abs=2e-3)


def test_empirical_frequencies_match_the_exact_occupancy() -> None:
    task = tiny()
    rollouts = roll(task, task.start_theta, 20_000, 1, np.random.default_rng(2))
    with oracle():
        exact = truth(task, task.start_theta)
        d, value = exact.d, exact.J
    for t in range(task.horizon + 1):
        seen = np.bincount(rollouts.states[:, t], minlength=d.shape[2]) / 20_000
        np.testing.assert_allclose(seen, d.mean(0)[t], atol=0.02)
    assert rollouts.reward.mean() == pytest.approx(value, abs=0.015)


def test_credits_that_differ_by_rounding_only_are_a_tie() -> None:
    from apportion.bench.identification import _pairs

    true = np.array([0.0, 1.0, 2.0, 3.0])
    everything = np.ones(4, dtype=np.bool_)
    rounding = 0.3 + np.array([0.0, 1e-16, 2e-13, 3e-12])
    assert _pairs(rounding, true, everything, 1e-6, np.random.default_rng(0))[1] == 0.5
    assert _pairs(rounding * 1e6, true, everything, 1e-6, np.random.default_rng(0))[1] > 0.8
