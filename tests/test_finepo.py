"""FinePO: the card's worked example, what is conserved and what is not, kinds of actions, nulls, its models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.batch import Spans
from apportion.credit import Credit
from apportion.errors import BatchError, OptionError
from apportion.evidence.rating import LearnedRating
from apportion.methods import finepo as module
from apportion.methods.finepo import INFORMED, RUBRIC, action_shares

from .fakes import FakeJudge

#: Rollouts 1 and 2 have the steps of the card, 3 and 4 one step each.
STEPS = [[10, 20, 10], [10, 20, 10], [5], [5]]
RATING = np.array([4.0, 3.0, 1.0, 4.0, 3.0, 1.0, 2.0, 3.0])
STARTS = np.array([0, 10, 30, 40, 50, 70])
TYPES = {"action": Spans(STARTS, STARTS + 2, ("circle", "line", "point") * 2)}
P, Q = {"circle": 0.6, "line": 0.3, "point": 0.1}, {"circle": 0.3, "line": 0.3, "point": 0.4}
KINDS: dict[str, Any] = {"types": "action", "policy_share": P, "reference_share": Q}


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [1.0, 0.0, 0.0, 1.0], "group": [0] * 4, "spans": TYPES, **changes}
    return Batch.from_turns([[sum(s)] for s in STEPS], steps=STEPS, **columns)


def _finepo(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "finepo", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    free = _finepo(_batch(), rating=RATING, beta=None, **KINDS)
    assert_allclose(free.unit, [1.0, 0.6223, -0.2447, 0.0, -0.3777, -1.2447, -0.5, 0.5], atol=5e-5)
    credit = _finepo(_batch(), rating=RATING, **KINDS)
    assert_allclose(credit.unit, [1.0, 0.6223, 0.0, 0.0, -0.3777, -1.0, -0.5, 0.5], atol=5e-5)
    assert_allclose(credit.token[:40].mean(), 0.5612, atol=5e-5)
    assert_allclose(credit.token[40:80].mean(), -0.4388, atol=5e-5)
    assert credit.diagnostics["clipped"] == 2 / 8
    assert_allclose(credit.parts["trajectory"], np.repeat([0.5, -0.5, -0.5, 0.5], [3, 3, 1, 1]))
    assert_allclose(credit.parts["trajectory"] + credit.parts["redistributed"], credit.unit)


def _random(seed: int) -> tuple[Batch, Any]:
    rng = np.random.default_rng(seed)
    steps = [rng.integers(1, 9, rng.integers(1, 6)).tolist() for _ in range(6)]
    n = sum(len(s) for s in steps)
    action = np.ones(sum(map(sum, steps)), dtype=bool)
    ends = np.cumsum([length for s in steps for length in s])
    action[rng.integers(0, action.size, 9)] = False
    action[ends - 1] = True
    batch = Batch.from_turns(
        [[sum(s)] for s in steps], steps=steps, action=action, outcome=rng.normal(size=6), group=[0, 1, 0, 1, 0, 1]
    )
    return batch, rng.uniform(1, 4, n)


@pytest.mark.parametrize("seed", range(5))
def test_the_token_mean_is_conserved_before_clipping_only(seed: int) -> None:
    batch, rating = _random(seed)
    owner = batch.within("token", "trajectory")
    count = np.bincount(owner, weights=batch.action)

    def means(**options: Any) -> Any:
        return np.bincount(owner, weights=_finepo(batch, rating=rating, **options).token) / count

    plain = assign(batch, "grpo", spread="none")
    assert isinstance(plain, Credit)
    for alpha in (0.0, 0.5, 1.0, 3.0):
        assert_allclose(means(alpha=alpha, beta=None), plain.unit, atol=1e-12)
    assert np.abs(means(beta=1.0) - plain.unit).max() > 0.01


@pytest.mark.parametrize("seed", range(5))
def test_no_step_takes_the_other_sign_and_the_best_gets_twice_the_advantage_of_a_success(seed: int) -> None:
    batch, rating = _random(seed)
    owner = batch.within("step", "trajectory")
    plain = assign(batch, "grpo", spread="none")
    assert isinstance(plain, Credit)
    credit = _finepo(batch, rating=rating)
    a = plain.unit[owner]
    assert (credit.unit * a >= 0).all()
    assert (np.abs(credit.unit) <= 2 * np.abs(a) + 1e-12).all()
    steep = _finepo(batch, rating=rating, alpha=5.0).unit  # the best step of a failure would rise above 0
    assert (steep * a >= 0).all()
    assert (np.abs(steep) <= 2 * np.abs(a) + 1e-12).all()
    for i in range(6):
        mine = owner == i
        if mine.sum() > 1:
            best = credit.unit[mine][np.argmax(rating[mine])]
            assert_allclose(best, plain.unit[i] + abs(plain.unit[i]), atol=1e-4)
        order = np.argsort(rating[mine])
        assert (np.diff(credit.unit[mine][order]) >= -1e-12).all()  # better rated, never less


def test_equal_ratings_single_steps_and_equal_rewards_change_nothing() -> None:
    plain = assign(_batch(), "grpo", spread="none")
    assert isinstance(plain, Credit)
    for same in (1.0, 2.7, 4.0):
        assert_array_equal(_finepo(_batch(), rating=np.full(8, same)).token, plain.token)
    assert_array_equal(_finepo(_batch(), rating=RATING, alpha=0.0).token, plain.token)
    assert_array_equal(_finepo(_batch(), rating=RATING).unit[6:], [-0.5, 0.5])
    assert_array_equal(_finepo(_batch(outcome=[0.1] * 4), rating=RATING).token, 0.0)


def test_scale_and_origin_of_ratings_do_not_matter_without_kinds() -> None:
    plain = _finepo(_batch(), rating=RATING).unit
    assert_allclose(_finepo(_batch(), rating=5.0 * RATING - 20.0).unit, plain, atol=1e-5)


def test_an_unrated_step_keeps_the_advantage_and_enters_no_mean() -> None:
    holed = RATING.copy()
    holed[[2, 5]] = np.nan
    credit = _finepo(_batch(), rating=holed, beta=None)
    short = Batch.from_turns(
        [[30], [30], [5], [5]], steps=[[10, 20], [10, 20], [5], [5]], outcome=[1.0, 0, 0, 1.0], group=[0] * 4
    )
    expected = _finepo(short, rating=np.delete(RATING, [2, 5]), beta=None).unit
    assert_allclose(np.delete(credit.unit, [2, 5]), expected)
    assert_array_equal(credit.unit[[2, 5]], [0.5, -0.5])
    assert credit.diagnostics["unrated"] == 0.25
    mute = _finepo(_batch(), rating=np.full(8, np.nan))
    plain = assign(_batch(), "grpo", spread="none")
    assert isinstance(plain, Credit)
    assert_array_equal(mute.token, plain.token)


def test_offsets_are_bounded_and_a_kind_never_taken_gains() -> None:
    def moved(policy: dict[str, float], reference: dict[str, float], **more: Any) -> Any:
        shares: dict[str, Any] = {"policy_share": policy, "reference_share": reference}
        return _finepo(_batch(), rating=np.full(8, 2.0), types="action", beta=None, **shares, **more).unit[:3]

    never = moved({"circle": 0.5, "line": 0.5}, {"circle": 0.5, "line": 0.4, "point": 0.1})
    assert never[2] == never.max()
    # offsets 0, -lambda log(.5 / .4) and +gamma: the distances of the credit are theirs
    o = np.array([0.0, -0.5 * np.log(0.5 / 0.4), 0.5])
    assert_allclose((never[1] - never[0]) / (never[2] - never[0]), o[1] / o[2], atol=1e-4)
    unknown = moved({"circle": 0.5, "line": 0.5}, {"circle": 0.5, "point": 0.5})
    assert_allclose((unknown[1] - unknown[0]) / (unknown[2] - unknown[0]), -1.0, atol=1e-4)  # -gamma and +gamma
    same = moved(Q, Q)
    assert_allclose(same, 0.5)
    doubled = moved({"circle": 0.5, "line": 0.5}, {"circle": 0.5, "line": 0.4, "point": 0.1}, lambda_kl=1.0, gamma=5.0)
    o = np.array([0.0, -np.log(0.5 / 0.4), 5.0])
    assert_allclose((doubled[1] - doubled[0]) / (doubled[2] - doubled[0]), o[1] / o[2], atol=1e-4)


def test_the_kind_of_a_step_is_the_first_span_that_starts_in_it() -> None:
    spans = {"action": Spans(np.array([12, 11, 0]), np.array([13, 35, 3]), ("late", "used", "absent"))}
    batch = _batch(spans=spans)
    assert action_shares(batch, "action") == {"absent": 0.5, "late": 0.0, "used": 0.5}
    shares: dict[str, Any] = {"policy_share": {"used": 0.5}, "reference_share": {"used": 1.0}}
    unit = _finepo(batch, rating=np.full(8, 2.0), types="action", beta=None, gamma=9.0, **shares).unit
    assert unit[1] > unit[0]
    assert_allclose(unit[0], unit[2])  # "absent" has share 0 in both, the third step has no kind: no offset
    assert_array_equal(unit[3:6], -0.5)


def test_kinds_need_their_shares_and_shares_their_kinds() -> None:
    with pytest.raises(OptionError, match="needs policy_share= and reference_share="):
        _finepo(_batch(), rating=RATING, types="action", policy_share=P)
    with pytest.raises(OptionError, match="name their span table with types="):
        _finepo(_batch(), rating=RATING, reference_share=Q)
    with pytest.raises(OptionError, match=r"types = 'kind': expected a span table with labels; the batch has spans \['action'\]"):
        _finepo(_batch(), rating=RATING, **{**KINDS, "types": "kind"})
    with pytest.raises(OptionError, match=r"policy_share\['circle'\] = 60: expected a share"):
        _finepo(_batch(), rating=RATING, **{**KINDS, "policy_share": {"circle": 60}})
    with pytest.raises(OptionError, match=r"gamma = -1"):
        _finepo(_batch(), rating=RATING, gamma=-1.0, **KINDS)
    with pytest.raises(OptionError, match="alpha = -1"):
        _finepo(_batch(), rating=RATING, alpha=-1.0)
    with pytest.raises(OptionError, match=r"beta = 0\.5: expected at least 1"):
        _finepo(_batch(), rating=RATING, beta=0.5)


def test_a_lone_rollout_is_refused_or_gets_nothing() -> None:
    lone = Batch.from_turns([[2]], steps=[[1, 1]], outcome=[1.0], group=[0])
    with pytest.raises(BatchError, match="single member"):
        _finepo(lone, rating=[4.0, 1.0])
    assert_array_equal(_finepo(lone, rating=[4.0, 1.0], single="zero").unit, 0.0)
    assert_allclose(_finepo(lone, rating=[4.0, 1.0], single="raw").unit, [2.0, 0.0], atol=1e-5)


def test_the_judge_leaves_the_answer_unrated_unless_told_otherwise() -> None:
    credit = _finepo(_batch(), judge=FakeJudge(), rng=0)
    assert credit.diagnostics["unrated"] == 0.5
    assert_array_equal(credit.unit[[2, 5, 6, 7]], [0.5, -0.5, -0.5, 0.5])
    assert _finepo(_batch(), judge=FakeJudge(), rng=0, answer="step").diagnostics["unrated"] == 0.0
    assert credit.evidence["rating"]["provenance"] == "model_judgement"
    assert _finepo(_batch(), judge=FakeJudge(), rubric=INFORMED).evidence["rating"]["provenance"] == "privileged"
    assert INFORMED.privileged
    assert not RUBRIC.privileged
    assert not RUBRIC.one_call
    with pytest.raises(ValueError, match="answer = 'last'"):
        _finepo(_batch(), judge=FakeJudge(), answer="last")


def test_learned_ratings_say_how_much_a_step_raised_the_chance_of_success() -> None:
    rng = np.random.default_rng(0)
    n = 4000
    right = rng.random(n) < 0.5
    reward = (rng.random(n) < np.where(right, 0.8, 0.4)).astype(float)
    ids = np.stack([np.full(n, 7), np.where(right, 1, 2)], axis=1).ravel()
    batch = Batch.from_turns([[2]] * n, action=[False, True] * n, ids=ids, outcome=reward, group=[0] * n)
    learned = module.fit(batch, rng=rng)
    rating = learned.evidence(batch).arrays["rating"]
    assert_allclose(rating[right].mean(), 2.5 + 1.5 * 0.2, atol=0.05)
    assert_allclose(rating[~right].mean(), 2.5 - 1.5 * 0.2, atol=0.05)
    again = LearnedRating.load(learned.save())
    assert_array_equal(again.evidence(batch).arrays["rating"], rating)
    assert learned.evidence(batch).bill.scored == 2 * n


def test_without_eps_the_best_step_gets_exactly_twice_and_equal_ratings_still_change_nothing() -> None:
    exact = _finepo(_batch(), rating=RATING, eps=0.0)
    assert_array_equal(exact.unit[[0, 3]], [1.0, 0.0])
    assert_array_equal(exact.unit[6:], [-0.5, 0.5])  # rollouts of one step have no best one above their mean
    plain = assign(_batch(), "grpo", spread="none")
    assert isinstance(plain, Credit)
    assert_array_equal(_finepo(_batch(), rating=np.full(8, 2.0), eps=0.0).token, plain.token)
    with pytest.raises(OptionError, match="eps = -1"):
        _finepo(_batch(), rating=RATING, eps=-1.0)
