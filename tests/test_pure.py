"""PURE: the card's worked example in every variant, its forms and what it refuses."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.methods import pure

from .fakes import FakeJudge

_SCORES = [0.9, -0.6, 0.7, 0.8, 0.5]


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"process": _SCORES, "outcome": [1.0, 0.0], "group": [0, 0], "limit": 10}
    return Batch.from_turns([[9], [7]], steps=[[3, 2, 4], [4, 3]], **{**columns, **changes})


def _pure(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "pure", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    plain = _pure(_batch(), verifiable=0.0, whiten=False)
    assert_allclose(plain.unit, [-0.9486, -0.9486, -0.3486, 0.8142, 0.7763], atol=5e-5)
    assert_allclose(plain.token, np.repeat(plain.unit, [3, 2, 4, 4, 3]))
    assert_allclose(_pure(_batch(), verifiable=0.0).unit, [-1.1532, -1.1532, -0.3963, 1.0706, 1.0228], atol=5e-5)


def test_worked_verl_variant_puts_the_verifiable_reward_among_the_token_rewards() -> None:
    credit = _pure(_batch(), variant="verl", whiten=False)
    assert_allclose(credit.unit, [0.0514, 0.0514, 0.6514, -0.0858, -0.1237], atol=5e-5)


def test_the_paper_adds_the_verifiable_reward_as_a_leave_one_out_term() -> None:
    bare, full = (_pure(_batch(), verifiable=v, whiten=False).unit for v in (0.0, 0.5))
    assert_allclose(full - bare, [0.5, 0.5, 0.5, -0.5, -0.5])


def test_exact_form_is_the_worst_step_to_come_and_the_limit_of_the_softmax() -> None:
    exact = _pure(_batch(), form="exact", verifiable=0.0, whiten=False).unit
    g = exact - exact[[2, 2, 2, 4, 4]]  # the baseline is one number per trajectory
    assert_allclose(g, [-0.6, -0.6, 0.0, 0.0, 0.0], atol=1e-12)
    assert_allclose(exact[3:], 0.5 + 0.6 * 5 / 10)
    cold = _pure(_batch(), temperature=1e-4, verifiable=0.0, whiten=False).unit
    assert_allclose(cold, exact, atol=1e-9)


def test_equal_worst_steps_go_to_the_first_in_the_exact_form_and_are_shared_in_the_softmax() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1]], process=[-0.4, -0.4, 0.0, 0.0], group=[0, 0], limit=4)
    options: dict[str, Any] = {"verifiable": 0.0, "whiten": False}
    assert_allclose(_pure(batch, form="exact", **options).unit[:2], [-0.4, 0.0])
    assert_allclose(_pure(batch, **options).unit[:2], [-0.4, -0.2])


def test_strict_min_form_sees_zeros_of_inner_tokens_and_of_the_padding() -> None:
    batch = Batch.from_turns([[4], [2]], steps=[[2, 2], [2]], process=[0.9, 0.5, -0.3], group=[0, 0], limit=4)
    credit = _pure(batch, form="min", verifiable=0.0, whiten=False)
    # the first response fills the limit: its last token has no padding after it
    base = [-0.6 / 4, 0.5 / 4]
    assert_allclose(credit.token, np.array([0, 0, 0, 0.5, -0.3, -0.3]) - np.repeat(base, [4, 2]))
    padded = _pure(batch.with_columns(limit=5), form="min", verifiable=0.0, whiten=False)
    assert_allclose(padded.token, np.array([0, 0, 0, 0, -0.3, -0.3]) - np.repeat([-0.6 / 5, 0.0], [4, 2]))


def test_sum_form_is_the_ordinary_return() -> None:
    credit = _pure(_batch(), form="sum", verifiable=0.0, whiten=False)
    baseline = [(1.3 * 4 + 0.5 * 3) / 10, (1.0 * 3 + 0.1 * 2 + 0.7 * 4) / 10]
    g = credit.unit + np.repeat(baseline, [3, 2])
    assert_allclose(g, [1.0, 0.1, 0.7, 1.3, 0.5])


def test_openrlhf_takes_the_others_mean_per_token_off_and_zeroes_step_ends() -> None:
    credit = _pure(_batch(), variant="openrlhf", whiten=False)
    w = np.exp(-10 * np.array([0.8, 0.5]))
    second = w / w.sum() * [0.8, 0.5]
    base = [second.sum() / 7, -0.6 / 9]
    # the official code counts the tokens of a step without its separator: 9 - 3 and 7 - 2
    total = {0: -0.6 + 1.0 - 6 * base[0], 4: second.sum() - 1.0 - 5 * base[1]}
    assert_allclose(credit.token[0], total[0], atol=1e-5)  # the softmax leaves a trace of the better steps
    assert_allclose(credit.token[9], total[4], atol=1e-5)
    assert_allclose(credit.token[13], total[4] - (second[0] - 3 * base[1]), atol=1e-5)  # what the second step has left
    assert_array_equal(credit.token[[2, 4, 8, 12, 15]], 0.0)
    inner = np.delete(_pure(_batch(), variant="openrlhf").token, [2, 4, 8, 12, 15])
    assert_allclose([inner.mean(), inner.std()], [0, 1], atol=1e-6)
    assert_array_equal(_pure(_batch(limit=None), variant="openrlhf", whiten=False).token, credit.token)


def test_a_kl_penalty_enters_the_verl_returns_as_it_is_and_verifiable_weighs_the_rest() -> None:
    kl = np.linspace(-0.3, 0.2, 16)
    plain: dict[str, Any] = {"variant": "verl", "whiten": False}
    bare = _pure(_batch(), verifiable=0.5, **plain).token
    for batch, weight in ((_batch(token_reward=kl), 0.5), (_batch(token_reward=kl, outcome=None), 0.0)):
        base = bare if weight else _pure(_batch(), verifiable=0.0, **plain).token
        to_go = [np.cumsum(k[::-1])[::-1] for k in (kl[:9], kl[9:])]
        expected = np.concatenate([to_go[0] - to_go[1].sum() / 10, to_go[1] - to_go[0].sum() / 10])
        assert_allclose(_pure(batch, verifiable=weight, **plain).token - base, expected, atol=1e-12)


def test_every_prompt_has_its_own_baseline_and_its_own_weight_of_rollouts() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 4, (7, 3))
    batch = Batch.from_turns(
        lengths.tolist(), process=rng.uniform(-1, 1, 21), outcome=rng.normal(size=7), group=[0, 1, 0, 1, 1, 0, 1], limit=20
    )
    for options in ({}, {"variant": "verl"}, {"variant": "openrlhf"}, {"form": "min"}):
        whole = _pure(batch, whiten=False, **options).token
        for rows in ([0, 2, 5], [1, 3, 4, 6]):
            tokens = np.isin(batch.within("token", "trajectory"), rows)
            assert_allclose(_pure(batch.take(rows), whiten=False, **options).token, whole[tokens], atol=1e-12)
    g = [
        np.repeat(np.cumsum(rs[::-1])[::-1], n)
        for rs, n in zip(_softmin(batch.need("process").reshape(7, 3)), lengths, strict=True)
    ]
    others = sum(g[i].sum() for i in (1, 3, 6))
    assert_allclose(
        _pure(batch, verifiable=0.0, whiten=False).token[batch.within("token", "trajectory") == 4], g[4] - others / 60
    )


def _softmin(r: Any) -> Any:
    w = np.exp(-r / 0.1)
    return w / w.sum(axis=1, keepdims=True) * r


def test_a_null_step_carries_nothing_and_weighs_nothing() -> None:
    holed = Batch.from_turns(
        [[10], [7]], steps=[[3, 2, 1, 4], [4, 3]], process=[0.9, -0.6, np.nan, 0.7, 0.8, 0.5], group=[0, 0], limit=10
    )
    for form in ("softmax", "exact"):
        a = _pure(_batch(), form=form, verifiable=0.0, whiten=False).unit
        b = _pure(holed, form=form, verifiable=0.0, whiten=False).unit
        assert_allclose(b[[0, 1, 3, 4, 5]], a, atol=1e-6)
    silent = _pure(_batch(process=[np.nan] * 5), verifiable=0.0)
    assert_array_equal(silent.token, 0.0)


def test_what_is_missing_is_named_with_its_cure() -> None:
    with pytest.raises(MissingColumn, match="'limit' is missing for pure"):
        _pure(_batch(limit=None))
    with pytest.raises(MissingColumn, match="'reward' is missing for pure"):
        _pure(_batch(outcome=None))
    assert np.isfinite(_pure(_batch(outcome=None), verifiable=0.0).token).all()
    with pytest.raises(MissingColumn, match="judge="):
        _pure(_batch(process=None))
    with pytest.raises(BatchError, match="group 0 has a single trajectory"):
        _pure(_batch(group=[0, 1]))
    with pytest.raises(OptionError, match="form='exact'"):
        _pure(_batch(), temperature=0.0)
    with pytest.raises(OptionError, match="form='min' is verl's"):
        _pure(_batch(), variant="openrlhf", form="min")


def test_openrlhf_weighs_the_verifiable_reward_and_clamps_its_variance() -> None:
    none, half = (_pure(_batch(), variant="openrlhf", verifiable=v, whiten=False).token for v in (0.0, 0.5))
    inner = np.delete(np.arange(16), [2, 4, 8, 12, 15])
    assert_allclose((half - none)[inner], np.where(inner < 9, 0.5, -0.5))
    faint = _batch(process=np.array(_SCORES) * 1e-6)
    raw, white = (_pure(faint, variant="openrlhf", verifiable=0.0, whiten=w).token[inner] for w in (False, True))
    assert_allclose(white, (raw - raw.mean()) / 1e-4)


def test_a_learned_process_reward_sees_the_step_it_judges() -> None:
    rng = np.random.default_rng(0)
    good = rng.random(400) < 0.5
    reward = (rng.random(400) < np.where(good, 0.9, 0.1)).astype(float)
    ids = np.stack([np.full(400, 7), np.where(good, 1, 2)], axis=1).ravel()
    batch = Batch.from_turns([[2]] * 400, action=[False, True] * 400, ids=ids, outcome=reward, group=[0] * 400, limit=2)
    learned = pure.fit(batch, rng=rng)
    score = learned.evidence(batch).arrays["process"]
    assert_allclose([score[good].mean(), score[~good].mean()], [0.8, -0.8], atol=0.1)  # 2 P(success) - 1
    assert learned.bill.trained == 400  # the policy's tokens


def test_a_judge_is_asked_per_step_and_its_nulls_survive() -> None:
    credit = _pure(_batch(process=None), judge=FakeJudge(mute=[1]), rng=3)
    scores = FakeJudge(mute=[1]).score(_batch(), "step", np.random.default_rng(3)).values
    assert_array_equal(credit.token, _pure(_batch(process=scores)).token)
    assert credit.bill.judge_calls == 5


def test_observation_tokens_get_nothing_and_leave_the_credit_of_the_others_alone() -> None:
    # the same rollouts with an observation token before every step
    action = np.concatenate([[False] + [True] * n for n in (3, 2, 4, 4, 3)])
    holed = Batch.from_turns(
        [[12], [9]], steps=[[4, 3, 5], [5, 4]], action=action, process=_SCORES, outcome=[1.0, 0.0], group=[0, 0], limit=10
    )
    for variant, whiten in itertools.product(("paper", "verl", "openrlhf"), (True, False)):
        credit, plain = (_pure(b, variant=variant, whiten=whiten) for b in (holed, _batch()))
        assert_array_equal(credit.token[~action], 0.0)
        assert_allclose(credit.token[action], plain.token, atol=1e-12)
        assert_allclose(credit.unit, plain.unit, atol=1e-12)
