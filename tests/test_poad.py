"""POAD: the card's table, NTPO, and where both are GAE."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.methods.poad import fit

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


def _words(n: int = 400) -> tuple[Batch, np.ndarray[Any, Any]]:
    """One prompt token, then two words; the first decides the reward, the second does not."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2, (n, 2))
    reward = (rng.random(n) < np.where(words[:, 0], 0.9, 0.2)).astype(float)
    ids = np.concatenate([np.full((n, 1), 50), 60 + words], axis=1).ravel()
    return Batch.from_turns([[3]] * n, action=[False, True, True] * n, ids=ids, outcome=reward), words


def test_the_learned_critic_sees_the_words_so_far_and_none_to_come() -> None:
    batch, words = _words()
    credit = _run(batch, fit=True, rng=0)
    value = (credit.targets["value"] - credit.token).reshape(-1, 3)[:, 1:]
    assert_allclose(value[:, 0].mean(), batch.reward.mean(), atol=0.02)
    assert value[:, 0].std() < 0.05  # before the first word nothing is known: what is left is the folds' means
    assert_allclose([value[words[:, 0] == w, 1].mean() for w in (0, 1)], [0.2, 0.9], atol=0.07)
    first = credit.token.reshape(-1, 3)[:, 1]
    assert first[words[:, 0] == 1].mean() - first[words[:, 0] == 0].mean() > 0.5
    second = credit.token.reshape(-1, 3)[:, 2]
    assert abs(second[words[:, 1] == 1].mean() - second[words[:, 1] == 0].mean()) < 0.1
    assert credit.bill.trained == credit.bill.scored == 800


def test_no_trajectory_is_judged_by_a_critic_that_saw_its_reward() -> None:
    batch, _ = _words(20)
    changed = np.array(batch.outcome)
    changed[3] = 100.0

    def value(given: Batch) -> Any:
        return fit(given, rng=np.random.default_rng(0)).evidence(given).arrays["value"].reshape(-1, 3)

    one, two = value(batch), value(batch.with_columns(outcome=changed))
    assert_array_equal(one[3], two[3])
    assert np.abs(one - two).max() > 1


def test_the_learned_critic_discounts_between_actions_only() -> None:
    batch = Batch.from_turns([[3, 3]] * 60, action=[False, True, True] * 120, ids=[7, 1, 2] * 120, outcome=[1.0] * 60)
    credit = _run(batch, fit=True, rng=0, gamma=0.5, ridge=0.01)
    value = (credit.targets["value"] - credit.token)[batch.action].reshape(60, 4)
    assert_allclose(value.mean(axis=0), [0.5, 0.5, 1.0, 1.0], atol=0.02)


def test_a_critic_of_tokens_says_what_it_cannot_learn_from() -> None:
    batch, _ = _words(4)
    with pytest.raises(BatchError, match="held out from itself"):
        _run(batch.take([0]), fit=True)
    with pytest.raises(MissingColumn, match="ids"):
        _run(batch.with_columns(ids=None, text=["a"] * 4), fit=True)
    wrong: list[dict[str, Any]] = [{"folds": 1}, {"ridge": 0.0}, {"buckets": 0}]
    for option in wrong:
        with pytest.raises(OptionError, match="folds"):
            _run(batch, fit=True, **option)
