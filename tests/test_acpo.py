"""ACPO: the card's worked example, what its weights keep, stages, entropy steps, nulls, its source and its stand-in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import OptionError
from apportion.evidence import Asked, Bill
from apportion.methods.acpo import entropy_steps

from .fakes import FakePolicy

NAN = np.nan
PSI = [-2.0, -1.5, -1.6, -0.4]


def _batch(outcome: Any = (1.0, 0.0, 0.0, 1.0)) -> Batch:
    """Four answers of one prompt; the first has steps of 4, 2 and 6 tokens, the others one step."""
    return Batch.from_turns([[12], [3], [3], [3]], steps=[[4, 2, 6], [3], [3], [3]], outcome=list(outcome), group=[0] * 4)


def _acpo(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "acpo", **options)
    assert isinstance(credit, Credit)
    return credit


LOGP = np.array([*PSI, -2.0, -1.0, -2.0, -2.5, -2.0, -0.1])


def test_worked_example_of_the_card() -> None:
    right = _acpo(_batch(), answer_logp=LOGP)
    assert_allclose(right.unit, [0.6049, 0.3320, 1.2181, -0.8660, -0.8660, 0.8660], atol=5e-5)
    wrong = _acpo(_batch([0.0, 1.0, 1.0, 0.0]), answer_logp=LOGP)
    assert_allclose(wrong.unit, [-0.9782, -1.7824, -0.4858, 0.8660, 0.8660, -0.8660], atol=5e-5)
    assert_allclose(right.diagnostics["weight_max"], 1.4066, atol=5e-5)


def test_the_token_mean_of_every_answer_is_its_grpo_advantage() -> None:
    rng = np.random.default_rng(0)
    lengths = [[[2, 3], [4]], [[1, 1], [5, 2, 2]]]
    action = rng.random(20) < 0.7
    action[[0, 2, 5, 9, 10, 11, 16, 18]] = True
    batch = Batch.from_turns(
        [[5, 4], [2, 9]], steps=[[s for t in x for s in t] for x in lengths], action=action, outcome=[1.0, 0.0], group=[0, 0]
    )  # fmt: skip
    grpo = assign(batch, "grpo")
    assert isinstance(grpo, Credit)
    for tau in (0.3, 1.0, 10.0):
        credit = _acpo(batch, answer_logp=-rng.exponential(size=10), tau=tau)
        assert_allclose(credit.on("trajectory"), grpo.unit)
        assert (np.sign(credit.token) == np.sign(grpo.token)).all()


def test_one_step_or_no_news_is_grpo() -> None:
    grpo = assign(_batch(), "grpo")
    assert isinstance(grpo, Credit)
    assert_allclose(_acpo(_batch(), answer_logp=np.full(10, -1.0)).token, grpo.token)
    assert_allclose(_acpo(_batch(), answer_logp=LOGP, tau=1e9).token, grpo.token, rtol=1e-6)


def test_good_steps_are_paid_more_in_success_and_blamed_less_in_failure() -> None:
    right, wrong = (_acpo(_batch(o), answer_logp=LOGP).unit[:3] for o in ([1.0, 0, 0, 1], [0.0, 1, 1, 0]))
    assert right.argmax() == 2  # the step that told most
    assert np.abs(wrong).argmin() == 2
    own = _acpo(_batch([0.0, 1, 1, 0]), answer_logp=LOGP, answer="own").unit[:3]
    assert np.abs(own).argmax() == 2  # it made the wrong answer likelier
    assert_allclose(own, -right)  # the same shares as in a right answer


def test_equal_rewards_give_exactly_nothing() -> None:
    assert_array_equal(_acpo(_batch([0.3] * 4), answer_logp=LOGP).token, 0.0)


def test_very_informative_steps_do_not_overflow() -> None:
    psi = LOGP.copy()
    psi[:4] = [-5e4, -1.0, -4e4, -3e4]
    credit = _acpo(_batch(), answer_logp=psi)
    assert_allclose(credit.unit[:3], [3 * 0.8660, 0, 0], atol=5e-4)


def test_the_second_stage_weighs_rewards_by_confidence() -> None:
    credit = _acpo(_batch(), answer_logp=LOGP, confidence=True)
    weighed = np.array([1.0, 0.0, 0.0, 1.0]) * np.exp(LOGP[[3, 5, 7, 9]])
    first = (weighed - weighed.mean()) / (weighed.std(ddof=1) + 1e-6)
    assert_allclose(credit.on("trajectory"), first)
    everyone = _acpo(_batch([1.0] * 4), answer_logp=LOGP, confidence=True)
    assert everyone.on("trajectory").min() < 0  # right, but less sure than the others
    with pytest.raises(OptionError, match=r"'answer_logp'\[5\] is null"):
        _acpo(_batch(), answer_logp=np.where(np.arange(10) == 5, NAN, LOGP), confidence=True)


def test_a_step_beside_a_null_has_weight_one_and_enters_no_sum() -> None:
    psi = LOGP.copy()
    psi[0] = NAN
    credit = _acpo(_batch(), answer_logp=psi)
    u = np.exp([-0.1, 1.2])
    w = u * 8 / (2 * u[0] + 6 * u[1])
    assert_allclose(credit.unit[:3], 0.8660 * np.array([1.0, *w]), atol=5e-5)
    assert_allclose(credit.diagnostics["asked"], 5 / 6)
    grpo = assign(_batch(), "grpo")
    assert isinstance(grpo, Credit)
    assert_allclose(credit.on("trajectory"), grpo.unit)
    assert_allclose(_acpo(_batch(), answer_logp=np.full(10, NAN)).token, grpo.token)


def test_steps_are_cut_where_the_policy_was_unsure() -> None:
    entropy = [0.1, 0.2, 1.9, 0.1, 0.3, 0.2, 2.2, 0.4, 0.1, 0.2]
    batch = Batch.from_turns([[10]], outcome=[1.0], entropy=entropy)
    assert_array_equal(entropy_steps(batch, min_tokens=1).step_offsets, [0, 2, 6, 10])  # threshold 0.7
    assert_array_equal(entropy_steps(batch).step_offsets, [0, 10])
    assert_array_equal(entropy_steps(batch, min_tokens=3).step_offsets, [0, 6, 10])
    assert_array_equal(entropy_steps(batch, min_tokens=2).step_offsets, [0, 2, 6, 10])
    late = Batch.from_turns([[10]], outcome=[1.0], entropy=[0.1] * 8 + [2.0, 0.1])
    assert_array_equal(entropy_steps(late, min_tokens=2, quantile=0.95).step_offsets, [0, 8, 10])
    assert_array_equal(entropy_steps(late, min_tokens=3, quantile=0.95).step_offsets, [0, 10])  # its last is too short
    flat = Batch.from_turns([[10]], outcome=[1.0], entropy=[0.5] * 10)
    assert_array_equal(entropy_steps(flat, min_tokens=3).step_offsets, [0, 3, 6, 10])


def test_entropy_steps_nest_in_turns_and_count_policy_tokens() -> None:
    action = [False, False, True, True, True, True, False, True, True, True]
    batch = Batch.from_turns([[6, 4], [2]], action=[*action, True, True], outcome=[1.0, 0.0], entropy=[9.0] * 2 + [1.0] * 10)
    cut = entropy_steps(batch, min_tokens=2)
    assert_array_equal(cut.step_offsets, [0, 4, 6, 10, 12])
    second = Batch.from_turns([[2, 8]], outcome=[1.0], entropy=[0.1] * 6 + [2.0, 0.1, 0.1, 0.1])
    assert_array_equal(entropy_steps(second, min_tokens=3, quantile=0.95).step_offsets, [0, 2, 6, 10])
    with pytest.raises(OptionError, match=r"quantile = 1\.5"):
        entropy_steps(batch, quantile=1.5)
    with pytest.raises(OptionError, match="min_tokens = 0"):
        entropy_steps(batch, min_tokens=0)


def test_the_policy_is_asked_at_every_step_and_the_answer_is_privileged() -> None:
    policy = FakePolicy()
    credit = _acpo(_batch(), policy=policy, rng=0)
    assert policy.seen == [["step_prefix"]]
    assert credit.evidence["answer_logp"]["provenance"] == "privileged"
    assert credit.bill.scored == 21
    _acpo(Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], group=[0, 0]), policy=policy, rng=0)
    assert policy.seen[-1] == ["prefix"]


def test_a_policy_that_cannot_answer_is_refused() -> None:
    class Mute:
        provenance = "text_refeed"

        def logp(self, batch: Batch, rng: np.random.Generator, *, hindsight: Any = None) -> Asked:
            return Asked(np.zeros(batch.n_tokens), Bill())

    with pytest.raises(OptionError, match="Mute, which has no answer_logp"):
        _acpo(_batch(), policy=Mute())


def test_bad_options_and_evidence_are_refused() -> None:
    with pytest.raises(OptionError, match="tau = 0"):
        _acpo(_batch(), answer_logp=LOGP, tau=0.0)
    with pytest.raises(OptionError, match=r"'answer_logp'\[1\] = 0.5"):
        _acpo(_batch(), answer_logp=np.where(np.arange(10) == 1, 0.5, LOGP))


def test_belief_learned_from_outcomes_weighs_the_step_that_decides() -> None:
    rng = np.random.default_rng(0)
    n = 400
    good = rng.random(n) < 0.5
    ids = rng.integers(0, 1000, (n, 4))
    ids[:, 0], ids[:, 2] = 7, np.where(good, 20, 21)
    outcome = (rng.random(n) < np.where(good, 0.9, 0.1)).astype(float)
    batch = Batch.from_turns(
        [[4]] * n, steps=[[2, 1, 1]] * n, action=np.tile([False, True, True, True], n), ids=ids.ravel(),
        outcome=outcome, group=np.arange(n) % 50,
    )  # fmt: skip
    credit = _acpo(batch, fit=True, rng=0)
    size = np.abs(credit.unit.reshape(n, 3))
    clear = good == (outcome > 0)  # right for a good reason, or wrong for a bad one
    assert size[clear, 1].mean() > 1.3 * size[clear, 0].mean()
    assert credit.bill.trained > 0
