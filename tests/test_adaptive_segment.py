"""Adaptive segments: the card's worked example, where the cuts fall, what agrees, and what is not judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Asked, Bill

from .fakes import FakeJudge

_CHOSEN = np.array([0.2, 0.3, -0.05, -0.5, -0.6, 0.1, 0.15, 0.2])
_REJECTED = np.array([0.3, 0.2, -0.6, -0.5, 0.05, 0.35])
_SCORE = np.concatenate([_CHOSEN, _REJECTED])
_RATIO = np.array([0.10, 0.05, -0.02, -0.20, 0.30, 0.04, 0.06, 0.01, 0.02, -0.03, 0.08, 0.10, -0.05, 0.07])


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [0.8, 0.0], "group": [0, 0], **changes}
    return Batch.from_turns([[8], [6]], **columns)


def _asr(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "adaptive_segment", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_masks_of_the_card() -> None:
    credit = _asr(_batch(), token_score=_SCORE)
    mask = [1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0]
    assert_allclose(credit.token, 0.8 * np.array(mask) * ([1] * 8 + [-1] * 6))
    assert credit.keep is not None
    assert_array_equal(credit.keep, np.array(mask, dtype=bool))
    assert credit.loss.denominator == "token"
    assert credit.diagnostics == {"kept": 8 / 14, "segments": 3.0}
    tokens = _asr(_batch(), token_score=_SCORE, delta=0.0)
    assert_array_equal(tokens.token != 0, [1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0])


def test_worked_advantages_of_the_card() -> None:
    for a, expected in ((0.8, [0.8, 0.8, 0.8, 0, 0, 0.8, 0.8, 0.8]), (-0.5, [0, 0, 0, -0.5, -0.5, 0, 0, 0])):
        credit = _asr(_batch(outcome=[a, 0.0]), token_score=_SCORE)
        assert_allclose(credit.token[:8], expected)


@pytest.mark.parametrize(("delta", "chosen", "loss"), [(0.4, 0.24, 0.690152), (0.0, 0.26, 0.689155), (None, None, None)])
def test_worked_losses_of_the_card(delta: float | None, chosen: float | None, loss: float | None) -> None:
    batch = _batch(logp=_RATIO - 1.0, ref_logp=-np.ones(14))
    credit = _asr(batch, token_score=_SCORE, form="dpo", delta=delta)
    if loss is not None and chosen is not None:
        assert_allclose(credit.diagnostics["loss"], loss, atol=5e-7)
        pull = 0.1 / (1 + np.exp(0.1 * (chosen - 0.18)))
        assert_allclose(credit.token[[0, 7, 10, 11]], [pull, pull, -pull, -pull])
    assert_array_equal(credit.token[:8] >= 0, True)
    assert_array_equal(credit.token[8:] <= 0, True)
    everything = _asr(batch, token_score=[1.0] * 8 + [-1.0] * 6, form="dpo")
    assert_allclose(everything.diagnostics["loss"], 0.685675, atol=5e-7)  # no mask: DPO


def test_an_infinite_threshold_is_all_or_nothing_and_full_agreement_is_rloo() -> None:
    credit = _asr(_batch(), token_score=_SCORE, delta=np.inf)
    assert_allclose(credit.token, [0] * 8 + [-0.8] * 6)  # both means are below 0: only the second rollout's agrees
    assert credit.keep is not None
    assert_array_equal(credit.keep, [False] * 8 + [True] * 6)
    agree = _asr(_batch(), token_score=[0.5] * 8 + [-0.5] * 6)
    rloo = assign(_batch(), "rloo")
    assert isinstance(rloo, Credit)
    assert_array_equal(agree.token, rloo.token)


def test_segments_by_sum_and_by_last_token() -> None:
    batch = Batch.from_turns([[3], [3]], outcome=[1.0, 0.0], group=[0, 0])
    score = np.array([0.3, 0.1, -0.2, 0.3, 0.1, -0.2])
    assert_allclose(_asr(batch, token_score=score).token, [1, 1, 1, 0, 0, 0])
    assert_allclose(_asr(batch, token_score=score, segment_reward="last").token, [0, 0, 0, -1, -1, -1])
    assert_allclose(_asr(batch, token_score=score, segment_reward="sum", threshold=0.15).token, [1, 1, 1, 0, 0, 0])
    assert_allclose(_asr(batch, token_score=score, threshold=0.15).token, [0, 0, 0, -1, -1, -1])  # a mean of 1/15


def test_ties_with_the_threshold_are_masked_either_way() -> None:
    batch = Batch.from_turns([[2], [2]], outcome=[1.0, 0.0], group=[0, 0])
    assert_array_equal(_asr(batch, token_score=np.zeros(4)).token, 0.0)
    even = _asr(batch.with_columns(outcome=[1.0, 1.0]), token_score=[1, 1, -1, -1.0], delta=0.4)
    assert even.keep is not None
    assert_array_equal(even.keep, [True, True, False, False])  # an advantage of 0 counts as positive


def test_observations_are_left_out_before_neighbours_are_compared() -> None:
    action = [True, False, True, True, True, True]
    batch = Batch.from_turns([[4], [2]], action=action, outcome=[1.0, 0.0], group=[0, 0])
    for observed in (np.nan, 9.0, -9.0):
        score = np.array([0.3, observed, 0.1, -0.05, -0.3, -0.3])
        credit = _asr(batch, token_score=score)
        assert_allclose(credit.token, [1, 0, 1, 1, -1, -1])
        assert credit.diagnostics["segments"] == 1.0


def test_the_usual_jump_of_a_trajectory_cuts_where_it_is_exceeded() -> None:
    jumps = np.array([0.1] * 9 + [1.0, 0.2])  # the .9 quantile (nearest rank from below) is .2
    score = np.concatenate([[0.5], 0.5 - np.cumsum(jumps)])
    batch = Batch.from_turns([[12], [1]], outcome=[1.0, 0.0], group=[0, 0])
    credit = _asr(batch, token_score=[*score, -1.0], delta=None)
    assert credit.diagnostics["segments"] == 3 / 2
    assert_array_equal(credit.token[:12], [1] * 10 + [0] * 2)


def test_a_single_jump_is_usual() -> None:
    batch = Batch.from_turns([[2], [2]], outcome=[1.0, 0.0], group=[0, 0])
    credit = _asr(batch, token_score=[0.5, -0.2, 0.1, -0.6], delta=None)
    assert credit.diagnostics["segments"] == 1.0
    assert_allclose(credit.token, [1, 1, -1, -1])


def test_rejection_sampling_imitates_the_good_segments_of_solved_rollouts() -> None:
    credit = _asr(_batch(), token_score=_SCORE, form="rejection")
    assert credit.kind == "weight"
    assert_array_equal(credit.token, [1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert credit.keep is not None
    assert_array_equal(credit.keep, credit.token > 0)
    solved = _asr(_batch(success=[False, True]), token_score=_SCORE, form="rejection")
    assert_array_equal(solved.token, [0] * 8 + [1, 1, 0, 0, 1, 1])


def test_what_no_one_judged_keeps_the_advantage_of_its_sequence() -> None:
    batch = Batch.from_turns([[4], [2]], outcome=[1.0, 0.0], group=[0, 0], logp=-np.ones(6), ref_logp=-np.ones(6))
    score = np.array([-0.3, np.nan, 0.3, 0.2, np.nan, 0.3])
    assert_allclose(_asr(batch, token_score=score).token, [0, 1, 1, 1, -1, 0])
    assert_array_equal(_asr(batch, token_score=score, form="rejection").token, [0, 0, 1, 1, 0, 0])
    assert_array_equal(_asr(batch, token_score=score, form="dpo").token != 0, [0, 0, 1, 1, 0, 0])
    silent = _asr(batch, token_score=np.full(6, np.nan))
    assert_allclose(silent.token, [1, 1, 1, 1, -1, -1])


def test_a_judge_rates_steps_or_tokens() -> None:
    class Steps(FakeJudge):
        def score(self, batch: Batch, unit: Any, rng: np.random.Generator, **more: Any) -> Asked:
            return Asked(np.arange(batch.count(unit)) - 1.0, Bill(judge_calls=1.0))

    batch = Batch.from_turns([[1, 2], [1]], outcome=[1.0, 0.0], group=[0, 0])
    found = assign(batch, "adaptive_segment", judge=Steps())
    assert isinstance(found, Credit)
    assert_allclose(found.token, [0, 0, 0, 0])  # scores -1 | 0 0 | 1
    tokens = assign(batch, "adaptive_segment", judge=Steps(), rated="token")
    assert isinstance(tokens, Credit)
    assert_allclose(tokens.token, [0, 0, 1, 0])  # scores -1, 0, 1, 2
    with pytest.raises(ValueError, match="rated"):
        assign(batch, "adaptive_segment", judge=Steps(), rated="turn")

    class Broken(FakeJudge):
        def score(self, batch: Batch, unit: Any, rng: np.random.Generator, **more: Any) -> Asked:
            return Asked(np.zeros(1), Bill())

    with pytest.raises(OptionError, match=r"shape \(1,\), expected \(3,\)"):
        assign(batch, "adaptive_segment", judge=Broken())


def test_bad_input() -> None:
    with pytest.raises(OptionError, match="delta = -1"):
        _asr(_batch(), token_score=_SCORE, delta=-1.0)
    with pytest.raises(OptionError, match="limit"):
        _asr(_batch(), token_score=_SCORE, denominator="limit")
    with pytest.raises(MissingColumn, match="logp"):
        _asr(_batch(), token_score=_SCORE, form="dpo")
    with pytest.raises(BatchError, match="single member"):
        _asr(_batch().take([0]), token_score=_CHOSEN)
    assert_array_equal(_asr(_batch().take([0]), token_score=_CHOSEN, single="zero").token, 0.0)


def test_token_rewards_learned_from_outcomes_find_the_words_that_helped() -> None:
    rng = np.random.default_rng(0)
    n = 400
    act = rng.integers(0, 2, (n, 3))
    ids = np.stack([np.broadcast_to([50, 51, 52], (n, 3)), act], axis=2)
    reward = (rng.random(n) < 0.15 + 0.7 * act[:, 1]).astype(float)
    batch = Batch.from_turns([[2] * 3] * n, action=[False, True] * (3 * n), ids=ids.ravel(), outcome=reward, group=[0] * n)
    credit = _asr(batch, fit=True, rng=0, delta=0.05).on("turn").reshape(n, 3)
    won = (reward == 1) & (act[:, 1] == 1)
    assert (credit[won, 1] > 0).mean() > 0.9
    lucky = (reward == 1) & (act[:, 1] == 0)
    assert (credit[lucky, 1] > 0).mean() < 0.1
