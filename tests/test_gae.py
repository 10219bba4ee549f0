"""GAE: worked table, observation tokens, turns, cut-off trajectories, whitening and its critic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError

_R, _V = [0.0, 0.0, 0.0, 1.0], [0.4, 0.5, 0.3, 0.7]


def _gae(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "gae", **options)
    assert isinstance(credit, Credit)
    return credit


@pytest.mark.parametrize(
    ("lam", "advantage", "returns"),
    [
        (0.95, [0.5282, 0.4508, 0.6850, 0.3000], [0.9282, 0.9507, 0.9850, 1.0000]),
        (1.0, [0.6, 0.5, 0.7, 0.3], [1, 1, 1, 1]),
        (0.0, [0.1, -0.2, 0.4, 0.3], [0.5, 0.3, 0.7, 1.0]),
    ],
)
def test_worked_table_of_the_card(lam: float, advantage: list[float], returns: list[float]) -> None:
    credit = _gae(Batch.from_turns([[4]], token_reward=_R, value=_V), lam=lam)
    assert_allclose(credit.token, advantage, atol=6e-5)
    assert_allclose(credit.targets["value"], returns, atol=6e-5)


def test_worked_whitening_leaves_the_returns_alone() -> None:
    plain = Batch.from_turns([[4]], token_reward=_R, value=_V)
    credit = _gae(plain, lam=0.95, whiten=True)
    assert_allclose(credit.token, [0.2322, -0.2510, 1.2100, -1.1912], atol=5e-5)
    assert_array_equal(credit.targets["value"], _gae(plain, lam=0.95).targets["value"])
    assert_array_equal(_gae(Batch.from_turns([[1]], outcome=[1.0], value=[0.2]), whiten=True).token, [0.0])


def test_observation_tokens_are_skipped_and_their_value_is_never_read() -> None:
    holed = Batch.from_turns([[5]], action=[1, 1, 0, 1, 1], token_reward=[0, 0, 0, 0, 1.0])
    credit = _gae(holed, value=[0.4, 0.5, np.nan, 0.3, 0.7], lam=0.95)
    assert_allclose(credit.token, [0.5282, 0.4508, 0.0, 0.6850, 0.3000], atol=5e-5)
    assert credit.targets["value"][2] == 0.0


def test_undiscounted_monte_carlo_is_reward_to_come_minus_value() -> None:
    rng = np.random.default_rng(0)
    action = rng.random(30) < 0.6
    action[[4, 9, 14, 19, 24, 29]] = True
    reward = rng.normal(size=30)  # some of it on observation tokens: not lost
    batch = Batch.from_turns(
        [[5, 5], [5, 5, 5, 5]], action=action, token_reward=reward, outcome=[1.0, 2.0], value=rng.normal(size=30)
    )
    credit = _gae(batch)
    first = [int(np.argmax(action)), 10 + int(np.argmax(action[10:]))]
    assert batch.value is not None
    assert_allclose(credit.token[first], batch.reward - batch.value[first])


def test_turns_count_as_one_action_each() -> None:
    batch = Batch.from_turns([[2, 3]], action=[0, 1, 0, 1, 1], turn_reward=[0.5, 0.0], outcome=[1.0], value=[9, 0.2, 9, 0.6, 9.0])
    credit = _gae(batch, unit="turn", gamma=0.9, lam=0.0)
    assert credit.level == "turn"
    assert_allclose(credit.unit, [0.5 + 0.9 * 0.6 - 0.2, 1.0 - 0.6])
    assert_allclose(credit.token, [0, credit.unit[0], 0, credit.unit[1], credit.unit[1]])
    assert_allclose(credit.targets["value"], [0, 1.04, 0, 1.0, 1.0])


def test_tokens_and_turns_agree_where_a_turn_is_one_token() -> None:
    rng = np.random.default_rng(1)
    batch = Batch.from_turns([[1] * 4, [1] * 3], turn_reward=rng.normal(size=7), value=rng.normal(size=7))
    options = {"gamma": 0.9, "lam": 0.7, "whiten": True}
    assert_allclose(_gae(batch, unit="turn", **options).unit, _gae(batch, **options).unit)


def test_a_cut_off_trajectory_ends_in_its_bootstrap_value() -> None:
    batch = Batch.from_turns([[1], [1]], outcome=[0.0, 0.0], value=[0.3, 0.3], truncated=[True, False], bootstrap=[0.8, 0.8])
    assert_allclose(_gae(batch, gamma=0.5).unit, [0.4 - 0.3, -0.3])
    assert_allclose(_gae(batch.with_columns(bootstrap=None)).unit, [-0.3, -0.3])
    assert_allclose(_gae(batch.with_columns(truncated=None), gamma=0.5).unit, [0.1, 0.1])  # not said: all of them
    turns = _gae(batch, gamma=0.5, unit="turn")
    assert_allclose(turns.unit, [0.1, -0.3])
    assert_allclose(turns.targets["value"], [0.4, 0.0])


@pytest.mark.parametrize("option", [{"gamma": 1.01}, {"gamma": -0.1}, {"lam": 1.5}, {"lam": float("nan")}])
def test_discounts_lie_between_zero_and_one(option: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="expected a number from 0 to 1"):
        _gae(Batch.from_turns([[1]], outcome=[1.0], value=[0.5]), **option)


def test_a_value_missing_on_a_policy_token_is_named() -> None:
    batch = Batch.from_turns([[3]], outcome=[1.0])
    with pytest.raises(OptionError, match=r"evidence 'value'\[1\] = nan"):
        _gae(batch, value=[0.0, np.nan, 0.0])
    with pytest.raises(MissingColumn, match="fit=True"):
        _gae(batch)


def test_the_fitted_critic_recovers_the_mean_return_of_what_was_seen() -> None:
    rng = np.random.default_rng(2)
    seen = rng.integers(0, 2, 400)
    ids = np.stack([100 + seen, rng.integers(0, 4, 400)], axis=1).ravel()
    reward = (rng.random(400) < np.where(seen, 0.9, 0.2)).astype(float)
    batch = Batch.from_turns([[2]] * 400, action=[False, True] * 400, ids=ids, outcome=reward)
    credit = _gae(batch, fit=True, rng=0)
    value = reward - credit.unit[1::2]
    assert_allclose([value[seen == 0].mean(), value[seen == 1].mean()], [0.2, 0.9], atol=0.06)
    assert credit.bill.trained == credit.bill.scored == 400  # the policy's tokens


def test_the_fitted_critic_learns_discounted_returns() -> None:
    ids = np.tile([7, 1, 8, 1], 50)
    batch = Batch.from_turns([[2, 2]] * 50, action=[False, True] * 100, ids=ids, outcome=np.ones(50))
    credit = _gae(batch, fit=True, rng=0, gamma=0.5, unit="turn", ridge=1e-6)
    assert_allclose(credit.unit, 0.0, atol=1e-6)


def test_one_trajectory_cannot_teach_its_own_critic() -> None:
    with pytest.raises(BatchError, match="fit on at least two"):
        _gae(Batch.from_turns([[2]], ids=[1, 2], outcome=[1.0]), fit=True)
