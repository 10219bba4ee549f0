"""PRIME: the card's worked example, its variants, masks, lone rollouts, and its learned model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError

from .fakes import FakePolicy

_Q = np.array([0.4, -0.1, 0.3, -0.2, -0.6])
_REF = np.array([-1.0, -2.0, -0.9, -1.5, -0.7])


def _batch(**changes: Any) -> Batch:
    return Batch.from_turns([[3], [2]], **{"outcome": [1.0, 0.0], "group": [0, 0], "ref_logp": _REF, **changes})


def _prime(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "prime", **{"prm_logp": _REF + _Q, **options})
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    credit = _prime(_batch())
    assert_allclose(credit.token, [1.0280, 0.5607, 0.5607, -1.1214, -1.0280], atol=5e-5)
    assert_allclose(credit.parts["process"], [2.25, 1.0, 1.0, -1.5, -1.25], atol=1e-5)
    assert_allclose(credit.parts["outcome"], [1.0, 1.0, 1.0, -1.0, -1.0])
    assert (credit.loss.ratio, credit.loss.denominator) == ("token", "token")


def test_before_whitening_the_credit_is_the_sum_of_the_two_returns() -> None:
    credit = _prime(_batch(), whitening=False)
    assert_allclose(credit.token, [3.25, 2.0, 2.0, -2.5, -2.25], atol=1e-5)
    assert_allclose(_prime(_batch(), whitening=False, norm=False).parts["process"], 0.8 * np.array([2.25, 1, 1, -1.5, -1.25]))


def test_without_its_model_it_is_whitened_rloo() -> None:
    credit = _prime(_batch(outcome=[2.0, 1.0]), process_coef=0.0, whitening=False)
    rloo = assign(_batch(outcome=[2.0, 1.0]), "rloo")
    assert isinstance(rloo, Credit)
    assert_array_equal(credit.token, rloo.token)
    silent = _prime(_batch(), prm_logp=_REF)
    assert_array_equal(silent.parts["process"], 0.0)


def test_coefficients_weigh_the_two_streams() -> None:
    plain, both = _prime(_batch(), whitening=False), _prime(_batch(), whitening=False, process_coef=5.0, outcome_coef=3.0)
    assert_allclose(both.token, 5 * plain.parts["process"] + 3 * plain.parts["outcome"])
    scaled = _prime(_batch(), process_coef=5.0, outcome_coef=5.0)  # the recipe's: a common factor is whitened away
    assert_allclose(scaled.token, _prime(_batch()).token, atol=1e-7)


def test_whole_responses_put_the_sum_on_the_last_token() -> None:
    credit = _prime(_batch(), granularity="whole", whitening=False)
    q = np.array([0.0, 0.0, 0.6, 0.0, -0.8]) / 0.8
    v = 2 * q - (q[:3].mean() + q[3:].mean())
    expected = np.concatenate([np.cumsum(v[:3][::-1])[::-1], np.cumsum(v[3:][::-1])[::-1]])
    assert_allclose(credit.parts["process"], expected, atol=1e-5)


def test_verls_recipe_leaves_the_process_reward_of_the_last_token_out() -> None:
    credit = _prime(_batch(), variant="verl", whitening=False)
    q = np.array([0.4, -0.1, 0.0, -0.2, 0.0]) / 0.3
    v = 2 * q - (q[:3].mean() + q[3:].mean())
    expected = np.concatenate([np.cumsum(v[:3][::-1])[::-1], np.cumsum(v[3:][::-1])[::-1]])
    assert_allclose(credit.parts["process"], expected, atol=2e-5)
    assert_allclose(credit.parts["outcome"], [1.0, 1.0, 1.0, -1.0, -1.0])


def test_equal_rewards_leave_the_process_part_alone() -> None:
    credit = _prime(_batch(outcome=[0.1, 0.1]))
    assert_array_equal(credit.parts["outcome"], 0.0)
    assert np.abs(credit.token).max() > 0.5


def test_observation_tokens_enter_no_sum_and_no_mean() -> None:
    spaced = Batch.from_turns(
        [[1, 3], [3]], outcome=[1.0, 0.0], group=[0, 0], ref_logp=np.insert(_REF, [1, 3], -0.1),
        action=[True, False, True, True, False, True, True],
    )  # fmt: skip
    logp = np.insert(_REF + _Q, [1, 3], np.nan)
    forms: list[dict[str, Any]] = [{}, {"granularity": "whole"}, {"variant": "verl"}]
    for options in forms:
        for whitening in (True, False):
            credit = _prime(spaced, prm_logp=logp, whitening=whitening, **options)
            assert_allclose(credit.token[spaced.action], _prime(_batch(), whitening=whitening, **options).token, atol=1e-9)
            for values in (credit.token, *credit.parts.values()):
                assert_array_equal(values[~spaced.action], 0.0)


def test_prompts_share_the_norm_and_the_whitening_but_no_baseline() -> None:
    batch = Batch.from_turns([[3], [2], [2], [1]], outcome=[1.0, 0.0, 1.0, 1.0], group=[0, 0, 1, 1], ref_logp=np.tile(-2.0, 8))
    logp = np.append(_Q, [0.1, 0.2, -0.4]) - 2.0
    whole = _prime(batch, prm_logp=logp, norm=False, whitening=False)
    assert_allclose(whole.token[:5], _prime(_batch(), norm=False, whitening=False).token)
    normed = _prime(batch, prm_logp=logp)
    assert abs(normed.token.mean()) < 1e-12
    assert_allclose(normed.token.var(ddof=1), 1.0, atol=1e-6)


def test_a_lone_response_keeps_its_own_rewards_unless_told_otherwise() -> None:
    lone = _batch().take([0])
    credit = _prime(lone, prm_logp=_REF[:3] + _Q[:3], norm=False, whitening=False)
    assert_allclose(credit.token, np.array([0.6, 0.2, 0.3]) + 1.0)
    with pytest.raises(BatchError, match="single"):
        _prime(lone, prm_logp=_REF[:3] + _Q[:3], single="error")
    assert_array_equal(_prime(lone, prm_logp=_REF[:3] + _Q[:3], single="zero").token, 0.0)


def test_the_reference_can_be_the_policy_that_sampled() -> None:
    policy = _batch(ref_logp=None, logp=_REF)
    assert_array_equal(_prime(policy, reference="policy").token, _prime(_batch()).token)
    with pytest.raises(MissingColumn, match="ref_logp"):
        _prime(policy)
    with pytest.raises(MissingColumn, match="'logp' is missing to compare 'prm_logp' with"):
        _prime(_batch(), reference="policy")


def test_scores_that_are_no_log_probabilities_are_refused_by_index() -> None:
    for value in (0.3, np.nan):
        logp = _REF + _Q
        logp[3] = value
        with pytest.raises(OptionError, match=r"'prm_logp'\[3\] = "):
            _prime(_batch(), prm_logp=logp)


def test_a_language_model_can_be_asked() -> None:
    credit = assign(_batch(logp=_REF), "prime", policy=FakePolicy())
    assert isinstance(credit, Credit)
    assert credit.bill.scored == 5
    assert credit.evidence["prm_logp"] not in ("given", "column")
