"""GRPO and Dr. GRPO: worked examples, variants and what they collapse to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.bench.gradient import token_weights
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError


def _credit(batch: Batch, id_: str = "grpo", **options: Any) -> Credit:
    credit = assign(batch, id_, **options)
    assert isinstance(credit, Credit)
    return credit


def _grpo(rewards: list[float], **options: Any) -> Any:
    return _credit(Batch.from_turns([[1]] * len(rewards), outcome=rewards, group=[0] * len(rewards)), **options).unit


def test_worked_examples_of_the_card() -> None:
    half = 0.5 / np.sqrt(1 / 3)
    assert_allclose(_grpo([1, 0, 0, 1]), [half, -half, -half, half], atol=5e-5)
    assert_allclose(_grpo([1, 0, 0, 1]), [0.8660, -0.8660, -0.8660, 0.8660], atol=5e-5)
    assert_allclose(_grpo([1, 0, 0, 1], spread="population"), [1, -1, -1, 1], atol=5e-5)
    assert_allclose(_grpo([1, 0, 0, 1], spread="none"), [0.5, -0.5, -0.5, 0.5])
    assert_allclose(_grpo([1, 0, 0, 0]), [1.5, -0.5, -0.5, -0.5], atol=5e-5)
    assert_allclose(_grpo([1, 0, 0, 0], spread="none"), [0.75, -0.25, -0.25, -0.25])


def test_worked_token_weights_of_the_card() -> None:
    batch = Batch.from_turns([[2], [4], [3], [1]], outcome=[1, 0, 0, 0], group=[0] * 4, limit=8)
    first = batch.offsets("trajectory")[:-1]
    assert_allclose(token_weights(_credit(batch))[first], [0.1875, -0.0312, -0.0417, -0.1250], atol=6e-5)
    dr = _credit(batch, spread="none", denominator="limit")
    assert_allclose(token_weights(dr)[first], [0.0234, -0.0078, -0.0078, -0.0078], atol=6e-5)


def test_worked_process_supervision_of_the_card() -> None:
    batch = Batch.from_turns([[4], [6]], steps=[[2, 2], [1, 2, 3]], process=[0.9, 0.2, 0.1, 0.4, 0.5], group=[0, 0])
    credit = _credit(batch, supervision="process", spread="population")
    assert_allclose(credit.unit, [0.9333, -0.7898, -0.9333, 0.2154, 0.2872], atol=5e-5)
    assert_allclose(credit.token[[0, 1, 2, 4, 9]], credit.unit[[0, 0, 1, 2, 4]])


def test_process_supervision_needs_scores_and_not_rewards() -> None:
    batch = Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], group=[0, 0])
    with pytest.raises(MissingColumn, match="'process' is missing for grpo with supervision='process'"):
        _credit(batch, supervision="process")
    with pytest.raises(MissingColumn, match="'reward' is missing for grpo"):
        _credit(Batch.from_turns([[1], [1]], process=[1.0, 0.0], group=[0, 0]))


def test_null_process_scores_add_nothing_and_enter_no_statistic() -> None:
    scores = [0.9, 0.2, 0.1, 0.4, 0.5]
    full = Batch.from_turns([[1, 1], [1, 1, 1]], process=scores, group=[0, 0])
    holed = Batch.from_turns([[1, 1, 1], [1, 1, 1]], process=[0.9, np.nan, *scores[1:]], group=[0, 0])
    a, b = (_credit(x, supervision="process").unit for x in (full, holed))
    assert_allclose(b[[0, 2, 3, 4, 5]], a)
    assert_allclose(b[1], b[2])  # a null step shares what is still to come


def test_dr_grpo_is_rloo_shrunk_by_the_group_size() -> None:
    rng = np.random.default_rng(0)
    batch = Batch.from_turns([[2, 1]] * 15, outcome=rng.normal(size=15), group=np.repeat([0, 1, 2], 5))
    assert_allclose(_credit(batch, spread="none").unit * 5 / 4, _credit(batch, "rloo").unit)


def test_equal_rewards_give_zero_and_groups_of_one_follow_verl() -> None:
    assert_array_equal(_grpo([0.1] * 3), 0.0)
    assert_array_equal(_grpo([0.1] * 3, eps=0.0), 0.0)
    with pytest.raises(BatchError, match="single member"):
        _grpo([1.0])
    assert_allclose(_grpo([1.0], single="raw"), [1 / (1 + 1e-6)])
    assert_array_equal(_grpo([1.0], single="zero"), [0.0])


def test_scale_and_shift_of_rewards_do_not_matter_up_to_eps() -> None:
    assert_allclose(_grpo([3.0, 1.0, 2.0], eps=0.0), _grpo([70.0, 50.0, 60.0], eps=0.0))


def test_rows_count_once_per_row_only_when_asked() -> None:
    lengths, rewards = [[1, 1, 1], [1]], [1.0, 0.0]
    by_turn = Batch.from_turns(lengths, rows="turn", outcome=rewards, group=[0, 0])
    whole = Batch.from_turns(lengths, outcome=rewards, group=[0, 0])
    assert_array_equal(_credit(by_turn, spread="none").unit, _credit(whole, spread="none").unit)
    assert_allclose(_credit(by_turn, spread="none", count="row").unit, [0.25, -0.75])
    assert_allclose(_credit(by_turn, count="row", eps=0.5).unit, [0.25, -0.75])  # std of [1, 1, 1, 0]: 0.5
    assert_allclose(_credit(whole, spread="none", count="row").unit, [0.5, -0.5])


def test_rows_of_a_lone_rollout_are_no_group_and_steps_know_no_rows() -> None:
    lone = Batch.from_turns([[1, 1]], rows="turn", outcome=[2.0], group=[0])
    with pytest.raises(BatchError, match="single member"):
        _credit(lone, count="row")
    assert_array_equal(_credit(lone, count="row", single="raw").unit, [0.0])  # verl: the mean of its rows is itself
    scored = Batch.from_turns([[1], [1]], process=[1.0, 0.0], group=[0, 0])
    with pytest.raises(OptionError, match="count='row'"):
        _credit(scored, supervision="process", count="row")


def test_process_scores_are_standardised_prompt_by_prompt() -> None:
    scores = [0.9, 0.2, 0.4, -0.3, 0.1, 0.8]
    batch = Batch.from_turns([[1, 1], [1, 1], [1, 1]], process=scores, group=[0, 1, 0])
    x = np.array(scores)[[0, 1, 4, 5]]
    z = (x - x.mean()) / (x.std(ddof=1) + 1e-6)
    credit = _credit(Batch.from_turns([[1, 1], [1, 1], [1, 1]], process=scores, group=[0, 1, 0]), supervision="process")
    assert_allclose(credit.unit[[0, 1, 4, 5]], [z[0] + z[1], z[1], z[2] + z[3], z[3]])
    half = np.sqrt(0.5)
    assert_allclose(_credit(batch, supervision="process").unit[2:4], [0.0, -half], atol=1e-5)
    assert credit.level == "step"
    assert credit.loss.denominator == "sequence"
    assert _credit(batch, supervision="process", denominator="token").loss.denominator == "token"


def test_observation_tokens_get_nothing_and_the_limit_is_asked_for() -> None:
    batch = Batch.from_turns([[2], [2]], action=[False, True, True, False], outcome=[1.0, 0.0], group=[0, 0])
    assert_array_equal(_credit(batch).token[[0, 3]], 0.0)
    with pytest.raises(MissingColumn, match="limit"):
        _credit(batch, denominator="limit")
    with pytest.raises(ValueError, match="supervision = 'both'"):
        _credit(batch, supervision="both")
