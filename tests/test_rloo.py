"""RLOO: the card's worked example, its promises, and what it shares with GRPO."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError


def _rloo(rewards: list[float], group: list[int] | None = None, **options: Any) -> Credit:
    batch = Batch.from_turns([[1]] * len(rewards), outcome=rewards, group=group or [0] * len(rewards))
    credit = assign(batch, "rloo", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    assert_allclose(_rloo([1, 0, 0.5, 1]).unit, [0.5, -0.8333, -0.1667, 0.5], atol=5e-5)


def test_worked_example_with_kl_in_the_reward() -> None:
    kl = np.array([2, 1, 0.5, 4])
    batch = Batch.from_turns([[1]] * 4, outcome=[1, 0, 0.5, 1], token_reward=-0.05 * kl, group=[0] * 4)
    credit = assign(batch, "rloo")
    assert isinstance(credit, Credit)
    assert_allclose(credit.unit, [0.4917, -0.7750, -0.0750, 0.3583], atol=5e-5)


def test_group_of_one_raises_keeps_its_reward_or_gets_zero() -> None:
    with pytest.raises(BatchError, match="group 0 has a single member"):
        _rloo([0.7])
    assert_allclose(_rloo([0.7], single="raw").unit, [0.7])
    assert_allclose(_rloo([0.7], single="zero").unit, [0.0])


def test_groups_sum_to_zero_and_a_shift_of_rewards_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    rewards, group = rng.normal(size=12), np.repeat([0, 1, 2], 4)
    a = _rloo(rewards.tolist(), group.tolist()).unit
    assert_allclose(np.bincount(group, weights=a), 0, atol=1e-12)
    assert_allclose(_rloo((rewards + 5.0).tolist(), group.tolist()).unit, a, atol=1e-12)


def test_own_reward_never_enters_its_baseline() -> None:
    low, high = _rloo([0.0, 1.0, 2.0]).unit, _rloo([3.0, 1.0, 2.0]).unit
    assert_allclose(high[0] - low[0], 3.0)


def test_equal_rewards_are_exactly_nothing_whatever_the_size_of_the_teams() -> None:
    batch = Batch.from_turns([[1]] * 5, outcome=[0.1] * 5, group=[0] * 5, episode=[0, 0, 1, 1, 1])
    credit = assign(batch, "rloo")
    assert isinstance(credit, Credit)
    assert_array_equal(credit.token, 0.0)
