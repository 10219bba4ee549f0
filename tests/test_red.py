"""RED: the card's worked example, what cancels, tokenizers, nulls, and its learned reward model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.methods.red import at_policy_tokens

#: R(x, empty) = .2, then [.5, .1, .9 | .8]; the second response [-.1 | -.4]
_PREFIX, _FINAL = np.array([0.2, 0.5, 0.1, 0.9, 0.2, -0.1]), np.array([0.8, -0.4])
_RATIO = np.array([0.1, -0.2, 0.0, 0.3, 0.2, -0.1])
_SPARSE: dict[str, Any] = {"prefix_score": _PREFIX, "final_score": _FINAL}


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [0.8, -0.4], "group": [0, 0], "logp": _RATIO - 1.0, "ref_logp": -np.ones(6), **changes}
    return Batch.from_turns([[4], [2]], **columns)


def _red(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "red", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    r = _red(_batch(), **_SPARSE, form="reward")
    assert r.kind == "reward"
    assert_allclose(r.token[:4], [0.3, -0.4, 0.8, -0.1])
    assert_allclose(_red(_batch(), **_SPARSE, form="reward", beta=0.1).token, [0.29, -0.38, 0.8, -0.13, -0.32, -0.29])
    half = {**_SPARSE, "beta": 0.1, "beta_c": 0.5}
    assert_allclose(_red(_batch(), **half, form="reward").token[:4], [0.14, -0.18, 0.4, 0.32])
    assert_allclose(_red(_batch(), **half, form="to_go").token[:4], [0.68, 0.54, 0.72, 0.32])
    assert_allclose(_red(_batch(), **_SPARSE, form="to_go", beta=0.1).token[:4], [0.58, 0.29, 0.67, -0.13])


def test_worked_critic_free_rule_of_the_card() -> None:
    credit = _red(_batch(), **_SPARSE, beta=0.1)
    assert_allclose(credit.token, [1.345, 0.675, 1.855, 0.925, -1.215, -1.185], atol=5e-5)
    assert_array_equal(credit.unit, credit.token)
    assert_allclose(credit.parts["sequence"] + credit.parts["token"], credit.token)
    assert_allclose(_red(_batch(), **_SPARSE, beta=0.1, alpha=0.0).token, [1.2] * 4 + [-1.2] * 2)


def test_used_as_a_return_its_rewards_cancel_to_rloo() -> None:
    rng = np.random.default_rng(0)
    lengths = [[3, 2], [1], [4], [2, 2], [5], [1, 1]]
    n = sum(map(sum, lengths))
    final, group = rng.normal(size=6), [0, 0, 0, 1, 1, 1]
    batch = Batch.from_turns(lengths, outcome=final, group=group)
    prefix = rng.normal(size=n)
    prefix[batch.offsets("trajectory")[:-1]] = np.array([0.7, -0.3])[group]  # one score per empty response of a prompt
    rloo = assign(batch, "rloo")
    assert isinstance(rloo, Credit)
    assert_allclose(_red(batch, prefix_score=prefix, final_score=final, form="return").token, rloo.token, atol=1e-12)
    other = rng.normal(size=6)  # a model that is wrong about the outcome, put right at the end
    mended = _red(batch, prefix_score=prefix, final_score=other, form="return", residual="last")
    assert_allclose(mended.token, rloo.token, atol=1e-12)
    card = Batch.from_turns([[1]] * 3, outcome=[0.8, -0.4, 0.3], group=[0, 0, 0])
    got = _red(card, prefix_score=[0.2] * 3, final_score=[0.8, -0.4, 0.3], form="return")
    assert_allclose(got.token, [0.85, -0.95, 0.1])


def test_to_go_with_the_residual_is_gae_with_prefix_scores_for_values() -> None:
    rng = np.random.default_rng(1)
    batch = Batch.from_turns([[3, 2], [4]], action=rng.random(9) < 0.7, outcome=[1.0, 0.0], group=[0, 0])
    prefix, final = rng.normal(size=9), rng.normal(size=2)
    got = _red(batch, prefix_score=prefix, final_score=final, form="to_go", residual="last")
    gae = assign(batch, "gae", value=prefix, gamma=1.0, lam=1.0)
    assert isinstance(gae, Credit)
    assert_allclose(got.token, gae.token, atol=1e-12)
    plain = _red(batch, prefix_score=prefix, final_score=batch.reward, form="to_go")
    assert_allclose(plain.token, gae.token, atol=1e-12)


def test_with_a_critic_it_is_gae_on_the_redistributed_rewards() -> None:
    value = np.linspace(-1, 1, 6)
    batch = _batch(value=value)
    r = _red(batch, **_SPARSE, form="reward").token
    paid = Batch.from_turns([[4], [2]], token_reward=r, group=[0, 0])
    gae = assign(paid, "gae", value=value, gamma=0.9, lam=0.8)
    assert isinstance(gae, Credit)
    got = _red(batch, **_SPARSE, form="gae", gamma=0.9, lam=0.8)
    assert_allclose(got.token, gae.token)
    assert_allclose(got.targets["value"], gae.targets["value"])
    with pytest.raises(MissingColumn, match="value"):
        _red(_batch(), **_SPARSE, form="gae")
    cut = batch.with_columns(truncated=[True, False], bootstrap=[0.5, 0.7])
    assert_allclose(_red(cut, **_SPARSE, form="gae", gamma=1.0, lam=1.0).token[0], r[:4].sum() + 0.5 - value[0])


def test_what_an_observation_brings_is_paid_to_the_token_before_it() -> None:
    action = [False, True, True, False, False, True]
    batch = Batch.from_turns([[3, 3]], action=action, outcome=[0.9], group=[0])
    for observed in (5.0, np.nan):
        score = np.array([observed, 0.1, 0.2, observed, observed, 0.7])
        r = _red(batch, prefix_score=score, final_score=[0.9], form="reward").token
        assert_allclose(r, [0, 0.1, 0.5, 0, 0, 0.2])


def test_first_token_zero_drops_the_first_increment_only() -> None:
    r = _red(_batch(), **_SPARSE, form="reward", first_token="zero").token
    assert_allclose(r, [0.0, -0.4, 0.8, -0.1, 0.0, -0.3])


def test_a_null_score_joins_two_increments_and_none_at_all_pays_nothing() -> None:
    holed = np.where([False, False, True, False, True, True], np.nan, _PREFIX)
    credit = _red(_batch(), prefix_score=holed, final_score=_FINAL, form="reward")
    assert_allclose(credit.token, [0.3, 0.0, 0.4, -0.1, 0.0, 0.0])
    assert credit.diagnostics["scored"] == 0.5
    lost = _red(_batch(), prefix_score=_PREFIX, final_score=[np.nan, -0.4], form="reward", residual="last")
    assert_allclose(lost.token, [0.3, -0.4, 0.8, 0.0, -0.3, -0.3])


def test_two_models_are_half_the_difference_of_their_scores() -> None:
    rng = np.random.default_rng(2)
    cost, end = rng.normal(size=6), rng.normal(size=2)
    both = _red(_batch(), prefix_score=(_PREFIX - cost) / 2, final_score=(_FINAL - end) / 2, form="reward").token
    apart = [_red(_batch(), prefix_score=p, final_score=f, form="reward").token for p, f in ((_PREFIX, _FINAL), (cost, end))]
    assert_allclose(both, 0.5 * (apart[0] - apart[1]))


def test_scores_of_another_tokenizer() -> None:
    # bytes:  policy ab|c|def|g     reward model a|bcd|ef|g|<end>
    prefix, final = at_policy_tokens(np.array([0.1, 0.4, 0.2, 0.7]), np.array([1, 4, 6, 7]), np.array([2, 3, 6, 7]), 0.05)
    assert_allclose(prefix, [0.05, 0.1, 0.1, 0.2])
    assert_allclose(final, 0.7)
    batch = Batch.from_turns([[4]], outcome=[0.7], group=[0])
    r = _red(batch, prefix_score=prefix, final_score=[final], form="reward").token
    assert_allclose(r, [0.05, 0.0, 0.1, 0.5])


def test_a_lone_rollout_has_no_baseline() -> None:
    batch = Batch.from_turns([[2]], outcome=[1.0], group=[0])
    given: dict[str, Any] = {"prefix_score": [0.1, 0.3], "final_score": [1.0]}
    with pytest.raises(BatchError, match="single member"):
        _red(batch, **given)
    assert_allclose(_red(batch, **given, single="zero").token, [-0.25, 0.25])
    assert_allclose(_red(batch, **given, form="to_go").token, [0.9, 0.7])


def test_options_out_of_range_and_missing_columns() -> None:
    with pytest.raises(OptionError, match=r"beta_c = 1\.5"):
        _red(_batch(), **_SPARSE, beta_c=1.5)
    with pytest.raises(MissingColumn, match="ref_logp"):
        _red(_batch(ref_logp=None), **_SPARSE, beta=0.1)
    with pytest.raises(OptionError, match=r"'final_score' has 1 entries, expected 2"):
        _red(_batch(), prefix_score=_PREFIX, final_score=[0.8])


def test_equal_scores_and_rewards_teach_nothing() -> None:
    assert_array_equal(_red(_batch(outcome=[0.3, 0.3]), prefix_score=np.full(6, 0.3), final_score=[0.3, 0.3]).token, 0.0)


def test_observation_tokens_get_nothing_in_any_form() -> None:
    action = [False, True, False, True, False, True, True]
    batch = Batch.from_turns([[4], [3]], action=action, outcome=[1.0, 0.0], group=[0, 0], value=np.ones(7))
    for form in ("mixed", "return", "to_go", "gae", "reward"):
        token = _red(batch, prefix_score=np.arange(7) / 7, final_score=[1.0, 0.2], form=form).token
        assert_array_equal(token[~batch.action], 0.0)
        assert token[batch.action].all()


def test_it_says_how_many_scores_were_known() -> None:
    assert _red(_batch(), **_SPARSE).diagnostics == {"scored": 1.0, "ended": 1.0}
    lost = _red(_batch(), prefix_score=_PREFIX, final_score=[np.nan, -0.4])
    assert lost.diagnostics == {"scored": 1.0, "ended": 0.5}  # the last rise of the first response is not paid


@pytest.mark.parametrize("option", [{"gamma": 1.5}, {"lam": -0.1}])
def test_discounts_lie_between_zero_and_one(option: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="expected a number from 0 to 1"):
        _red(_batch(value=np.zeros(6)), **_SPARSE, form="gae", **option)
