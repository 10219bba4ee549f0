"""Group baselines, GAE and TD(lambda) against verl's, TRL's and torchrl's own functions, on random ragged rollouts.

`tests/peers/test_conformance_peers.py` has the cases that can be checked by hand; here are many that cannot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import apportion as ap
from apportion.credit import Credit
from apportion.integrations.conformance.cases import GroupCase
from apportion.ops.weighted import weighted_standardise

WIDTH = 14
#: The prompt whose rollouts all earn 0.1.
ALIKE = 0


def rollouts(seed: int) -> tuple[Any, Any, Any, Any]:
    """Rewards on the last policy tokens, critic values, masks with holes and ends of all lengths; prompts of 1 to 5 rollouts."""
    rng = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(7), [3, *rng.permutation([1, 2, 3, 4, 5, 5])])
    n = prompt.size
    mask, rewards = np.zeros((n, WIDTH), dtype=np.int64), np.zeros((n, WIDTH))
    for i in range(n):
        length = int(rng.integers(1, WIDTH + 1))
        mask[i, :length] = rng.random(length) < 0.6
        mask[i, rng.integers(length)] = 1
        rewards[i, np.flatnonzero(mask[i])[-1]] = rng.choice([0.0, 1.0, rng.normal()])
    last = WIDTH - 1 - mask[:, ::-1].argmax(axis=1)
    rewards[prompt == ALIKE], rewards[np.flatnonzero(prompt == ALIKE), last[prompt == ALIKE]] = 0.0, 0.1
    order = rng.permutation(n)
    values = rng.normal(size=(n, WIDTH))
    return torch.tensor(rewards[order]), torch.tensor(values[order]), torch.tensor(mask[order]), prompt[order]


def ours(rewards: Any, mask: Any, prompt: Any, method: str, columns: Any = None, **options: Any) -> Any:
    batch = ap.Batch.from_padded(
        response_mask=mask.numpy(), outcome=rewards.numpy().sum(axis=1), group=prompt, turns="mask", **(columns or {})
    )
    credit = ap.assign(batch, method, **options)
    assert isinstance(credit, Credit)
    return credit


def verls(name: str, rewards: Any, mask: Any, prompt: Any, **more: Any) -> Any:
    pytest.importorskip("verl")
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    return get_adv_estimator_fn(name)(token_level_rewards=rewards.clone(), response_mask=mask, index=prompt, **more)[0].numpy()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("method", "options", "name", "more"),
    [
        ("grpo", {"single": "raw"}, "grpo", {}),
        ("grpo", {"single": "raw"}, "grpo_vectorized", {}),
        ("grpo", {"single": "raw", "spread": "none"}, "grpo", {"norm_adv_by_std_in_grpo": False}),
        ("grpo", {"single": "raw", "eps": 1e-2}, "grpo", {"epsilon": 1e-2}),
        ("rloo", {"single": "raw"}, "rloo", {}),
        ("rloo", {"single": "zero"}, "rloo_vectorized", {}),
    ],
)
def test_group_baselines_of_verl(seed: int, method: str, options: Any, name: str, more: Any) -> None:
    rewards, _, mask, prompt = rollouts(seed)
    got = ours(rewards, mask, prompt, method, **options).to_padded()
    theirs = verls(name, rewards, mask, prompt, **more)
    lone, alike = prompt == np.flatnonzero(np.bincount(prompt) == 1)[0], prompt == ALIKE
    # verl's mean and spread of a lone prompt are float32; equal rewards have a test of their own
    np.testing.assert_allclose(got[~lone & ~alike], theirs[~lone & ~alike], atol=1e-12 if name != "grpo_vectorized" else 2e-6)
    np.testing.assert_allclose(got[lone], theirs[lone], atol=2e-6)
    assert not got[alike].any()
    assert np.ptp(got) > 1


@pytest.mark.parametrize("n", [6, 7, 8])
def test_rounding_is_no_credit_here_and_some_there(n: int) -> None:
    """The float32 mean of equal rewards differs from them by a rounding, and eps divides it: up to 0.06 of a z-score."""
    rewards, mask = torch.zeros(n, 2, dtype=torch.float32), torch.ones(n, 2, dtype=torch.int64)
    prompt = np.zeros(n, dtype=np.int64)
    rewards[:, 1] = 0.6
    assert np.abs(verls("grpo", rewards, mask, prompt)).max() < 0.1  # how much depends on the machine
    for method, options in (("grpo", {}), ("grpo", {"eps": 0.0}), ("rloo", {})):
        assert not ours(rewards, mask, prompt, method, **options).to_padded().any()


@pytest.mark.parametrize("seed", range(4))
def test_gpg_is_dr_grpo_times_how_rare_a_reward_is(seed: int) -> None:
    rewards, _, mask, prompt = rollouts(seed)
    got = ours(rewards, mask, prompt, "grpo", single="raw", spread="none").to_padded()
    rare = rewards.shape[0] / np.count_nonzero(rewards.numpy().sum(axis=1))
    np.testing.assert_allclose(rare * got, verls("gpg", rewards, mask, prompt), atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_opo_weighs_rewards_by_length_as_counting_every_token_does(seed: int) -> None:
    """OPO is no method here; its baseline is what statistics come to that count a long rollout once per token of it."""
    rewards, _, mask, prompt = rollouts(seed)
    theirs = verls("opo", rewards, mask, prompt)[np.arange(prompt.size), mask.numpy().argmax(axis=1)]
    reward, length = rewards.numpy().sum(axis=1), mask.numpy().sum(axis=1)
    several = np.bincount(prompt)[prompt] > 1
    np.testing.assert_allclose(weighted_standardise(reward, prompt, length)[several], theirs[several], atol=1e-6)
    np.testing.assert_allclose(theirs[~several], reward[~several])  # verl's lone rollout keeps its reward
    # GiGPO as its code counts, where every policy token is a turn
    turns = ap.Batch.from_turns(
        [[1] * int(k) for k in length], outcome=reward, group=prompt, state=[None] * int(length.sum() + length.size)
    )
    credit = ap.assign(turns, "gigpo", omega=0.0, statistics="row", single="raw")
    assert isinstance(credit, Credit)
    first = turns.trajectory_turns[:-1]
    np.testing.assert_allclose(credit.unit[first][several], theirs[several], atol=1e-6)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (1.0, 0.95), (0.97, 0.9), (0.9, 0.0)])
@pytest.mark.parametrize("seed", range(4))
def test_gae_and_its_returns_of_verl(seed: int, gamma: float, lam: float) -> None:
    pytest.importorskip("verl")
    from verl.trainer.ppo.core_algos import compute_gae_advantage_return

    rewards, values, mask, prompt = rollouts(seed)
    theirs, returns = compute_gae_advantage_return(rewards, values, mask, gamma, lam)
    credit = ours(rewards, mask, prompt, "gae", {"value": values.numpy()}, gamma=gamma, lam=lam, whiten=True)
    policy = mask.numpy() == 1  # verl leaves numbers on the others, which its loss does not read
    np.testing.assert_allclose(credit.to_padded()[policy], theirs.numpy()[policy], atol=1e-9)
    np.testing.assert_allclose(credit.to_padded("value")[policy], returns.numpy()[policy], atol=1e-9)
    assert not credit.to_padded()[~policy].any()


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (0.97, 0.9), (0.9, 0.0)])
@pytest.mark.parametrize("seed", range(4))
def test_gae_and_td_lambda_of_torchrl(seed: int, gamma: float, lam: float) -> None:
    """torchrl knows no mask: it gets each rollout's policy tokens by themselves. Its TD(lambda) is our critic's target."""
    pytest.importorskip("torchrl")
    from torchrl.objectives.value.functional import generalized_advantage_estimate, td_lambda_return_estimate

    rewards, values, mask, prompt = rollouts(seed)
    credit = ours(rewards, mask, prompt, "gae", {"value": values.numpy()}, gamma=gamma, lam=lam)
    advantage, target = credit.to_padded(), credit.to_padded("value")
    for i in range(prompt.size):
        at = mask[i].bool()
        value, reward = values[i][at][:, None], rewards[i][at][:, None]
        following = torch.cat([value[1:], torch.zeros(1, 1, dtype=value.dtype)])
        done = torch.zeros_like(value, dtype=torch.bool)
        done[-1] = True
        theirs, _ = generalized_advantage_estimate(gamma, lam, value, following, reward, done)
        returns = td_lambda_return_estimate(gamma, lam, following, reward, done)
        np.testing.assert_allclose(advantage[i][at.numpy()], theirs[:, 0].numpy(), atol=1e-6)
        np.testing.assert_allclose(target[i][at.numpy()], returns[:, 0].numpy(), atol=1e-6)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize(("scale", "options"), [("group", {}), ("batch", {"spread_over": "batch"}), ("none", {"spread": "none"})])
def test_normalisation_modes_of_trl(scale: str, options: Any, size: int) -> None:
    pytest.importorskip("trl")
    from apportion.integrations.conformance.trl import group

    rng = np.random.default_rng(size)
    reward, prompt = rng.normal(size=12).round(3), np.repeat(np.arange(12 // size), size)
    reward[:size] = 0.5  # a prompt whose rollouts all earn the same
    theirs = group(GroupCase("random", tuple(reward.tolist()), tuple(prompt.tolist())), scale)
    batch = ap.Batch.from_turns([[int(k)] for k in rng.integers(1, 9, 12)], outcome=reward, group=prompt)
    credit = ap.assign(batch, "grpo", eps=1e-4, **options)
    assert isinstance(credit, Credit)
    np.testing.assert_allclose(credit.unit, theirs, atol=2e-6)
    assert np.ptp(credit.unit) > 1
