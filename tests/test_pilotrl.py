"""PilotRL: the card's worked example, which tokens each stage trains, and answers that are missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, Spans, assign
from apportion.credit import Credit
from apportion.errors import MissingColumn, OptionError
from apportion.methods.pilotrl import PLAN_RUBRIC, RUBRIC, SCHEDULE

from .fakes import FakeJudge


def _run(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "pilotrl", **options)
    assert isinstance(credit, Credit)
    return credit


_LENGTHS = [4000, 11264, 12800, 14336]
_P = np.array([0.9, 0.6, 0.75, 0.3])
_D = np.array([1.0, 0.5, 0.8, 0.2])
_FMT = [1.0, 1.0, 1.0, 0.0]


def _card() -> Batch:
    """A plan of ten tokens, then one step of actions."""
    return Batch.from_turns([[10, n - 10] for n in _LENGTHS], outcome=[1.0, 1.0, 0.0, 0.0], group=[0] * 4, limit=14336)


def _scores(p: Any = _P, d: Any = _D) -> dict[str, Any]:
    """Plans are judged at first steps, actions at second ones; what stands elsewhere must not be read."""
    n = np.full(4, 7.0)
    return {"plan_quality": np.stack([p, n], axis=1).ravel(), "adherence": np.stack([n, d], axis=1).ravel()}


def test_worked_example_of_the_card() -> None:
    given = {**_scores(), "format_ok": _FMT, "formats": "given"}
    plan = _run(_card(), stage="plan", **given)
    assert_allclose(plan.unit.reshape(4, 2), np.stack([[0.8326, 0.5132, 0.0813, -1.4271], np.zeros(4)], axis=1), atol=5e-5)
    joint = _run(_card(), stage="joint", **given)
    assert_allclose(joint.unit.reshape(4, 2), np.repeat([[0.8833], [0.6111], [-0.1432], [-1.3512]], 2, axis=1), atol=5e-5)
    assert (joint.loss.denominator, joint.kind) == ("token", "advantage")


def test_rewards_and_penalties_of_the_card() -> None:
    """A difference of two rewards is that of their advantages times the spread: read off groups of two."""
    pairs = {(0, 1): [0.91, 0.64], (0, 2): [0.91, 0.275], (0, 3): [0.91, -1.0]}
    for (i, j), r in pairs.items():
        two = _card().take([i, j])
        chosen = np.array([2 * i, 2 * i + 1, 2 * j, 2 * j + 1])
        scores = {n: v[chosen] for n, v in _scores().items()}
        credit = _run(two, stage="plan", **scores, format_ok=np.array(_FMT)[[i, j]], formats="given", eps=1.0)
        sd = np.std(r, ddof=1)
        assert_allclose(credit.unit[::2], (np.array(r) - np.mean(r)) / (sd + 1.0), atol=1e-9)


def test_each_stage_trains_its_own_tokens() -> None:
    batch = _card()
    first = np.concatenate([[True] * 10 + [False] * (n - 10) for n in _LENGTHS])
    for stage, trained in (("follow", ~first), ("plan", first), ("joint", np.ones(first.size, dtype=bool))):
        credit = _run(batch, stage=stage, **_scores())
        assert_array_equal(credit.kept, trained)
        assert_array_equal(credit.token != 0, trained)
        assert credit.scored is not None
        expected = {"follow": [False, True], "plan": [True, False], "joint": [True, True]}[stage]
        assert_array_equal(credit.scored.reshape(4, 2), np.tile(expected, (4, 1)))


def test_each_stage_rewards_its_own_component() -> None:
    batch = _card()
    base = {stage: _run(batch, stage=stage, penalty=0.0, **_scores()).token for stage in ("follow", "plan", "joint")}
    other_p, other_d = _scores(p=_P[::-1]), _scores(d=_D[::-1])
    for stage, moves in (("follow", (False, True)), ("plan", (True, False)), ("joint", (True, True))):
        changed = [bool((_run(batch, stage=stage, penalty=0.0, **s).token != base[stage]).any()) for s in (other_p, other_d)]
        assert tuple(changed) == moves
    flipped = batch.with_columns(outcome=1.0 - np.array(batch.outcome))
    assert [bool((_run(flipped, stage=s, penalty=0.0, **_scores()).token != base[s]).any()) for s in base] == [False, False, True]
    assert [s for s, _ in SCHEDULE] == list(base)


def test_weights_choose_what_the_joint_stage_mixes() -> None:
    batch = _card()
    for weights, like in (((0, 1, 0), _P), ((0, 0, 2), _D), ((3, 0, 0), [1.0, 1.0, 0.0, 0.0])):
        x = np.asarray(like)
        credit = _run(batch, weights=weights, penalty=0.0, **_scores()).unit[::2]
        assert_allclose(credit, (x - x.mean()) / x.std(ddof=1), atol=1e-5)


def test_plans_are_the_marked_tokens() -> None:
    """A plan inside a step, revised in the last one: that step both plans and acts."""
    batch = Batch.from_turns(
        [[4, 2, 3]] * 2, action=[0, 1, 1, 1, 1, 1, 0, 1, 1] * 2, group=[0, 0], limit=100, outcome=[1.0, 0.0],
        spans={"plan": Spans(np.array([0, 7, 9, 16]), np.array([3, 8, 12, 17]))},
    )  # fmt: skip
    plan, nan = [0.8, np.nan, 0.2, 0.4, np.nan, 0.4], np.nan
    adherence = [0.5, 1.0, 0.0, nan, 1.0, 0.4]
    kept = {"plan": [1, 1, 1, 0, 0, 0, 0, 1, 0], "follow": [0, 0, 0, 1, 1, 1, 1, 0, 1]}
    for stage, x, steps in (("plan", [0.5, 0.4], [1, 0, 1]), ("follow", [0.5, 0.7], [1, 1, 1])):
        credit = _run(batch, stage=stage, plan="spans", plan_quality=plan, adherence=adherence, format_weight=0.0)
        mask = np.array(kept[stage] * 2, dtype=bool)
        assert_array_equal(credit.kept, mask & batch.action)
        a = (np.array(x) - np.mean(x)) / (np.std(x, ddof=1) + 1e-6)
        assert_allclose(credit.token, np.where(mask & batch.action, np.repeat(a, 9), 0.0), atol=1e-12)
        assert_allclose(credit.unit.reshape(2, 3), np.outer(a, steps))
        assert credit.diagnostics["unjudged"] == pytest.approx(0.0 if stage == "plan" else 1 / 6)
    with pytest.raises(OptionError, match="span table 'plan'"):
        _run(batch.with_columns(spans={}), plan="spans", plan_quality=plan, adherence=adherence)


def test_a_rollout_without_a_usable_answer_leaves_statistics_and_loss() -> None:
    d = np.array([1.0, np.nan, 0.8, 0.2])
    batch = _card()
    credit = _run(batch, stage="follow", penalty=0.0, **_scores(d=d))
    without = _run(batch.take([0, 2, 3]), stage="follow", penalty=0.0, adherence=_scores(d=d)["adherence"][[0, 1, 4, 5, 6, 7]])
    assert_allclose(credit.unit.reshape(4, 2)[[0, 2, 3]], without.unit.reshape(3, 2))
    assert not credit.kept[4000 : 4000 + 11264].any()
    assert credit.scored is not None
    assert not credit.scored[2:4].any()
    assert credit.diagnostics["unjudged"] == 0.25
    mixed = _run(batch, weights=(1, 1, 0), **_scores(d=d))  # nothing hangs on it: it stays in
    assert mixed.kept.all()
    broken = _run(batch, stage="follow", formats="given", format_ok=[1, 0, 1, 1], penalty=0.0, **_scores(d=d))
    r = np.array([1.0, 0.0, 0.82, 0.28])  # what breaks the format gets 0, judged or not
    assert_allclose(broken.unit[1::2], (r - r.mean()) / (r.std(ddof=1) + 1e-6))
    silent = _run(batch, stage="follow", penalty=0.0, **_scores(d=np.full(4, np.nan)))
    assert not silent.token.any()
    assert not silent.kept.any()


def test_a_rollout_that_only_plans_follows_nothing() -> None:
    batch = Batch.from_turns([[2], [2, 2]], outcome=[0.0, 0.0], group=[0, 0], limit=64)
    credit = _run(batch, stage="follow", adherence=[np.nan, np.nan, 1.0])
    assert_allclose(credit.unit, [0.0, 0.0, 1 / np.sqrt(2)], atol=1e-5)
    assert credit.diagnostics["unjudged"] == 0.0
    assert not credit.kept[:2].any()


def test_overlong_rollouts_lose_in_proportion() -> None:
    batch = Batch.from_turns([[6, 4], [6, 2], [2, 2]], outcome=[0.0] * 3, group=[0] * 3, limit=12)
    zero = {"adherence": np.zeros(6), "plan_quality": np.zeros(6)}
    x = np.array([-0.5, 0.0, 0.0])
    credit = _run(batch, buffer=4, **zero).unit[::2]
    assert_allclose(credit, (x - x.mean()) / (x.std(ddof=1) + 1e-6))
    double = _run(batch, buffer=4, penalty=2.0, eps=1.0, **zero).unit[::2]
    assert_allclose(double, (2 * x - 2 * x.mean()) / (2 * x.std(ddof=1) + 1.0))
    assert_array_equal(_run(batch, penalty=0.0, **zero).unit, 0.0)
    default = -np.maximum(0, np.array([10, 8, 4]) - 12 * (1 - 3 / 14)) / (12 * 3 / 14)
    assert_allclose(_run(batch, **zero).unit[::2], (default - default.mean()) / (default.std(ddof=1) + 1e-6))
    assert_array_equal(_run(batch.with_columns(limit=None), penalty=0.0, **zero).unit, 0.0)
    with pytest.raises(MissingColumn, match="limit"):
        _run(batch.with_columns(limit=None), **zero)


def test_a_lone_rollout_and_equal_rewards_teach_nothing() -> None:
    batch = _card()
    alone = batch.take([0])
    for stage in ("follow", "plan", "joint"):
        scores = {n: v[:2] for n, v in _scores().items()}
        assert_array_equal(_run(alone, stage=stage, **scores).unit, 0.0)
    same = batch.with_columns(outcome=np.full(4, 0.1))
    credit = _run(same, penalty=0.0, **_scores(p=np.full(4, 0.7), d=np.full(4, 0.3)))
    assert_array_equal(credit.token, 0.0)


def test_the_judge_is_asked_what_the_stage_needs() -> None:
    batch = _card()
    calls = {stage: assign(batch, "pilotrl", stage=stage, judge=FakeJudge(), rng=0) for stage in ("follow", "plan", "joint")}
    assert [c.bill.judge_calls for c in calls.values()] == [8.0, 8.0, 16.0]
    muted = _run(batch, stage="follow", judge=FakeJudge(mute=[3]), rng=0)
    assert muted.diagnostics["unjudged"] == 0.25
    assert RUBRIC.template != PLAN_RUBRIC.template
    assert not RUBRIC.privileged
    for stage, name in (("follow", "adherence"), ("plan", "plan_quality"), ("joint", "adherence")):
        with pytest.raises(MissingColumn, match=name):
            _run(batch, stage=stage)
    with pytest.raises(MissingColumn, match="reward"):
        _run(batch.with_columns(outcome=None), **_scores())
    _run(batch.with_columns(outcome=None), stage="follow", **_scores())  # no outcome is read


def test_bad_input_is_named() -> None:
    batch = _card()
    with pytest.raises(OptionError, match=r"'adherence'\[1\] = 1.5"):
        _run(batch, stage="follow", **_scores(d=np.array([1.5, 0, 0, 0])))
    with pytest.raises(OptionError, match=r"'plan_quality'\[2\] = -1"):
        _run(batch, stage="plan", **_scores(p=np.array([0, -1.0, 0, 0])))
    with pytest.raises(OptionError, match=r"'format_ok'\[1\] = 0.5"):
        _run(batch, formats="given", format_ok=[1, 0.5, 1, 1], **_scores())
    wrong: list[dict[str, Any]] = [
        {"format_weight": 1.5}, {"weights": (1.0, 1.0)}, {"weights": (0, 0, 0)}, {"weights": (1, 1, -1)}, {"penalty": -1.0},
        {"buffer": 0.0}, {"buffer": 20000},
    ]  # fmt: skip
    for option in wrong:
        with pytest.raises(OptionError, match=f"{next(iter(option))} = "):
            _run(batch, **option, **_scores())
