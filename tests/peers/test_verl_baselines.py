"""REINFORCE++ and ReMax against verl's own functions, on random ragged rollouts with observation tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl")
pytest.importorskip("torch")

import torch
from verl.trainer.ppo import core_algos

import apportion as ap
from apportion.credit import Credit

WIDTH = 12


def rollouts(seed: int, groups: int = 4, size: int = 3, *, dense: bool = False) -> tuple[Any, Any, Any]:
    """Rewards, mask and prompts of rows of random lengths; rewards stand on policy tokens (the last one; ``dense``: all)."""
    rng = np.random.default_rng(seed)
    n = groups * size
    mask = np.zeros((n, WIDTH), dtype=np.int64)
    rewards = np.zeros((n, WIDTH))
    for i in range(n):
        length = int(rng.integers(1, WIDTH + 1))
        mask[i, :length] = rng.random(length) < 0.7
        mask[i, rng.integers(length)] = 1
        last = np.flatnonzero(mask[i])[-1]
        rewards[i, last] = rng.normal()
        if dense:
            rewards[i] += np.where(mask[i], 0.1 * rng.normal(size=WIDTH), 0.0)
    return torch.tensor(rewards), torch.tensor(mask), np.repeat(np.arange(groups), size)


def batch(rewards: Any, mask: Any, uid: Any) -> ap.Batch:
    return ap.Batch.from_padded(response_mask=mask.numpy(), token_reward=rewards.numpy(), group=uid, turns="mask")


def ours(method: str, given: ap.Batch, **options: Any) -> Any:
    credit = ap.assign(given, method, **options)
    assert isinstance(credit, Credit)
    return credit.to_padded()


class Config:
    def __init__(self, gamma: float) -> None:
        self.gamma = gamma


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_plain_reinforce_pp(seed: int, gamma: float) -> None:
    rewards, mask, uid = rollouts(seed, dense=seed % 2 == 1)
    expected, _ = core_algos.compute_reinforce_plus_plus_outcome_advantage(rewards, mask, config=Config(gamma))
    got = ours("reinforce_pp", batch(rewards, mask, uid), gamma=gamma)
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-9)
    assert np.ptp(got) > 1


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_reinforce_pp_with_the_prompts_mean(seed: int, size: int) -> None:
    rewards, mask, uid = rollouts(seed, groups=6 // size, size=size, dense=seed % 2 == 1)
    expected, _ = core_algos.compute_reinforce_plus_plus_baseline_outcome_advantage(rewards, mask, uid)
    got = ours("reinforce_pp", batch(rewards, mask, uid), variant="baseline")
    # verl's mean of a lone prompt is a float32 zero and its others are in the rewards' precision
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-6)
    assert np.ptp(got) > 1


@pytest.mark.parametrize("seed", range(4))
def test_remax_with_returns_to_go(seed: int) -> None:
    rewards, mask, uid = rollouts(seed, dense=seed % 2 == 1)
    baselines = np.random.default_rng(seed).normal(size=uid.max() + 1)
    expected, _ = core_algos.compute_remax_outcome_advantage(rewards, torch.tensor(baselines[uid]), mask)
    policy = mask.numpy() == 1  # verl's cumulative sum also stands on observation tokens
    got = ours("remax", batch(rewards, mask, uid), greedy_reward=baselines, form="to_go")
    np.testing.assert_allclose(got[policy], expected.numpy()[policy], atol=1e-12)
    assert not got[~policy].any()


def test_a_reward_on_an_observation_token_is_kept_here_and_dropped_there() -> None:
    """verl's plain REINFORCE++ skips masked positions, their rewards with them; here a reward moves to its step's last token."""
    rewards = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.5, 0.0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    uid = np.array([0, 0])
    theirs, returns = core_algos.compute_reinforce_plus_plus_outcome_advantage(rewards, mask, config=Config(1.0))
    assert not returns[0].any()
    given = batch(rewards, mask, uid)
    assert given.reward.tolist() == [1.0, 0.5]
    got = ours("reinforce_pp", given)
    assert got[0, 0] > 0 > theirs[0, 0]
