"""SORL: the card's worked example of ratio, clip and division, and what it is on policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.bench.entrants import FIT, Entrant, run_entrant
from apportion.bench.gradient import update
from apportion.bench.offpolicy import surrogate_update
from apportion.bench.tasks import find
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.ops.surrogate import surrogate_weights

from .batches import random_batch

_CHANGE = np.array([0.3, 0.5, -0.1, 0.0, 0.1])
_SCORES = np.array([[1, 0], [0, 1], [1, 1], [0, 1], [1, 0]])
#: values that make the card's advantages: r + V' - V
_BATCH = Batch.from_turns([[2, 3]], outcome=[0.3], value=[-0.2, -0.2, 0.5, 0.5, 0.5])


def _run(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "sorl", **options)
    assert isinstance(credit, Credit)
    return credit


def _direction(credit: Credit, owner: Any) -> tuple[Any, Any]:
    """J and C of the card: the kept gradient and the part that clipping removes."""
    weights = surrogate_weights(_CHANGE, credit.token / 5, owner, credit.batch.action)
    kept, clipped = (w @ _SCORES for w in weights)
    return kept, clipped


def test_worked_example_of_the_card() -> None:
    credit = _run(_BATCH)
    assert_allclose(credit.token, [0.5, 0.5, -0.2, -0.2, -0.2])
    assert_allclose(credit.unit, [0.5, -0.2])
    assert (credit.loss.ratio, credit.loss.form, credit.loss.denominator) == ("turn", "geometric", "sequence")
    assert credit.loss.rescale == "clipped_norm"
    kept, clipped = _direction(credit, _BATCH.within("token", "turn"))
    assert_allclose(kept, [-0.08, -0.08], atol=5e-5)
    assert_allclose(clipped, [0.1492, 0.1492], atol=5e-5)
    norm = np.linalg.norm(clipped)
    assert_allclose(norm, 0.2110, atol=5e-5)
    assert_allclose(kept / norm, [-0.3792, -0.3792], atol=6e-5)


def test_worked_token_version_of_the_card() -> None:
    credit = _run(_BATCH, ratio="token")
    assert credit.loss.ratio == "token"
    kept, clipped = _direction(credit, None)
    assert_allclose(kept, [-0.0804, -0.0762], atol=5e-5)
    assert_allclose(clipped, [0.1350, 0.1649], atol=5e-5)
    assert_allclose(kept / np.linalg.norm(clipped), [-0.3773, -0.3576], atol=1e-4)


def test_the_tokens_of_a_turn_keep_their_own_advantages_and_the_turn_has_their_mean() -> None:
    batch = random_batch(3)
    credit, gae = _run(batch, gamma=0.9, lam=0.8), assign(batch, "gae", gamma=0.9, lam=0.8)
    assert isinstance(gae, Credit)
    assert_array_equal(credit.token, gae.token)
    assert_array_equal(credit.targets["value"], gae.targets["value"])
    turn = batch.within("token", "turn")
    for u in range(batch.n_turns):
        assert_allclose(credit.unit[u], gae.token[(turn == u) & batch.action].mean())


def test_the_group_variant_is_grpo_under_another_ratio() -> None:
    batch = random_batch(4).with_columns(value=None)
    credit, grpo = _run(batch, base="grpo"), assign(batch, "grpo")
    assert isinstance(grpo, Credit)
    assert_array_equal(credit.token, grpo.token)
    assert_allclose(credit.unit, grpo.unit[batch.within("turn", "trajectory")])
    assert not credit.targets
    lone = Batch.from_turns([[1]], outcome=[1.0], group=[0])
    with pytest.raises(BatchError, match="single member"):
        _run(lone, base="grpo")
    assert_array_equal(_run(lone, base="grpo", single="zero").unit, [0.0])
    with pytest.raises(MissingColumn, match="group"):
        _run(lone.with_columns(group=None), base="grpo")


def test_a_single_turn_has_one_ratio_for_its_sequence() -> None:
    batch = Batch.from_turns([[3]], outcome=[1.0], value=[0.5, 0.5, 0.5])
    credit = _run(batch)
    weights, _ = surrogate_weights(np.array([0.1, 0.1, -0.05]), credit.token, batch.within("token", "turn"), batch.action)
    assert_allclose(weights, np.exp(0.05) * 0.5)


def _world(options: dict[str, Any]) -> Any:
    task = find("bifurcation/horizon-10")
    entrant = Entrant("x", "sorl", "", "nothing" if options.get("base") == "grpo" else "fit", options)
    return run_entrant(entrant, task, task.start_theta, 8, 8, np.random.default_rng(0), np.random.default_rng(1))


def test_on_policy_it_is_grpo_or_gae_and_off_policy_it_is_not() -> None:
    """On policy nothing is clipped and every ratio is 1: what is left is the advantage of its base."""
    other: dict[str, tuple[str, dict[str, Any]]] = {"grpo": ("grpo", {}), "ppo": ("gae", {})}
    for base, (method, options) in other.items():
        found = _world({"base": base, **({} if base == "grpo" else FIT)})
        r, credit = found.rollouts, found.credit
        given = {} if base == "grpo" else {"value": credit.targets["value"] - credit.token}
        plain = assign(found.sampled, method, **options, **given)
        assert isinstance(plain, Credit)
        plain = plain.with_fields(loss=plain.loss.__class__(denominator="sequence"))
        assert_allclose(update(r, credit), update(r, plain), atol=1e-12)
        assert_allclose(surrogate_update(r, credit, r.theta), update(r, credit), atol=1e-12)
        away = r.theta + 0.5 * np.random.default_rng(2).normal(size=r.theta.shape)
        ours, others = surrogate_update(r, credit, away), surrogate_update(r, plain, away)
        assert np.linalg.norm(ours - others) > 0.1 * np.linalg.norm(others)


def test_the_first_step_is_the_gradient_of_the_turn_surrogate_even_where_tokens_differ() -> None:
    found = _world({"lam": 0.5, **FIT})
    r, credit = found.rollouts, found.credit
    assert np.abs(credit.token[credit.batch.action] - credit.on("token")[credit.batch.action]).max() == 0
    assert_allclose(update(r, credit), surrogate_update(r, credit, r.theta), atol=1e-12)
    spread = Credit.of(found.sampled, "turn", credit.unit, loss=credit.loss)
    assert np.abs(spread.token - credit.token).max() > 1e-3  # tokens differ within turns
    assert_allclose(update(r, spread), update(r, credit), atol=1e-12)


@pytest.mark.parametrize("option", [{"gamma": 1.01}, {"lam": -0.1}])
def test_discounts_lie_between_zero_and_one(option: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="expected a number from 0 to 1"):
        _run(_BATCH, **option)


def test_a_value_missing_on_a_policy_token_is_named() -> None:
    with pytest.raises(OptionError, match=r"evidence 'value'\[1\] = nan"):
        _run(Batch.from_turns([[3]], outcome=[1.0]), value=[0.0, np.nan, 0.0])


def test_the_division_is_conservative_raw_or_left_out() -> None:
    assert _run(_BATCH, rescale="none").loss.rescale is None
    found = _world({"base": "grpo"})
    r, credit = found.rollouts, found.credit
    away = r.theta + 0.5 * np.random.default_rng(2).normal(size=r.theta.shape)
    plain, raw = (
        assign(found.sampled, "sorl", base="grpo", rescale=how).with_fields()  # type: ignore[union-attr]
        for how in ("none", "raw")
    )
    one, two, three = (surrogate_update(r, c, away) for c in (credit, plain, raw))
    assert_array_equal(one, two)  # what is clipped is shorter than 1, and nothing is amplified
    factor = np.linalg.norm(three) / np.linalg.norm(two)
    assert factor > 2
    assert_allclose(three, two * factor)
    near = r.theta + 1e-4  # nothing is clipped: nothing to divide by
    assert_array_equal(surrogate_update(r, raw, near), surrogate_update(r, plain, near))


def test_the_learned_critic_discounts_per_token() -> None:
    batch = Batch.from_turns(
        [[2, 3]] * 60, action=[False, True, False, True, True] * 60, ids=[7, 1, 8, 1, 2] * 60, outcome=[1.0] * 60
    )
    credit = _run(batch, fit=True, rng=0, gamma=0.5, lam=0.0, ridge=0.01)
    value = (credit.targets["value"] - credit.token)[batch.action].reshape(60, 3)
    assert_allclose(value.mean(axis=0), [0.25, 0.5, 0.5], atol=0.01)
