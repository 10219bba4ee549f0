"""Turn-PPO: the card's worked example, its loss, and where it is GAE over turns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import OptionError
from apportion.ops.surrogate import surrogate_weights

from .batches import random_batch

_LOG_RATIOS = np.array([0.05, -0.02, 0.10, 0.20, 0.15, -0.30, -0.10, 0.05, -0.05])


def _run(batch: Batch, id_: str = "turn_ppo", **options: Any) -> Credit:
    credit = assign(batch, id_, **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    batch = Batch.from_turns([[3, 2, 4]], outcome=[1.0])
    value = np.array([0.4, np.nan, np.nan, 0.6, np.nan, 0.5, np.nan, np.nan, np.nan])  # only turn starts are read
    credit = _run(batch, value=value)
    assert_allclose(credit.unit, [0.4974, 0.3405, 0.5000], atol=5e-5)
    assert_allclose(credit.token, np.repeat(credit.unit, [3, 2, 4]))
    assert_allclose(credit.targets["value"], np.repeat([0.8974, 0.9405, 1.0], [3, 2, 4]), atol=5e-5)
    assert_allclose(_run(batch, value=value, whiten="turn").unit, [0.6895, -1.4141, 0.7246], atol=5e-5)


def test_worked_objective_of_the_card() -> None:
    batch = Batch.from_turns([[3, 2, 4]], outcome=[1.0])
    credit = _run(batch, value=np.repeat([0.4, 0.6, 0.5], [3, 2, 4]))
    assert (credit.loss.ratio, credit.loss.form, credit.loss.denominator) == ("turn", "product", "sequence")
    turn = batch.within("token", "turn")
    rho = np.exp(np.bincount(turn, weights=_LOG_RATIOS))
    assert_allclose(rho, [1.1388, 1.4191, 0.6703], atol=5e-5)
    surrogate = np.minimum(rho * credit.unit, np.clip(rho, 0.8, 1.2) * credit.unit)
    assert_allclose(surrogate, [0.5664, 0.4086, 0.3352], atol=5e-5)
    assert_allclose(surrogate.sum() / 9, 0.1456, atol=5e-5)
    # the second turn is clipped: it has no gradient, the others rho A on each of their tokens
    kept, lost = surrogate_weights(_LOG_RATIOS, credit.token, turn, batch.action, form="product", low=0.8, high=1.2)
    assert_allclose(kept, np.where(turn == 1, 0.0, (rho * credit.unit)[turn]))
    assert_allclose(lost, np.where(turn == 1, (rho * credit.unit)[1], 0.0))
    geometric, nothing = surrogate_weights(_LOG_RATIOS, credit.token, turn, batch.action, form="geometric", low=0.8, high=1.2)
    assert_allclose(geometric / credit.token, np.array([1.0443, 1.1912, 0.9048])[turn], atol=5e-5)
    assert not nothing.any()


@pytest.mark.parametrize("seed", range(3))
def test_its_advantage_is_gae_over_turns_and_only_the_loss_differs(seed: int) -> None:
    batch = random_batch(seed)
    ours, gae = _run(batch, gamma=0.9, lam=0.7), _run(batch, "gae", unit="turn", gamma=0.9, lam=0.7)
    assert_array_equal(ours.unit, gae.unit)
    assert_array_equal(ours.token, gae.token)
    assert_array_equal(ours.targets["value"], gae.targets["value"])
    assert ours.loss != gae.loss
    defaults, plain = _run(batch), _run(batch, "gae", unit="turn")
    assert np.abs(defaults.unit - plain.unit).max() > 0.01  # gamma and lam are its own


def test_one_turn_is_a_bandit() -> None:
    batch = Batch.from_turns([[2], [3]], outcome=[1.0, 0.0], value=[0.3, 9, 0.2, 9, 9.0])
    assert_allclose(_run(batch).unit, [0.7, -0.2])


def test_a_cut_off_trajectory_ends_in_its_bootstrap_value() -> None:
    batch = Batch.from_turns([[1], [1]], outcome=[0.0, 0.0], value=[0.3, 0.3], truncated=[True, False], bootstrap=[0.8, 0.8])
    assert_allclose(_run(batch, gamma=0.5).unit, [0.1, -0.3])


def test_averaging_over_turns_is_in_the_tokens() -> None:
    batch = Batch.from_turns([[3, 1], [2]], action=[0, 1, 1, 1, 0, 1], outcome=[1.0, 0.0], value=[9, 0.2, 9, 0.5, 9, 0.4])
    by_tokens = _run(batch)
    for ratio, share in (("product", [0.5, 0.5, 1.0]), ("geometric", [0.25, 0.5, 1.0]), ("token", [0.25, 0.5, 1.0])):
        credit = _run(batch, norm="turn_mean", ratio=ratio)
        assert_array_equal(credit.unit, by_tokens.unit)
        assert_allclose(credit.token, by_tokens.token * np.repeat(share, [3, 1, 2]))
        assert credit.loss.denominator == "trajectory"
        assert (credit.loss.ratio, credit.loss.form) == {
            "product": ("turn", "product"), "geometric": ("turn", "geometric"), "token": ("token", "geometric")
        }[ratio]  # fmt: skip


def test_whitening_counts_turns_or_tokens_and_leaves_the_returns_alone() -> None:
    batch = random_batch(1)
    plain = _run(batch)
    owner = batch.within("token", "turn")[batch.action]
    for over, counted in (("turn", plain.unit), ("token", plain.unit[owner])):
        credit = _run(batch, whiten=over)
        assert_allclose(credit.unit, (plain.unit - counted.mean()) / (counted.std() + 1e-8))
        assert_array_equal(credit.targets["value"], plain.targets["value"])
    lone = Batch.from_turns([[2]], outcome=[1.0], value=[0.1, 0.1])
    assert_array_equal(_run(lone, whiten="turn").unit, [0.0])


@pytest.mark.parametrize("option", [{"gamma": 1.01}, {"lam": -0.1}])
def test_discounts_lie_between_zero_and_one(option: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected a number from 0 to 1"):
        _run(Batch.from_turns([[1]], outcome=[1.0], value=[0.5]), **option)


def test_a_value_missing_at_the_start_of_a_turn_is_named() -> None:
    batch = Batch.from_turns([[2, 2]], action=[0, 1, 0, 1], outcome=[1.0])
    with pytest.raises(OptionError, match=r"evidence 'value'\[3\] = nan"):
        _run(batch, value=[0.0, 0.5, 0.0, np.nan])


def test_the_learned_critic_discounts_per_turn() -> None:
    # every turn looks the same to the critic but for its position, and every rollout earns 1 at its end
    batch = Batch.from_turns([[2, 2, 2]] * 60, action=[False, True] * 180, ids=[7, 1] * 180, outcome=[1.0] * 60)
    credit = _run(batch, fit=True, rng=0, gamma=0.5, lam=0.0, ridge=0.01)
    value = credit.targets["value"][batch.action] - credit.unit
    assert_allclose(value.reshape(60, 3).mean(axis=0), [0.25, 0.5, 1.0], atol=0.01)
    assert credit.bill.trained == credit.bill.scored == 180
