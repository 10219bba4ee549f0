"""RUDDER: the card's worked example, what is conserved, its learned predictor and its limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError

_G = np.array([0.1, 0.1, 0.7, 0.6, 0.9])


def _rudder(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "rudder", **options)
    assert isinstance(credit, Credit)
    return credit


def _card() -> Batch:
    return Batch.from_turns([[1] * 5], outcome=[1.0], group=[0])


def test_worked_example_of_the_card() -> None:
    credit = _rudder(_card(), prediction=_G, form="reward")
    assert credit.kind == "reward"
    assert_allclose(credit.unit, [0.12, 0.02, 0.62, -0.08, 0.32])
    assert_allclose(credit.diagnostics["error"], 0.1)
    demo = _rudder(_card(), prediction=_G, form="reward", residual="none")
    assert_allclose(demo.unit, [0.1, 0.0, 0.6, -0.1, 0.3])
    to_go = _rudder(_card(), prediction=_G, form="to_go", single="raw")
    assert_allclose(to_go.unit, [1.00, 0.88, 0.86, 0.24, 0.32])


def test_rewards_are_conserved_wherever_they_were_earned() -> None:
    rng = np.random.default_rng(0)
    batch = Batch.from_turns([[2, 1], [1, 1, 1]], outcome=[1.0, 0.0], turn_reward=rng.normal(size=5), group=[0, 0])
    g = rng.normal(size=5)
    for options, origin in (({}, 0.0), ({"start": "mean"}, batch.reward.mean())):
        r = _rudder(batch, prediction=g, form="reward", **options)
        assert_allclose(np.add.reduceat(r.unit, [0, 2]), batch.reward - origin)
        assert_allclose(r.token, [0, r.unit[0], *r.unit[1:]])  # on the last token of its step


def test_a_constant_predictor_pays_the_first_step_or_nobody() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0])
    r = _rudder(batch, prediction=np.full(4, 0.5), form="reward").unit
    assert_allclose(r, [0.75, 0.25, 0.25, -0.25])
    centred = _rudder(batch, prediction=np.full(4, 0.5), form="reward", start="mean").unit
    assert_allclose(centred, [0.25, 0.25, -0.25, -0.25])


def test_one_step_gets_all_and_then_it_is_rloo() -> None:
    batch = Batch.from_turns([[2], [1], [1]], outcome=[1.0, 0.0, 0.5], group=[0, 0, 0])
    rloo = assign(batch, "rloo")
    assert isinstance(rloo, Credit)
    for form in ("immediate", "to_go"):
        assert_allclose(_rudder(batch, prediction=[0.3, -0.2, 7.0], form=form).token, rloo.token)


def test_each_step_is_compared_with_the_others_at_its_place() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1], [1]], outcome=[1.0, 0.0, 0.0], group=[0, 0, 0])
    g = [0.2, 1.0, 0.4, 0.0, 0.0]
    assert_allclose(_rudder(batch, prediction=g).unit, [0.2 - 0.2, 0.8 + 0.2, 0.4 - 0.1, -0.4 - 0.4, 0 - 0.3])
    assert_allclose(_rudder(batch, prediction=g, form="to_go").unit, [1.0, 0.8 + 0.2, 0 - 0.5, -0.4 - 0.4, 0 - 0.5])


def test_a_prediction_that_is_too_far_off_is_not_used() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0])
    credit = _rudder(batch, prediction=[0.4, 0.9, 0.8, 0.6], form="reward", quality=0.2)
    assert_allclose(credit.unit, [0.45, 0.55, 0.0, 0.0])
    assert credit.diagnostics["redistributed"] == 0.5
    centred = _rudder(batch, prediction=[0.4, 0.9, 0.8, 0.6], form="reward", quality=0.2, start="mean")
    assert_allclose(centred.unit, [-0.05, 0.55, 0.0, -0.5])
    exact = _rudder(batch, prediction=[0.4, 1.0, 0.8, 0.6], form="reward", quality=0.0)
    assert_allclose(exact.unit, [0.4, 0.6, 0.0, 0.0])
    with pytest.raises(OptionError, match="quality = -1"):
        _rudder(batch, prediction=np.zeros(4), quality=-1)


def test_nulls_are_no_change() -> None:
    batch = Batch.from_turns([[1, 1, 1], [1, 1, 1], [1, 1, 1]], outcome=[1.0, 0.5, 0.25], group=[0, 0, 0])
    g = np.array([0.2, np.nan, 0.8, np.nan, 0.3, np.nan, *[np.nan] * 3])
    r = _rudder(batch, prediction=g, form="reward", residual="none").unit
    assert_allclose(r, [0.2, 0, 0.6, 0, 0.3, 0, 0, 0, 0.25])
    shared = _rudder(batch, prediction=g, form="reward").unit.reshape(3, 3)
    assert_allclose(shared.sum(axis=1), [1.0, 0.5, 0.25])
    none = _rudder(batch, prediction=np.full(9, np.nan))
    assert none.diagnostics == {"error": 0.0, "redistributed": 0.0}
    assert_array_equal(none.unit.reshape(3, 3)[:, :2], 0.0)


def test_a_prompt_with_one_rollout() -> None:
    with pytest.raises(BatchError, match="single trajectory"):
        _rudder(_card(), prediction=_G)
    assert_array_equal(_rudder(_card(), prediction=_G, single="zero").unit, 0.0)


def _key_event(n: int, seed: int) -> Batch:
    """Success is decided by the second of four actions alone, and seen only at the end."""
    rng = np.random.default_rng(seed)
    ids = np.stack([np.full((n, 4), 100) + np.arange(4), rng.integers(0, 2, (n, 4))], axis=2)
    return Batch.from_turns(
        [[2] * 4] * n, action=[False, True] * (4 * n), ids=ids.ravel(), outcome=ids[:, 1, 1].astype(float), group=[0] * n
    )


def test_the_learned_predictor_pays_the_step_that_decided() -> None:
    batch = _key_event(200, 0)
    credit = _rudder(batch, fit=True, rng=0, buckets=64).unit.reshape(-1, 4)
    right = batch.reward == 1
    assert credit[right, 1].mean() > 0.3
    assert credit[~right, 1].mean() < -0.3
    assert np.abs(credit[:, [0, 2, 3]]).mean() < 0.06


def test_learning_needs_texts_two_rollouts_and_differing_returns() -> None:
    batch = _key_event(8, 0)
    with pytest.raises(MissingColumn, match="ids"):
        _rudder(batch.with_columns(ids=None), fit=True)
    with pytest.raises(BatchError, match="at least two"):
        _rudder(batch.take([0]), fit=True)
    same = _rudder(batch.with_columns(outcome=np.full(8, 0.7)), fit=True, rng=0)
    assert_array_equal(same.unit, 0.0)
    early = _rudder(batch, fit=True, rng=0, auxiliary=0.0)
    assert np.isfinite(early.unit).all()
