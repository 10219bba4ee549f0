"""AEM: the card's example, mean 1 per prompt, what it leaves alone, and the advantages it is put on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.methods.aem import modulation

H = [0.2, 0.5, 0.8, 0.3]
A = [0.5, 0.5, -0.5, -0.5]
ALPHA = [1.4180, 0.8601, 0.5216, 1.2003]


def _aem(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "aem", **options)
    assert isinstance(credit, Credit)
    return credit


def _batch(**more: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [1.0, 0.0], "group": [0, 0], "entropy": H, **more}
    return Batch.from_turns([[1, 1], [1, 1]], **columns)


def test_worked_example_of_the_card() -> None:
    credit = _aem(_batch(), base="given", advantage=A)
    assert_allclose(credit.unit, [0.7090, 0.4300, -0.2608, -0.6002], atol=5e-5)
    assert_allclose(credit.unit / np.array(A), ALPHA, atol=5e-5)
    assert_allclose(credit.parts["base"], A)
    assert_allclose(credit.parts["base"] + credit.parts["modulation"], credit.unit)
    assert_allclose([credit.diagnostics["least_alpha"], credit.diagnostics["most_alpha"]], [0.5216, 1.4180], atol=5e-5)


def test_on_grpo_the_advantage_is_rescaled_turn_by_turn() -> None:
    grpo = assign(_batch(), "grpo")
    assert isinstance(grpo, Credit)
    credit = _aem(_batch())
    assert_allclose(credit.token, grpo.token * ALPHA, atol=5e-5)
    assert_allclose(np.abs(credit.unit).sum() / np.abs(grpo.token).sum(), 1.0)  # the mean of alpha is 1


@pytest.mark.parametrize("options", [{"lam": 0.0}, {"least_range": 1.0}])
def test_without_modulation_it_is_grpo_to_the_last_bit(options: Any) -> None:
    rng = np.random.default_rng(0)
    batch = Batch.from_turns([[3, 2]] * 5, outcome=rng.normal(size=5), group=[0] * 5, entropy=rng.random(25))
    grpo = assign(batch, "grpo")
    assert isinstance(grpo, Credit)
    credit = _aem(batch, **options)
    assert_array_equal(credit.token, grpo.token)
    assert credit.loss == grpo.loss


def test_little_range_changes_nothing_and_the_threshold_is_a_tenth_of_a_nat() -> None:
    for span, moved in ((0.09, False), (0.11, True)):
        credit = _aem(_batch(entropy=[0.2, 0.2, 0.2, 0.2 + span]))
        assert bool(credit.parts["modulation"].any()) is moved
    equal = _aem(_batch(entropy=[0.3] * 4), least_range=0.0)
    assert not equal.parts["modulation"].any()
    assert (
        not _aem(Batch.from_turns([[1], [1]], outcome=[1, 0], group=[0, 1], entropy=[0.1, 0.9]), single="raw")
        .parts["modulation"]
        .any()
    )


def test_only_ranks_and_distances_of_entropy_matter_not_their_scale() -> None:
    plain = _aem(_batch())
    assert_allclose(_aem(_batch(entropy=3 * np.array(H) + 7)).unit, plain.unit)


def test_equal_rewards_give_nothing_and_signs_stay() -> None:
    assert not _aem(_batch(outcome=[1.0, 1.0])).unit.any()
    assert_array_equal(np.sign(_aem(_batch()).unit), [1, 1, -1, -1])


def test_a_turn_counts_once_however_long_and_its_entropy_is_a_mean_over_policy_tokens() -> None:
    action = [False, True, True, True, False, True]
    entropy = [9.0, 0.2, 0.4, 0.6, 9.0, 0.8]  # turns: 0.3, then 0.6 and 0.8
    batch = Batch.from_turns([[3, 1], [2]], action=action, outcome=[1, 0], group=[0, 0], entropy=entropy)
    expected = modulation(np.array([0.3, 0.6, 0.8]), np.zeros(3, dtype=np.int64), 1.0, 0.1)
    credit = _aem(batch)
    assert_allclose(credit.unit / credit.parts["base"], expected)
    assert_allclose(expected.mean(), 1.0)


def test_prompts_share_no_range() -> None:
    batch = Batch.from_turns(
        [[1]] * 4, outcome=[1, 0, 1, 0], group=[0, 0, 1, 1], entropy=[0.1, 0.3, 2.0, 4.0]
    )  # fmt: skip
    alpha = _aem(batch).unit / _aem(batch).parts["base"]
    assert_allclose(alpha[:2], alpha[2:])
    assert alpha[0] > 1 > alpha[1]
    whole = _aem(batch, over="batch")
    assert_allclose((whole.unit / whole.parts["base"]).mean(), 1.0)
    assert whole.unit[1] / whole.parts["base"][1] > 1  # little, beside the other prompt's


def test_over_trajectories_compares_turns_of_one_rollout() -> None:
    credit = _aem(_batch(), over="trajectory")
    alpha = credit.unit / credit.parts["base"]
    e = np.exp([0.0, -1.0])
    assert_allclose(alpha, [*(e / e.mean()), *(e[::-1] / e.mean())])


def test_a_negative_lambda_reverses_the_order() -> None:
    alpha = modulation(np.array(H), np.zeros(4, dtype=np.int64), -1.0, 0.1)
    assert_array_equal(np.argsort(alpha), np.argsort(H))


def test_surprisal_stands_in_for_entropy() -> None:
    asked = _batch(entropy=None, logp=-np.array(H))
    assert_allclose(_aem(asked, uncertainty="surprisal").unit, _aem(_batch()).unit)
    with pytest.raises(MissingColumn, match="entropy="):
        _aem(asked)
    with pytest.raises(MissingColumn, match="logp="):
        _aem(_batch(), uncertainty="surprisal")


def test_a_given_advantage_keeps_its_differences_within_a_turn_and_needs_no_reward() -> None:
    batch = Batch.from_turns([[2], [2]], group=[0, 0], entropy=[0.1, 0.1, 0.9, 0.9], action=[True, True, False, True])
    credit = _aem(batch, base="given", advantage=[1.0, 3.0, 5.0, -2.0])
    e = np.exp([0.0, -1.0])
    alpha = e / e.mean()
    assert_allclose(credit.token, [alpha[0], 3 * alpha[0], 0, -2 * alpha[1]])
    assert_allclose(credit.unit, [2 * alpha[0], -2 * alpha[1]])
    with pytest.raises(OptionError, match=r"'advantage'\[1\] is null"):
        _aem(batch, base="given", advantage=[1.0, np.nan, 5.0, -2.0])
    assert _aem(batch, base="given", advantage=[1.0, 3.0, np.nan, -2.0]).unit[0] == credit.unit[0]
    with pytest.raises(MissingColumn, match="advantage="):
        _aem(batch, base="given")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": np.inf}, "lam"), ({"least_range": -0.1}, "least_range"), ({"least_range": np.nan}, "least_range"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        _aem(_batch(), **options)


def test_a_lone_rollout_and_a_missing_limit_are_refused_as_in_grpo() -> None:
    lone = Batch.from_turns([[1]], outcome=[1.0], group=[0], entropy=[0.1])
    with pytest.raises(BatchError, match="single"):
        _aem(lone)
    assert_allclose(_aem(lone, single="raw").unit, 1.0, atol=1e-5)
    with pytest.raises(MissingColumn, match="limit="):
        _aem(_batch(), denominator="limit")
    assert _aem(_batch(limit=4), denominator="limit").loss.denominator == "limit"
