"""From r to Q*: the card's MDP, the identity with the soft optimum, and how a learned policy compares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.bench.layouts import choices, situation, to_batch
from apportion.bench.oracle import oracle, truth
from apportion.bench.tabular import Task, chain
from apportion.bench.world import Rollouts, roll
from apportion.credit import Credit
from apportion.errors import MissingColumn, OptionError


def _credit(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "from_r_to_q", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    pi = np.log([0.7754, 0.8808, 0.7754, 0.1192, 0.2246, 0.3, 0.2246, 0.7])
    ref = np.log([0.6, 0.5, 0.6, 0.5, 0.4, 0.3, 0.4, 0.7])
    credit = _credit(Batch.from_turns([[2]] * 4, ref_logp=ref), dpo_logp=pi, beta=0.5)
    assert_allclose(credit.token, [0.1282, 0.2831, 0.1282, -0.7169, -0.2886, 0.0, -0.2886, 0.0], atol=2e-4)
    assert_allclose(credit.token.reshape(4, 2).sum(axis=1), [0.4114, -0.5886, -0.2886, -0.2886], atol=2e-4)


def test_worked_pair_of_the_card() -> None:
    batch = Batch.from_turns([[3], [2]], ref_logp=[-0.5, -0.8, -0.9, -0.6, -1.1])
    credit = _credit(batch, dpo_logp=[-0.2, -1.0, -0.5, -0.7, -2.0])
    assert_allclose(credit.token, [0.03, -0.02, 0.04, -0.01, -0.09], atol=1e-12)
    assert_allclose(np.log1p(np.exp(-(credit.token[:3].sum() - credit.token[3:].sum()))), 0.6210, atol=5e-5)


def test_beta_only_scales_and_rewards_are_never_read() -> None:
    batch = Batch.from_turns([[3]], ref_logp=[-0.5, -0.8, -0.9], outcome=[7.0])
    one, two = (_credit(batch, dpo_logp=[-0.2, -1.0, -0.5], beta=b).token for b in (0.1, 0.2))
    assert_allclose(two, 2 * one)
    assert_array_equal(_credit(batch.with_columns(outcome=None), dpo_logp=[-0.2, -1.0, -0.5], beta=0.1).token, one)
    with pytest.raises(OptionError, match="beta = 0"):
        _credit(batch, dpo_logp=[-0.2, -1.0, -0.5], beta=0.0)


def test_a_policy_that_is_its_reference_gives_no_credit() -> None:
    batch = Batch.from_turns([[2], [1]], ref_logp=[-0.5, -0.8, -0.9])
    assert_array_equal(_credit(batch, dpo_logp=[-0.5, -0.8, -0.9]).token, 0.0)


def test_observation_tokens_get_nothing_and_the_reference_may_be_the_sampling_policy() -> None:
    batch = Batch.from_turns([[3]], action=[True, False, True], logp=[-0.5, -0.8, -0.9])
    assert_allclose(_credit(batch, dpo_logp=[-0.2, np.nan, -1.0], reference="policy", beta=1.0).token, [0.3, 0.0, -0.1])
    with pytest.raises(MissingColumn, match="ref_logp"):
        _credit(batch, dpo_logp=[-0.2, 0.0, -1.0])
    with pytest.raises(OptionError, match=r"'dpo_logp'\[2\] = nan"):
        _credit(batch, dpo_logp=[-0.2, 0.0, np.nan], reference="policy")


# --- the soft optimum --------------------------------------------------------------------------------------


def _task() -> Task:
    """Four turns, three states, two actions, nothing left to dice but the verifier."""
    rng = np.random.default_rng(3)
    kernel = np.eye(3)[rng.integers(0, 3, (4, 3, 2))]
    return chain("own/soft", kernel, np.array([0.1, 0.5, 0.9]), horizon=4)


def _soft_optimum(task: Task, beta: float) -> tuple[Any, Any]:
    """V* (T + 1, S) and pi* (T, S, A) by backward induction; the reward is the chance of success, at the end."""
    ref = task.reference_policy
    v = np.empty((task.horizon + 1, 3))
    pi = np.empty((task.horizon, 3, task.actions))
    v[-1] = task.success[0]
    for t in reversed(range(task.horizon)):
        q = np.einsum("san,n->sa", task.kernels[task.kernel_of[0, t]], v[t + 1])
        weight = ref[task.context[0, t]] * np.exp(q / beta)
        v[t] = beta * np.log(weight.sum(axis=1))
        pi[t] = weight / weight.sum(axis=1, keepdims=True)
    return v, pi


def _scored(task: Task, rollouts: Rollouts, batch: Batch, pi: Any) -> Any:
    """Token log-probabilities of the recorded actions under a policy (T, S, A)."""
    table = np.empty((task.offset.shape[0], task.actions))
    for t in range(task.horizon):
        table[task.context[0, t]] = pi[t]
    at, (prompt, time, state, action) = choices(task, batch), situation(rollouts, batch)
    words = task.token_probabilities(table)[0][task.context[prompt, time, state], action]
    logp = np.zeros(batch.n_tokens)
    logp[(at.first[:, None] + np.arange(words.shape[1])).ravel()] = words.ravel()
    return logp


@pytest.mark.parametrize("beta", [0.05, 0.3, 2.0])
def test_credit_of_the_soft_optimal_policy_is_its_advantage_exactly(beta: float) -> None:
    task = _task()
    rollouts = roll(task, task.start_theta, 4, 8, np.random.default_rng(0))
    batch = to_batch(rollouts, reference=True)
    v, pi = _soft_optimum(task, beta)
    credit = _credit(batch, dpo_logp=_scored(task, rollouts, batch, pi), beta=beta)
    _, time, state, action = situation(rollouts, batch)
    turn = np.bincount(batch.within("token", "turn"), weights=credit.token)
    soft = v[1:][time, rollouts.states[:, 1:].ravel()] - v[time, state]
    assert_allclose(turn, soft, atol=1e-9)
    pi_ref = task.reference_policy[task.context[0, time, state], action]
    assert_allclose(turn, beta * np.log(pi[time, state, action] / pi_ref), atol=1e-9)
    ends = rollouts.states[:, -1]
    assert_allclose(turn.reshape(-1, task.horizon).sum(axis=1), task.success[0, ends] - v[0, rollouts.states[:, 0]], atol=1e-9)


def test_a_soft_optimum_with_much_regularisation_gives_the_advantage_of_the_reference() -> None:
    task = _task()
    rollouts = roll(task, task.start_theta, 4, 8, np.random.default_rng(0))
    batch = to_batch(rollouts, reference=True)
    with oracle():
        exact = truth(task, task.start_theta).A[situation(rollouts, batch)]
    apart = []
    for beta in (0.05, 0.5, 50.0):
        credit = _credit(batch, dpo_logp=_scored(task, rollouts, batch, _soft_optimum(task, beta)[1]), beta=beta)
        turn = np.bincount(batch.within("token", "turn"), weights=credit.token)
        apart.append(float(np.abs(turn - exact).max()))
    assert apart[0] > apart[1] > apart[2]
    assert apart[2] < 1e-2
    assert apart[0] > 0.05  # a sharp optimum values another thing than the policy that samples


def test_a_policy_learned_from_pairs_nears_the_soft_optimal_advantage_and_then_a() -> None:
    task, beta = _task(), 0.5
    v, _ = _soft_optimum(task, beta)
    found = []
    for n in (16, 512):
        rollouts = roll(task, task.start_theta, n // 8, 8, np.random.default_rng(1))
        batch = to_batch(rollouts, reference=True)
        turn = np.bincount(batch.within("token", "turn"), weights=_credit(batch, fit=True, rng=0, beta=beta).token)
        _, time, state, _ = situation(rollouts, batch)
        with oracle():
            exact = truth(task, task.start_theta).A[situation(rollouts, batch)]
        soft = v[1:][time, rollouts.states[:, 1:].ravel()] - v[time, state]
        found.append([float(np.corrcoef(turn, x)[0, 1]) for x in (soft, exact)])
    few, many = found
    assert min(many) > 0.75
    assert many[0] > few[0] + 0.1
    assert many[1] > few[1] + 0.1


def test_without_a_prompt_that_has_both_kinds_nothing_is_learned_and_the_result_says_so() -> None:
    columns: dict[str, Any] = {"ids": [1, 2, 1, 2], "ref_logp": [-0.7] * 4, "group": [0, 0, 1, 1]}
    flat = _credit(Batch.from_turns([[1]] * 4, outcome=[1.0, 1.0, 0.0, 0.0], **columns), fit=True, rng=0)
    assert_array_equal(flat.token, 0.0)
    assert (flat.diagnostics["examples"], flat.bill.trained) == (0.0, 0.0)
    mixed = _credit(Batch.from_turns([[1]] * 4, outcome=[1.0, 0.0, 0.0, 0.0], **columns), fit=True, rng=0)
    assert (mixed.diagnostics["examples"], mixed.bill.trained) == (1.0, 2.0)
