"""ITPO: the card's worked examples in all three forms, its limits, masks and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, OptionError
from apportion.methods import itpo

_L = np.array([0.4, 0.2, 1.0, 0.6, -0.2, 0.6, 0.1, 0.3, -0.5, 0.1, 0.2, 0.2, 0.2])


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [1.0, 0.0], "group": [0, 0], "ref_logp": [-3.0] * 13, **changes}
    return Batch.from_turns([[2, 4, 2], [2, 3]], **columns)


def _itpo(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "itpo", **{"prm_logp": _L - 3.0, **options})
    assert isinstance(credit, Credit)
    return credit


def _returns(a: list[float]) -> Any:
    return np.concatenate([np.cumsum(a[:3][::-1])[::-1], np.cumsum(a[3:][::-1])[::-1]])


def _whitened(turns: Any) -> Any:
    token = np.repeat(turns, [2, 4, 2, 2, 3])
    return (turns - token.mean()) / np.sqrt(token.var(ddof=1) + 1e-8)


def test_worked_example_of_the_card_for_norm_itpo() -> None:
    credit = _itpo(_batch())
    assert_allclose(credit.unit, [1.2321, 0.7525, 0.0786, -1.4478, -0.9119], atol=6e-5)
    assert_allclose(credit.unit, _whitened(np.array([1.0, 0.7017, 0.2827, -0.6667, -0.3333])), atol=2e-4)
    assert_allclose(credit.token, np.repeat(credit.unit, [2, 4, 2, 2, 3]))
    assert (credit.loss.ratio, credit.loss.denominator) == ("token", "token")


def test_worked_example_of_the_card_without_the_norm() -> None:
    credit = _itpo(_batch(), norm=False)
    assert_allclose(credit.unit, [1.0107, 0.9540, -0.6883, -1.5378, -0.4618], atol=5e-4)  # the card rounds on the way
    assert_allclose(credit.unit, _whitened(_returns([0.005, 0.145, -0.015, -0.095, 0.005])), atol=1e-9)


def test_worked_weights_of_the_released_code() -> None:
    a, b = [0.3158, 0.5112, 0.1730], [0.3095, 0.6905]
    r = np.array([*a, *(3.0 * x for x in b)])
    m = r[:3].mean() + r[3:].mean()
    credit = _itpo(_batch(outcome=[1.0, 3.0]), variant="code")
    assert_allclose(credit.unit, _whitened(_returns((2 * r - m).tolist())), atol=2e-4)


def test_the_released_code_without_the_norm_drops_the_last_score_and_divides_by_the_largest_return() -> None:
    score = 0.05 * _L
    score[[7, 12]] = 0.0
    r = np.add.reduceat(score / 0.135, [0, 2, 6, 8, 10])
    m = r[:3].mean() + r[3:].mean()
    credit = _itpo(_batch(), variant="code", norm=False)
    assert_allclose(credit.unit, _whitened(_returns((2 * r - m).tolist())), atol=1e-4)


def test_grpo_form_standardises_all_turns_of_the_prompt_and_does_not_whiten() -> None:
    r = np.array([0.3158, 0.3762, 0.3080, 0.0, 0.0])
    a = (r - r.mean()) / (r.std(ddof=1) + 1e-6)
    assert_allclose(_itpo(_batch(), estimator="grpo").unit, _returns(a.tolist()), atol=1e-3)


def test_with_one_turn_a_rollout_norm_itpo_is_whitened_rloo_whatever_the_model_says() -> None:
    rng = np.random.default_rng(0)
    batch = Batch.from_turns([[2], [3], [1], [2]], outcome=rng.normal(size=4), group=[0, 0, 1, 1], ref_logp=np.full(8, -9.0))
    rloo = assign(batch, "rloo")
    assert isinstance(rloo, Credit)
    token = rloo.token
    for logp in (np.full(8, -9.0), -rng.exponential(size=8)):
        got = _itpo(batch, prm_logp=logp).token
        assert_allclose(got, (token - token.mean()) / np.sqrt(token.var(ddof=1) + 1e-8), atol=1e-9)


def test_a_model_without_opinion_splits_the_outcome_evenly() -> None:
    r = np.array([1 / 3] * 3 + [0.0] * 2)
    assert_allclose(_itpo(_batch(), prm_logp=[-3.0] * 13).unit, _whitened(_returns((2 * r - 1 / 3).tolist())), atol=1e-9)
    assert_array_equal(_itpo(_batch(), prm_logp=[-3.0] * 13, norm=False).unit, 0.0)


def test_no_reward_at_all_gives_no_credit_under_the_norm_and_some_without_it() -> None:
    nothing = _batch(outcome=[0.0, 0.0])
    assert_array_equal(_itpo(nothing).unit, 0.0)
    assert_array_equal(_itpo(nothing, norm=False).unit, _itpo(_batch(), norm=False).unit)


def test_a_failure_is_still_held_against_the_successes_of_others() -> None:
    assert (_itpo(_batch()).unit[3:] < 0).all()


def test_a_smaller_eta_gives_all_to_the_best_turn() -> None:
    r = np.array([0.0, 1.0, 0.0, 0.0, 0.0])
    assert_allclose(_itpo(_batch(), eta=1e-4).unit, _whitened(_returns((2 * r - 1 / 3).tolist())), atol=1e-6)


def test_length_is_charged_where_the_tokens_are() -> None:
    r = np.array([0.03, 0.10, 0.02, -0.02, 0.03]) - 0.01 * np.array([2, 4, 2, 2, 3])
    m = r[:3].mean() + r[3:].mean()
    got = _itpo(_batch(), norm=False, length_weight=-0.01)
    assert_allclose(got.unit, _whitened(_returns((2 * r - m).tolist())), atol=1e-9)


def test_observation_tokens_enter_no_sum() -> None:
    spaced = Batch.from_turns(
        [[2, 6, 2], [2, 3]], outcome=[1.0, 0.0], group=[0, 0], ref_logp=np.insert(np.full(13, -3.0), [2, 6], -0.1),
        action=[True, True, False, True, True, True, True, False, *[True] * 7],
    )  # fmt: skip
    for options in ({}, {"norm": False}, {"variant": "code"}):
        got = _itpo(spaced, prm_logp=np.insert(_L - 3.0, [2, 6], np.nan), **options)
        assert_allclose(got.unit, _itpo(_batch(), **options).unit, atol=1e-9)


def test_a_prompt_with_one_rollout_is_refused_unless_told_otherwise() -> None:
    lone = _batch().take([0])
    with pytest.raises(BatchError, match="group 0 has a single trajectory"):
        _itpo(lone, prm_logp=_L[:8] - 3.0)
    assert_array_equal(_itpo(lone, prm_logp=_L[:8] - 3.0, single="zero").unit, 0.0)
    raw = _itpo(lone, prm_logp=_L[:8] - 3.0, single="raw", norm=False).unit
    assert raw[0] > raw[1] > raw[2]  # returns .15, .12, .02


@pytest.mark.parametrize("option", ["beta", "eta"])
def test_options_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(OptionError, match=f"{option} = 0"):
        _itpo(_batch(), **{option: 0.0})


def test_scores_that_are_no_log_probabilities_are_refused_by_index() -> None:
    for value in (0.3, np.nan):
        logp = _L - 3.0
        logp[4] = value
        with pytest.raises(OptionError, match=r"'prm_logp'\[4\] = "):
            _itpo(_batch(), prm_logp=logp)


def test_soft_outcomes_are_its_labels_where_they_are_shares() -> None:
    rng = np.random.default_rng(0)
    n = 40
    ids = rng.integers(0, 3, 2 * n)
    columns: dict[str, Any] = {"ids": ids, "ref_logp": np.full(2 * n, -1.1), "group": np.zeros(n, dtype=int)}
    soft = Batch.from_turns([[2]] * n, outcome=0.2 + 0.3 * (ids[::2] == 1), **columns)
    hard = Batch.from_turns([[2]] * n, outcome=2.0 * (ids[::2] == 1), **columns)
    same = Batch.from_turns([[2]] * n, outcome=1.0 * (ids[::2] == 1), **columns)
    weights = [itpo.fit(b, rng=np.random.default_rng(0)).weights for b in (soft, hard, same)]
    assert_array_equal(weights[1], weights[2])  # 2 is no share: solved or not is what counts
    assert np.abs(weights[0] - weights[2]).max() > 1e-3
