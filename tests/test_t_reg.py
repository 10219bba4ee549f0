"""T-REG: the card's worked example as a gradient, pairs and ties, its on-policy form, its prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.methods import t_reg as module

from .fakes import FakePolicy

_BETTER = np.array([-0.5, -1.2, -0.3, -1.5, -2.0])
_WORSE = np.array([-0.9, -1.0, -2.3, -0.4, -2.1])
_LOGP, _REF = np.array([-0.6, -0.8, -0.7, -1.0, -1.4]), np.array([-0.7, -1.0, -0.6, -0.9, -1.5])
_ASKED: dict[str, Any] = {"better_logp": _BETTER, "worse_logp": _WORSE}
_RHAT = np.array([0.0987, -0.0498, 0.3808, -0.2503, 0.0250])


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [1.0, 0.0], "group": [0, 0], "logp": _LOGP, "ref_logp": _REF, **changes}
    return Batch.from_turns([[3], [2]], **columns)


def _t_reg(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "t_reg", **options)
    assert isinstance(credit, Credit)
    return credit


def _loss(logp: np.ndarray, *, form: str, alpha: float, margin: float = 0.0, in_weight: bool = False, w: Any = None) -> float:
    """The loss as the card writes it; ``w`` held fixed where given."""
    beta, rhat = 0.1, 1 / (1 + np.exp(_WORSE - _BETTER)) - 0.5
    parts = [logp[:3], logp[3:]]
    score = [(x - r).sum() if form == "dpo" else x.mean() for x, r in zip(parts, (_REF[:3], _REF[3:]), strict=True)]
    gap = beta * (score[0] - score[1])
    w = 1 / (1 + np.exp(gap - margin * in_weight)) if w is None else w
    reg = -beta * (rhat * logp)
    return float(np.logaddexp(0, margin - gap) + alpha * w * reg.sum())


def test_worked_example_of_the_card() -> None:
    credit = _t_reg(_batch(), **_ASKED)
    assert_allclose(credit.token, [0.050721, 0.048883, 0.054212, -0.052597, -0.049191], atol=5e-7)
    assert_allclose(credit.diagnostics["loss"], 0.684071, atol=5e-7)
    assert_allclose(_t_reg(_batch(), **_ASKED, form="reward").token, _RHAT, atol=5e-5)
    assert _t_reg(_batch(), **_ASKED, form="reward").kind == "reward"
    plain = _t_reg(_batch(), **_ASKED, alpha=0.0)
    assert_allclose(plain.diagnostics["loss"], 0.6832, atol=5e-5)
    assert_allclose(plain.token, 0.0495 * np.array([1, 1, 1, -1, -1]), atol=5e-6)


@pytest.mark.parametrize("form", ["dpo", "simpo"])
@pytest.mark.parametrize("in_weight", [False, True])
def test_credit_is_minus_the_gradient_of_the_loss_with_its_weight_held(form: str, in_weight: bool) -> None:
    how: dict[str, Any] = {"alpha": 0.5, "margin": 0.3}
    got = _t_reg(_batch(), **_ASKED, form=form, margin_in_weight=in_weight, **how)
    gap = (_LOGP - _REF)[:3].sum() - (_LOGP - _REF)[3:].sum() if form == "dpo" else _LOGP[:3].mean() - _LOGP[3:].mean()
    w = 1 / (1 + np.exp(0.1 * gap - 0.3 * in_weight))
    slope = [(_loss(_LOGP + e, form=form, w=w, **how) - _loss(_LOGP - e, form=form, w=w, **how)) / 2e-6 for e in np.eye(5) * 1e-6]
    assert_allclose(got.token, -np.array(slope), atol=1e-8)
    assert_allclose(got.diagnostics["loss"], _loss(_LOGP, form=form, in_weight=in_weight, **how))


def test_pairs_are_the_extremes_of_a_prompt_and_the_rest_leaves_the_loss() -> None:
    batch = Batch.from_turns(
        [[1]] * 6, outcome=[1.0, 0.5, 0.0, 0.0, 2.0, 2.0], group=[0, 0, 0, 0, 1, 1], logp=-np.ones(6), ref_logp=-np.ones(6)
    )
    better = np.array([-0.5, -0.5, -0.5, -1.5, -1.0, -2.0])
    credit = _t_reg(batch, better_logp=better, worse_logp=-np.ones(6))
    rhat = 1 / (1 + np.exp(-(better + 1))) - 0.5
    up = 0.1 * 0.5 * np.array([1, 0, -0.5, -0.5, 0, 0]) + 0.25 * 0.1 * 0.5 * rhat * np.array([1, 0, 0.5, 0.5, 0, 0])
    assert_allclose(credit.token, up, atol=1e-12)
    assert credit.keep is not None
    assert credit.scored is not None
    assert_array_equal(credit.keep, [True, False, True, True, False, False])
    assert_array_equal(credit.scored, credit.keep)
    assert credit.diagnostics["pairs"] == 1.0


def test_on_policy_it_rescales_the_advantage_as_it_does_dpo() -> None:
    credit = _t_reg(_batch(logp=None, ref_logp=None), **_ASKED, form="advantage")
    rhat = 1 / (1 + np.exp(_WORSE - _BETTER)) - 0.5
    assert_allclose(credit.token, [*(1 + 0.25 * rhat[:3]), *(-1 * (1 - 0.25 * rhat[3:]))])
    dpo = _t_reg(_batch(), **_ASKED).token
    assert_allclose(dpo / credit.token, (dpo / credit.token)[0])  # the same up to a factor
    rloo = assign(_batch(), "rloo")
    assert isinstance(rloo, Credit)
    assert_allclose(_t_reg(_batch(), **_ASKED, form="advantage", alpha=0.0).token, rloo.token)
    lone: dict[str, Any] = {"better_logp": [-1.0] * 3, "worse_logp": [-2.0] * 3, "form": "advantage"}
    with pytest.raises(BatchError, match="single member"):
        _t_reg(_batch().take([0]), **lone)
    assert_array_equal(_t_reg(_batch().take([0]), **lone, single="zero").token, 0.0)


def test_equal_prompts_and_nulls_are_plain_dpo() -> None:
    plain = _t_reg(_batch(), **_ASKED, alpha=0.0).token
    assert_allclose(_t_reg(_batch(), better_logp=_BETTER, worse_logp=_BETTER).token, plain)
    holed = np.where([True, False, True, True, True], _BETTER, np.nan)
    credit = _t_reg(_batch(), better_logp=holed, worse_logp=_WORSE).token
    full = _t_reg(_batch(), **_ASKED).token
    assert_allclose(credit, np.where(np.isnan(holed), plain, full))


def test_far_apart_prompts_saturate() -> None:
    credit = _t_reg(_batch(), better_logp=np.zeros(5), worse_logp=np.full(5, -1e5), form="reward")
    assert_allclose(credit.token, 0.5)


def test_observations_are_no_part_of_a_response() -> None:
    spaced = Batch.from_turns(
        [[5], [3]], action=[0, 1, 0, 1, 1, 0, 1, 1], outcome=[1.0, 0.0], group=[0, 0],
        logp=[0, -0.6, 0, -0.8, -0.7, 0, -1.0, -1.4], ref_logp=[-3, -0.7, -3, -1.0, -0.6, -3, -0.9, -1.5],
    )  # fmt: skip
    at = np.flatnonzero(spaced.action)
    for observed in (np.nan, 5.0, -5.0):
        better, worse = np.full(8, observed), np.full(8, -1.0)
        better[at], worse[at] = _BETTER, _WORSE
        for form in ("dpo", "simpo", "advantage", "reward"):
            got = _t_reg(spaced, better_logp=better, worse_logp=worse, form=form)
            assert_allclose(got.token[at], _t_reg(_batch(), **_ASKED, form=form).token)


def test_bad_input() -> None:
    with pytest.raises(OptionError, match=r"'worse_logp'\[2\] = 0.5"):
        _t_reg(_batch(), better_logp=_BETTER, worse_logp=[-1, -1, 0.5, -1, -1])
    with pytest.raises(OptionError, match="alpha = -1"):
        _t_reg(_batch(), **_ASKED, alpha=-1)
    with pytest.raises(OptionError, match=r"beta = 0"):
        _t_reg(_batch(), **_ASKED, beta=0)
    with pytest.raises(MissingColumn, match="ref_logp"):
        _t_reg(_batch(ref_logp=None), **_ASKED)
    with pytest.raises(MissingColumn, match="'logp'"):
        _t_reg(_batch(logp=None), **_ASKED, form="simpo")


def test_it_asks_for_no_log_probabilities_that_its_form_does_not_read() -> None:
    bare = _batch(logp=None, ref_logp=None)
    assert_array_equal(_t_reg(bare, **_ASKED, form="reward").token, _t_reg(_batch(), **_ASKED, form="reward").token)
    free = _batch(ref_logp=None)
    assert_array_equal(_t_reg(free, **_ASKED, form="simpo").token, _t_reg(_batch(), **_ASKED, form="simpo").token)


def test_the_policy_is_shown_two_opposed_prompts() -> None:
    policy = FakePolicy()
    credit = _t_reg(_batch(), policy=policy)
    assert policy.seen == [[module.BETTER] * 2, [module.WORSE] * 2]
    assert module.BETTER.startswith("success ")  # so that a simulated policy knows which is meant
    assert module.WORSE.startswith("failure ")
    assert credit.bill.scored == 10.0
    _t_reg(_batch(), policy=policy, better="up", worse="down")
    assert policy.seen[2:] == [["up"] * 2, ["down"] * 2]


def test_the_learned_contrast_prefers_what_ends_well() -> None:
    rng = np.random.default_rng(0)
    n = 2000
    right = rng.random(n) < 0.5
    reward = (rng.random(n) < np.where(right, 0.8, 0.4)).astype(float)
    ids = np.stack([np.full(n, 7), np.where(right, 1, 2)], axis=1).ravel()
    batch = Batch.from_turns(
        [[2]] * n, action=[False, True] * n, ids=ids, logp=np.tile([0.0, np.log(0.5)], n), ref_logp=np.zeros(2 * n),
        outcome=reward, group=[0] * n,
    )  # fmt: skip
    rhat = _t_reg(batch, fit=True, rng=0, form="reward").token[1::2]
    better = np.where(right, 0.8, 0.4) / 0.6
    worse = np.where(right, 0.2, 0.6) / 0.4
    truth = 1 / (1 + np.exp(np.log(worse) - np.log(better))) - 0.5
    assert_allclose(rhat, truth, atol=0.05)


def test_the_simulated_policy_tells_the_two_prompts_apart_as_well_as_it_can() -> None:
    from apportion.bench.layouts import to_batch
    from apportion.bench.sources import SimulatedPolicy
    from apportion.bench.tasks import find
    from apportion.bench.world import roll

    task = find("bifurcation/horizon-10")
    rollouts = roll(task, task.start_theta, 4, 8, np.random.default_rng(0))
    batch = to_batch(rollouts, reference=True)
    size = []
    for skill in (0.0, 0.25, 0.5, 1.0):
        credit = _t_reg(batch, policy=SimulatedPolicy(rollouts, skill=skill), form="reward")
        size.append(np.abs(credit.token).sum())
    assert size[0] < 1e-9
    assert size[1] < size[2] < size[3]
