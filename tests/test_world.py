"""Rollouts as batches, the sampler, and the update a credit produces."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion.bench.bifurcation import bifurcation, build
from apportion.bench.entrants import entrants, run_entrant
from apportion.bench.gradient import turn_update, update
from apportion.bench.layouts import situation, to_batch
from apportion.bench.oracle import oracle, truth
from apportion.bench.samplers import TabularSampler
from apportion.bench.sources import SimulatedJudge, SimulatedPolicy, exact_credit, frozen_uniform
from apportion.bench.tabular import chain
from apportion.bench.tasks import find
from apportion.bench.world import roll
from apportion.credit import Credit, Loss
from apportion.errors import ApportionError, OptionError

oracle_module = import_module("apportion.bench.oracle")  # the package's own ``oracle`` is the function


def rollouts(T: str = "20", n: int = 8, seed: int = 0) -> Any:
    task = build(f"bifurcation/horizon-{T}")
    return roll(task, task.start_theta, n, 4, np.random.default_rng(seed))


def chosen(r: Any, batch: Any) -> tuple[Any, Any]:
    """Context and action of every choice of the batch."""
    prompt, time, state, action = situation(r, batch)
    return r.task.context[prompt, time, state], action


def test_token_logps_multiply_to_the_action_probability() -> None:
    r = rollouts()
    batch = to_batch(r)
    context, action = chosen(r, batch)
    logp = np.bincount(batch.within("token", "turn"), weights=batch.need("logp"))
    np.testing.assert_allclose(logp, np.log(r.task.policy(r.theta)[context, action]), atol=1e-12)


def test_the_same_seed_gives_the_same_batch() -> None:
    assert to_batch(rollouts()).same(to_batch(rollouts()))
    assert not to_batch(rollouts()).same(to_batch(rollouts(seed=1)))


def test_continuations_estimate_the_value_of_their_prefix() -> None:
    task = bifurcation("test/short", horizon=3, title="", forks=2, rooms=1, prompts=3)
    r = roll(task, task.start_theta, 4, 2, np.random.default_rng(0))
    batch = to_batch(r)
    prefixes = batch.prefix_before
    answer = TabularSampler(r).continuations(batch, prefixes, 4000, np.random.default_rng(1))
    with oracle():
        prompt, time, state, _ = situation(r, batch)
        exact = truth(task, r.theta).V[prompt, time, state]
    np.testing.assert_allclose(answer.values.mean(1), exact, atol=0.04)
    assert answer.bill.env_steps == 4000 * sum(3 - t for t in batch.turn_index)


def test_a_branch_shares_its_prefix_and_nothing_else() -> None:
    r = rollouts(n=2)
    batch = to_batch(r)
    sampler = TabularSampler(r)
    prefixes = batch.prefix_before[[5, 45]]
    tree, bill = sampler.branch(batch, prefixes, np.random.default_rng(3))
    assert tree.n_trajectories == batch.n_trajectories + 2
    node = tree.need("node").reshape(-1, 20)
    np.testing.assert_array_equal(node[8, :5], node[0, :5])
    np.testing.assert_array_equal(node[9, :5], node[2, :5])
    assert np.unique(node).size == 8 * 20 + 15 + 15
    assert bill.env_steps == 30
    assert tree.need("group").codes[-2:].tolist() == [0, 0]


def test_equal_credit_on_all_tokens_is_the_score_function_of_the_action() -> None:
    r = rollouts()
    batch = to_batch(r)
    w = np.random.default_rng(0).normal(size=batch.n_turns)
    one = update(r, Credit.of(batch, "turn", w))
    context, action = chosen(r, batch)
    shape = r.actions.shape
    each = w.reshape(shape) / batch.n_trajectories
    other = turn_update(r.task, r.theta, r.prompt, context.reshape(shape), action.reshape(shape), each)
    np.testing.assert_allclose(one, other.sum(0), atol=1e-12)


def test_token_credit_is_the_gradient_of_token_log_probabilities() -> None:
    r = rollouts(n=1)
    batch = to_batch(r)
    w = np.random.default_rng(0).normal(size=batch.n_tokens) * batch.action

    def objective(theta: Any) -> float:
        logp, _ = r.task.token_probabilities(r.task.policy(theta))
        context, action = chosen(r, batch)
        return float((w.reshape(batch.n_turns, -1)[:, 3:] * logp[context, action]).sum() / batch.n_trajectories)

    g = update(r, Credit(batch=batch, level="token", unit=w, token=w))
    step = 1e-6
    for index in [(0, 0), (7, 2), (20, 3)]:
        bump = np.zeros_like(r.theta)
        bump[index] = step
        slope = (objective(r.theta + bump) - objective(r.theta - bump)) / (2 * step)
        assert g[index] == pytest.approx(slope, abs=1e-7)


def test_masks_and_denominators_change_the_update() -> None:
    r = rollouts()
    batch = to_batch(r)
    credit = ap.assign(batch, "rloo")
    assert isinstance(credit, Credit)
    keep = batch.within("token", "turn") % 2 == 0
    half = credit.with_fields(keep=keep)
    token = half.with_fields(loss=Loss(denominator="token"))
    g = update(r, half)
    np.testing.assert_allclose(update(r, token) * half.kept.sum(), g * batch.n_trajectories, atol=1e-12)
    turns = Credit.of(batch, "turn", credit.on("turn"), keep=keep)
    unit = turns.with_fields(loss=Loss(denominator="unit"))
    np.testing.assert_allclose(update(r, unit) * batch.n_turns / 2, g * batch.n_trajectories, atol=1e-12)
    sequence = half.with_fields(loss=Loss(denominator="sequence"))
    each = half.kept.sum() / batch.n_rows
    np.testing.assert_allclose(update(r, sequence) * each, g, atol=1e-12)


def test_exact_credit_points_along_the_exact_gradient() -> None:
    task = build("bifurcation/horizon-20")
    r = roll(task, task.start_theta, 2048, 2, np.random.default_rng(0))
    g = update(r, exact_credit(r, to_batch(r)))
    with oracle():
        star = truth(task, r.theta).gradient
    assert float((g * star).sum() / np.sqrt((g**2).sum() * (star**2).sum())) > 0.98


def _without_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any, **more: Any) -> Any:
        raise AssertionError("somebody asked for the truth")

    real = oracle_module.truth
    for module in [m for name, m in sys.modules.items() if name.startswith("apportion.bench")]:
        if getattr(module, "truth", None) is real:  # whoever imported it by name
            monkeypatch.setattr(module, "truth", gone)


def _home(id_: str) -> Any:
    """A small task of a kind the entrant fits."""
    homes = ("bifurcation/horizon-10", "reasoning/steps-10", "team/two")
    return next(task for task in map(find, homes) if entrants()[id_].fits(task.layout))


@pytest.mark.parametrize("id_", sorted(e.id for e in entrants().values() if not e.oracle and e.ask != "model"))
def test_rows_that_are_no_oracle_stay_bit_identical_without_the_truth(id_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = _home(id_)

    def run() -> Any:
        outcome = run_entrant(entrants()[id_], task, task.start_theta, 4, 8, np.random.default_rng(0), np.random.default_rng(1))
        return outcome.credit.token, update(outcome.rollouts, outcome.credit)

    before = run()
    _without_truth(monkeypatch)
    after = run()
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


@pytest.mark.parametrize("id_", sorted(e.id for e in entrants().values() if e.oracle))
def test_rows_labelled_oracle_do_touch_the_truth(id_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if entrants()[id_].ask == "forks":
        pytest.skip("where the forks lie is part of the task's definition, and no method may see that either")
    if entrants()[id_].ask == "experts":
        pytest.skip("the expert solves the task for itself, with no truth of the policy's; it is an oracle all the same")
    _without_truth(monkeypatch)
    task = _home(id_)
    with pytest.raises(AssertionError, match="truth"):
        run_entrant(entrants()[id_], task, task.start_theta, 4, 8, np.random.default_rng(0), np.random.default_rng(1))


def test_a_simulated_judge_errs_as_often_as_declared_and_always_the_same_way() -> None:
    r = rollouts(T="100", n=64)
    batch = to_batch(r)
    exact = SimulatedJudge(r, 1.0).score(batch, "turn", np.random.default_rng(0)).values
    poor = SimulatedJudge(r, 0.7)
    first = poor.score(batch, "turn", np.random.default_rng(0)).values
    np.testing.assert_array_equal(first, poor.score(batch, "turn", np.random.default_rng(9)).values)
    prompt, time, state, action = situation(r, batch)
    texts = np.unique(np.stack([r.task.observation[prompt, time, state], action]), axis=1)
    wrong = frozen_uniform(*texts) >= 0.7
    assert wrong.mean() == pytest.approx(0.3, abs=0.02)
    fork = r.task.fork[prompt, time]
    assert (first[fork] != exact[fork]).mean() == pytest.approx(0.3, abs=0.1)
    np.testing.assert_allclose(first[~fork], exact[~fork], atol=1e-12)  # equal Q: nothing to confuse


def test_hindsight_of_no_skill_is_the_policy_and_full_skill_prefers_what_led_there() -> None:
    r = rollouts(n=64)
    batch = to_batch(r)
    texts = ["done"] * batch.n_trajectories
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(SimulatedPolicy(r, 0.0).logp(batch, rng, hindsight=texts).values, batch.need("logp"), atol=1e-12)
    known = SimulatedPolicy(r, 1.0).logp(batch, rng, hindsight=texts).values
    assert known.max() <= 0
    with oracle():
        advantage = truth(r.task, r.theta).latent[situation(r, batch)]
    won = (batch.reward > 0)[batch.within("turn", "trajectory")]
    change = np.bincount(batch.within("token", "turn"), weights=known - batch.need("logp"))
    matters = won & (np.abs(advantage) > 1e-3)
    assert np.all(np.sign(change[matters]) == np.sign(advantage[matters]))


def test_a_task_of_ones_own_is_checked_field_by_field() -> None:
    kernel = np.full((3, 2, 3), 1 / 3)
    task = chain("own/three", kernel, [0.0, 0.5, 1.0], horizon=4)
    with oracle():
        assert pytest.approx(0.5) == truth(task, task.start_theta).J
    with pytest.raises(ApportionError, match="kernels must hold probabilities"):
        chain("own/bad", kernel * 2, [0.0, 0.5, 1.0], horizon=4)
    with pytest.raises(ApportionError, match="success must lie in"):
        chain("own/bad", kernel, [0.0, 0.5, 2.0], horizon=4)


def test_an_entrant_that_samples_its_own_group_needs_room_for_it() -> None:
    task = build("bifurcation/horizon-10")
    with pytest.raises(OptionError, match="larger groups"):
        run_entrant(entrants()["carl"], task, task.start_theta, 2, 4, np.random.default_rng(0), np.random.default_rng(0))
