"""POAD: the card's table, NTPO, and where both are GAE."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import OptionError

from .batches import random_batch

_V = np.array([0.2, 0.3, 0.5, 0.6, 0.4])


def _run(batch: Batch, id_: str = "poad", **options: Any) -> Credit:
    credit = assign(batch, id_, **options)
    assert isinstance(credit, Credit)
    return credit


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.6116, 0.5385, 0.3564, 0.3700, 0.6000]),
        ({"gamma_w": 0.9}, [0.3981, 0.3838, 0.2734, 0.2730, 0.6000]),
        ({"lam": 1.0}, [0.7, 0.6, 0.4, 0.4, 0.6]),
        ({"lam": 1.0, "gamma_w": 0.9}, [0.4561, 0.4290, 0.3100, 0.3, 0.6]),
        ({"whiten": True}, [1.0499, 0.3903, -1.2542, -1.1310, 0.9451]),
    ],
)
def test_worked_table_of_the_card(options: dict[str, Any], expected: list[float]) -> None:
    credit = _run(Batch.from_turns([[3, 2]], outcome=[1.0]), value=_V, gamma=0.9, **options)
    assert_allclose(credit.token, expected, atol=5e-5)
    plain = {k: v for k, v in options.items() if k != "whiten"}
    before = _run(Batch.from_turns([[3, 2]], outcome=[1.0]), value=_V, gamma=0.9, **plain)
    assert_allclose(credit.targets["value"], before.token + _V)
    assert credit.loss.denominator == "token"


def test_worked_returns_of_the_card() -> None:
    batch = Batch.from_turns([[3, 2]], outcome=[1.0])
    assert_allclose(_run(batch, value=_V, gamma=0.9).targets["value"], [0.8116, 0.8385, 0.8564, 0.97, 1.0], atol=5e-5)
    assert_allclose(_run(batch, value=_V, gamma=0.9, lam=1.0).targets["value"], [0.9, 0.9, 0.9, 1.0, 1.0])


def test_observation_tokens_are_skipped() -> None:
    holed = Batch.from_turns([[4, 4]], action=[0, 1, 1, 1, 0, 1, 0, 1], outcome=[1.0])
    value = np.array([np.nan, 0.2, 0.3, 0.5, np.nan, 0.6, np.nan, 0.4])
    credit = _run(holed, value=value, gamma=0.9)
    assert_allclose(credit.token, [0, 0.6116, 0.5385, 0.3564, 0, 0.3700, 0, 0.6000], atol=5e-5)
    assert not credit.targets["value"][~holed.action].any()


@pytest.mark.parametrize("seed", range(3))
def test_undiscounted_it_is_gae_and_naively_discounted_too(seed: int) -> None:
    batch = random_batch(seed)
    assert_allclose(_run(batch, gamma=1.0, lam=0.7).token, _run(batch, "gae", gamma=1.0, lam=0.7).token)
    assert_allclose(_run(batch, gamma=0.8, gamma_w=0.8, lam=0.7).token, _run(batch, "gae", gamma=0.8, lam=0.7).token)
    assert np.abs(_run(batch).token - _run(batch, "gae", gamma=0.99, lam=0.95).token).max() > 1e-3


def test_actions_of_one_token_make_it_action_level_gae() -> None:
    batch = Batch.from_turns([[1] * 4, [1] * 3], turn_reward=np.arange(7.0), value=np.linspace(0, 1, 7))
    assert_allclose(_run(batch, gamma=0.8).token, _run(batch, "gae", unit="turn", gamma=0.8, lam=0.95).unit)


def test_constant_values_inside_an_action_share_its_credit_by_distance() -> None:
    batch = Batch.from_turns([[3]], outcome=[1.0], value=[0.25] * 3)
    assert_allclose(_run(batch, lam=0.5).token, [0.75 / 4, 0.75 / 2, 0.75])


def test_steps_may_be_the_actions() -> None:
    batch = Batch.from_turns([[5]], steps=[[3, 2]], outcome=[1.0], value=_V)
    assert_allclose(_run(batch, gamma=0.9, action="step").token, [0.6116, 0.5385, 0.3564, 0.3700, 0.6000], atol=5e-5)
    assert_allclose(_run(batch, gamma=0.9).token, _run(batch, "gae", lam=0.95).token)  # one turn: no boundary but the end


def test_a_cut_off_trajectory_ends_in_its_bootstrap_value() -> None:
    batch = Batch.from_turns([[2], [1]], outcome=[0, 0], value=[0.3] * 3, truncated=[True, False], bootstrap=[0.8, 0.8])
    assert_allclose(_run(batch, gamma=0.5, lam=1.0).token, [0.1, 0.1, -0.3])


@pytest.mark.parametrize("option", [{"gamma": 1.01}, {"gamma_w": -0.1}, {"lam": 2.0}])
def test_discounts_lie_between_zero_and_one(option: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected a number from 0 to 1"):
        _run(Batch.from_turns([[1]], outcome=[1.0], value=[0.5]), **option)


def test_a_value_missing_on_a_policy_token_is_named() -> None:
    with pytest.raises(OptionError, match=r"evidence 'value'\[1\] = nan"):
        _run(Batch.from_turns([[3]], outcome=[1.0]), value=[0.0, np.nan, 0.0])
    assert_array_equal(_run(Batch.from_turns([[1]], outcome=[0.5], value=[0.5]), whiten=True).token, [0.0])
