"""HCA: the card's worked example, the advantage it is on average, its bound, its sources."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Asked, Bill

from .fakes import FakePolicy

_PI = {"a": 0.25, "b": 0.75}
_H = {("a", 1): 0.4, ("b", 1): 0.6, ("a", 0): 0.1, ("b", 0): 0.9}


def _hca(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "hca", **options)
    assert isinstance(credit, Credit)
    return credit


def _card(scale: float = 1.0) -> tuple[Batch, np.ndarray]:
    """Every action with every outcome: a1, b1, a0, b0."""
    outcome = scale * np.array([1.0, 1.0, 0.0, 0.0])
    logp = np.log([_PI["a"], _PI["b"]] * 2)
    batch = Batch.from_turns([[1]] * 4, outcome=outcome, logp=logp, group=[0] * 4)
    return batch, np.log([_H["a", 1], _H["b", 1], _H["a", 0], _H["b", 0]])


def test_worked_example_of_the_card() -> None:
    batch, h = _card()
    credit = _hca(batch, hindsight_logp=h)
    assert_allclose(credit.unit, [0.375, -0.25, 0.0, 0.0], atol=1e-12)
    assert_allclose(0.8 * credit.unit[0] + 0.2 * credit.unit[2], 0.3)
    assert_allclose(0.4 * credit.unit[1] + 0.6 * credit.unit[3], -0.1)


def test_anything_constant_may_be_taken_off_the_return() -> None:
    """With the right h, E[(1 - pi/h)(Z - c) | action] is the advantage for every c."""
    batch, h = _card()
    for c in (0.0, 0.5, -3.0):
        shifted = batch.with_columns(outcome=batch.reward - c)
        credit = _hca(shifted, hindsight_logp=h).unit
        assert_allclose(0.8 * credit[0] + 0.2 * credit[2], 0.3)
        assert_allclose(0.4 * credit[1] + 0.6 * credit[3], -0.1)


def test_the_baseline_lets_failures_push_down() -> None:
    batch, h = _card()
    factor = 1 - np.exp(batch.need("logp") - h)
    z = np.array([1 - 1 / 3, 1 - 1 / 3, -2 / 3, -2 / 3])
    assert_allclose(_hca(batch, hindsight_logp=h, baseline="leave_one_out").unit, factor * z)
    same = batch.with_columns(outcome=np.full(4, 0.1))
    assert_array_equal(_hca(same, hindsight_logp=h, baseline="leave_one_out").unit, 0.0)
    lone, alone = batch.take([0]), h[:1]
    with pytest.raises(BatchError, match="single member"):
        _hca(lone, hindsight_logp=alone, baseline="leave_one_out")
    assert_allclose(_hca(lone, hindsight_logp=alone, baseline="leave_one_out", single="raw").unit, [0.375])
    assert_array_equal(_hca(lone, hindsight_logp=alone, baseline="leave_one_out", single="zero").unit, 0.0)


def test_a_lone_rollout_beside_others() -> None:
    batch = Batch.from_turns([[1], [1], [1]], outcome=[1.0, 0.0, 4.0], logp=[-1.0] * 3, group=[0, 0, 1])
    credit = _hca(batch, hindsight_logp=[-0.5] * 3, baseline="leave_one_out", single="zero")
    assert_allclose(credit.unit, (1 - np.exp(-0.5)) * np.array([1.0, -1.0, 0.0]))


def test_the_return_is_what_is_earned_from_the_step_on() -> None:
    batch = Batch.from_turns([[1, 1, 1]], outcome=[4.0], turn_reward=[1.0, 2.0, 0.0], logp=[-1.0] * 3, group=[0])
    h = -0.5 * np.ones(3)
    factor = 1 - np.exp(-0.5)
    assert_allclose(_hca(batch, hindsight_logp=h).unit, factor * np.array([7.0, 6.0, 4.0]))
    assert_allclose(_hca(batch, hindsight_logp=h, gamma=0.5).unit, factor * np.array([1 + 1 + 1, 2 + 2, 4.0]))
    two = Batch.from_turns([[1, 1], [1, 1]], outcome=[4.0, 1.0], turn_reward=[1.0, 0, 0, 0], logp=[-1.0] * 4, group=[0, 0])
    centred = _hca(two, hindsight_logp=-0.5 * np.ones(4), baseline="leave_one_out")
    assert_allclose(centred.unit, factor * np.array([5 - 1, 4 - 1, 1 - 5, 1 - 5.0]))


def test_an_action_that_the_outcome_makes_no_likelier_gets_nothing() -> None:
    batch, _ = _card()
    assert_array_equal(_hca(batch, hindsight_logp=batch.need("logp")).unit, 0.0)


def test_the_ratio_is_bounded_both_ways() -> None:
    batch = Batch.from_turns([[1], [1], [1]], outcome=[2.0] * 3, logp=[-0.1, -9.0, -1.0], group=[0] * 3)
    h = np.array([-9.0, -0.1, -0.9])
    credit = _hca(batch, hindsight_logp=h)
    assert_allclose(credit.unit, [2 * (1 - 5), 2 * (1 - 0.2), 2 * (1 - np.exp(-0.1))])
    assert_allclose(credit.diagnostics["bounded"], 2 / 3)
    assert_allclose(_hca(batch, hindsight_logp=h, bound=2.0).unit[:2], [-2.0, 1.0])
    assert_allclose(_hca(batch, hindsight_logp=h, bound=None).unit, 2 * (1 - np.exp([8.9, -8.9, -0.1])))
    assert_array_equal(_hca(batch, hindsight_logp=h, bound=1.0).unit, 0.0)
    assert_allclose(_hca(batch, hindsight_logp=h, bound=1.5).unit[:2], [-1.0, 2 / 3])
    far = _hca(batch, hindsight_logp=[-1e6, -0.1, -0.9], bound=None)
    assert np.isfinite(far.unit).all()
    with pytest.raises(OptionError, match=r"bound = 0\.5"):
        _hca(batch, hindsight_logp=h, bound=0.5)


def test_long_actions_as_a_mean_or_as_a_product_of_tokens() -> None:
    action = [False, True, True, True]
    batch = Batch.from_turns([[4]], action=action, outcome=[1.0], logp=[0, -1.0, -2.0, -0.5], group=[0])
    for observed in (np.nan, -7.0, 3.0):
        h = np.array([observed, -0.7, -1.7, -0.5])
        assert_allclose(_hca(batch, hindsight_logp=h).unit, 1 - np.exp(-0.2))
        assert_allclose(_hca(batch, hindsight_logp=h, form="product").unit, 1 - np.exp(-0.6))


def test_steps_are_finer_than_turns() -> None:
    batch = Batch.from_turns([[3]], steps=[[1, 2]], outcome=[1.0], logp=[-1.0, -1.0, -1.0], group=[0])
    credit = _hca(batch, hindsight_logp=[-0.5, -1.0, -2.0])
    assert_allclose(credit.unit, [1 - np.exp(-0.5), 1 - np.exp(0.5)])
    assert_allclose(credit.token, np.array(credit.unit)[[0, 1, 1]])


def test_a_step_that_was_not_asked_has_no_opinion() -> None:
    batch = Batch.from_turns([[2, 1]], outcome=[1.0], logp=[-1.0] * 3, group=[0])
    credit = _hca(batch, hindsight_logp=[-0.5, np.nan, -0.5])
    assert credit.scored is not None
    assert_array_equal(credit.scored, [False, True])
    assert_array_equal(credit.unit[0], 0.0)
    assert credit.diagnostics["asked"] == 0.5
    assert _hca(batch, hindsight_logp=np.full(3, np.nan)).diagnostics["bounded"] == 0.0


def test_bad_input() -> None:
    batch, h = _card()
    with pytest.raises(OptionError, match=r"'hindsight_logp'\[1\] = 0.3"):
        _hca(batch, hindsight_logp=[-1, 0.3, -1, -1])
    with pytest.raises(OptionError, match=r"gamma = 1\.1"):
        _hca(batch, hindsight_logp=h, gamma=1.1)
    with pytest.raises(MissingColumn, match="logp"):
        _hca(batch.with_columns(logp=None), hindsight_logp=h)


def test_the_policy_is_told_the_outcome() -> None:
    batch, _ = _card()
    policy = FakePolicy()
    _hca(batch, policy=policy)
    ending = ": this is how the task ended."
    assert policy.seen == [[f"{w}{ending}" for w in ["success (reward 1)"] * 2 + ["failure (reward 0)"] * 2]]
    _hca(batch, policy=policy, template="<{outcome}>", outcomes=list("wxyz"))
    assert policy.seen[1] == ["<w>", "<x>", "<y>", "<z>"]
    with pytest.raises(OptionError, match="expected a text that holds"):
        _hca(batch, policy=policy, template="nothing")
    with pytest.raises(OptionError, match="outcomes has 1 entries, expected 4"):
        _hca(batch, policy=policy, outcomes=["w"])


class _Broken(FakePolicy):
    def logp(self, *args: Any, **kwargs: Any) -> Asked:
        return Asked(np.zeros(2), Bill())


def test_a_source_that_answers_with_the_wrong_shape_is_refused() -> None:
    with pytest.raises(OptionError, match=r"'hindsight_logp' has 2 entries, expected 4"):
        _hca(_card()[0], policy=_Broken())


@pytest.mark.parametrize("certain", [0, 2])
def test_learned_hindsight_follows_bayes_rule_on_a_known_world(certain: int) -> None:
    """Also where an action is spelled with tokens that were certain: they take no share of the change."""
    rng = np.random.default_rng(0)
    n, width = 4000, 2 + certain
    right = rng.random(n) < 0.5
    reward = (rng.random(n) < np.where(right, 0.8, 0.4)).astype(float)
    ids = np.concatenate([np.full((n, 1), 7), np.where(right, 1, 2)[:, None], np.full((n, certain), 5)], axis=1)
    logp = np.tile([0.0, np.log(0.5), *[0.0] * certain], n)
    action = [False, *[True] * (width - 1)] * n
    batch = Batch.from_turns([[width]] * n, action=action, ids=ids.ravel(), logp=logp, outcome=reward, group=[0] * n)
    credit = _hca(batch, fit=True, rng=0, form="product", bound=None)
    for a, p in ((True, 0.8), (False, 0.4)):
        mine = (right == a) & (reward == 1)
        assert_allclose(credit.unit[mine].mean(), 1 - 0.6 / p, atol=0.06)
    assert_array_equal(credit.unit[reward == 0], 0.0)
    assert credit.bill.trained == 2 * (width - 1) * n
