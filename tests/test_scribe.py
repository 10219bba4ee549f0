"""SCRIBE: the card's worked example, ways to put scores together, nulls, the subgoal placement, its judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import MissingColumn, OptionError
from apportion.methods.scribe import RUBRIC

from .fakes import FakeJudge

ROLLOUTS = [[3, 2, 3], [1, 3], [3, 3, 3, 2], [0, 1, 2]]
SCORES = np.array([float(s) for scores in ROLLOUTS for s in scores])


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"group": [0] * 4, **changes}
    return Batch.from_turns([[2 * len(s)] for s in ROLLOUTS], steps=[[2] * len(s) for s in ROLLOUTS], **columns)


def _scribe(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "scribe", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    credit = _scribe(_batch(), subgoal_score=SCORES)
    assert_allclose(credit.unit, [0.6953, -0.1288, 0.7983, -1.3648], atol=5e-5)
    assert credit.level == "trajectory"
    assert_array_equal(credit.token, np.repeat(credit.unit, [6, 4, 8, 6]))
    assert credit.keep is None


def test_worked_mix_with_outcomes_of_the_card() -> None:
    mixed = _scribe(_batch(outcome=[1.0, 0.0, 1.0, 0.0]), subgoal_score=SCORES, outcome_weight=1.0, process_weight=0.5)
    assert_allclose(mixed.unit, [0.8519, -0.7423, 0.8718, -0.9814], atol=5e-5)


def test_weights_count_in_proportion() -> None:
    batch, mixed = _batch(outcome=[1.0, 0.0, 1.0, 0.0]), {"outcome_weight": 1.0, "process_weight": 0.5, "eps": 0.0}
    doubled = {"outcome_weight": 2.0, "process_weight": 1.0, "eps": 0.0}
    assert_allclose(_scribe(batch, subgoal_score=SCORES, **doubled).unit, _scribe(batch, subgoal_score=SCORES, **mixed).unit)


def test_worked_subgoal_placement_of_the_card() -> None:
    credit = _scribe(_batch(), subgoal_score=SCORES, placement="subgoal")
    level = {3.0: 0.8092, 2.0: -0.1618, 1.0: -1.1328, 0.0: -2.1038}
    assert_allclose(credit.unit, [level[s] for s in SCORES], atol=5e-5)
    assert credit.level == "step"


def test_outcomes_are_not_read_unless_they_are_mixed_in() -> None:
    plain = _scribe(_batch(), subgoal_score=SCORES).unit
    assert_array_equal(_scribe(_batch(outcome=[9.0, 0.0, -1.0, 2.0]), subgoal_score=SCORES).unit, plain)
    with pytest.raises(MissingColumn, match=r"'reward' is missing for scribe with outcome_weight=1[\s\S]*outcome="):
        _scribe(_batch(), subgoal_score=SCORES, outcome_weight=1.0)
    by_turn = _scribe(_batch(turn_reward=[1.0, 0.0, 1.0, 0.0]), subgoal_score=SCORES, outcome_weight=1.0, process_weight=0.5)
    assert_allclose(by_turn.unit[0], 0.8519, atol=5e-5)


def test_with_outcomes_alone_it_is_grpo() -> None:
    batch = _batch(outcome=[1.0, 0.0, 1.0, 0.0])
    grpo = assign(batch, "grpo")
    assert isinstance(grpo, Credit)
    assert_array_equal(_scribe(batch, subgoal_score=SCORES, outcome_weight=1.0, process_weight=0.0).token, grpo.token)


@pytest.mark.parametrize(
    ("aggregate", "process"),
    [
        ("mean", [8 / 9, 2 / 3, 11 / 12, 1 / 3]),
        ("min", [2 / 3, 1 / 3, 2 / 3, 0.0]),
        ("product", [2 / 3, 1 / 3, 2 / 3, 0.0]),
    ],
)
def test_ways_to_put_scores_together(aggregate: str, process: list[float]) -> None:
    credit = _scribe(_batch(), subgoal_score=SCORES, aggregate=aggregate, spread="none")
    assert_allclose(credit.unit, np.array(process) - np.mean(process))


def test_a_product_multiplies_and_a_minimum_does_not() -> None:
    batch = Batch.from_turns([[2], [1]], steps=[[1, 1], [1]], group=[0, 0])
    product, least = (_scribe(batch, subgoal_score=[2.0, 2.0, 0.0], aggregate=a, spread="none").unit for a in ("product", "min"))
    assert_allclose(product[0] - product[1], 4 / 9)
    assert_allclose(least[0] - least[1], 2 / 3)


def test_confidence_of_the_router_weighs_the_mean() -> None:
    batch = Batch.from_turns([[2], [2]], steps=[[1, 1], [1, 1]], group=[0, 0])
    both = np.array([[3.0, 0.5], [0.0, 0.25], [3.0, np.nan], [1.0, 0.1]])
    credit = _scribe(batch, subgoal_score=both, aggregate="confidence", spread="none")
    assert_allclose(credit.unit[0] - credit.unit[1], 2 / 3 - 1 / 3)
    assert_allclose(credit.diagnostics["unscored"], 0.25)
    even = _scribe(batch, subgoal_score=both, spread="none").unit
    assert_allclose(even[0] - even[1], 1 / 2 - 2 / 3)
    with pytest.raises(OptionError, match=r"reads the router's confidence"):
        _scribe(batch, subgoal_score=both[:, 0], aggregate="confidence")
    with pytest.raises(OptionError, match=r"\[1\]: confidence = 1\.5, expected a number from 0 to 1"):
        _scribe(batch, subgoal_score=np.where(both == 0.25, 1.5, both), aggregate="confidence")


def test_equal_scores_are_exactly_zero_however_many_there_are() -> None:
    lengths = [1, 3, 7, 49]
    batch = Batch.from_turns([[n] for n in lengths], steps=[[1] * n for n in lengths], group=[0] * 4)
    for score in (1.0, 2.0, 3.0):
        assert_array_equal(_scribe(batch, subgoal_score=np.full(60, score), eps=0.0).token, 0.0)
    assert_array_equal(_scribe(batch, subgoal_score=np.full(60, 2.0), placement="subgoal").token, 0.0)


def test_a_subgoal_without_a_score_is_left_out_of_the_mean() -> None:
    holed = SCORES.copy()
    holed[1] = np.nan
    for aggregate in ("mean", "min", "product"):
        credit = _scribe(_batch(), subgoal_score=holed, aggregate=aggregate, spread="none").unit
        whole = _scribe(_batch(), subgoal_score=np.where(np.isnan(holed), 3.0, SCORES), aggregate=aggregate, spread="none").unit
        assert_allclose(credit, whole, err_msg=aggregate)
    assert_allclose(_scribe(_batch(), subgoal_score=holed).diagnostics["unscored"], 1 / 12)
    spans = _scribe(_batch(), subgoal_score=holed, placement="subgoal")
    known = np.delete(SCORES, 1)
    assert_allclose(spans.unit[0], (3 - known.mean()) / known.std(ddof=1), atol=1e-5)
    assert spans.unit[1] == 0.0
    assert spans.scored is not None
    assert_array_equal(np.flatnonzero(~spans.scored), [1])


def test_a_rollout_without_scores_is_the_worst_or_left_out() -> None:
    holed = SCORES.copy()
    holed[3:5] = np.nan  # all of rollout 2
    worst = _scribe(_batch(), subgoal_score=holed, spread="none")
    process = np.array([8 / 9, 0.0, 11 / 12, 1 / 3])
    assert_allclose(worst.unit, process - process.mean())
    assert worst.diagnostics["empty"] == 0.25
    out = _scribe(_batch(), subgoal_score=holed, spread="none", empty="leave_out")
    rest = process[[0, 2, 3]]
    assert_allclose(out.unit, [rest[0] - rest.mean(), 0.0, rest[1] - rest.mean(), rest[2] - rest.mean()])
    assert out.keep is not None
    assert out.scored is not None
    assert_array_equal(out.scored, [True, False, True, True])
    assert_array_equal(out.keep, np.repeat(out.scored, [6, 4, 8, 6]))
    mute = _scribe(_batch(), subgoal_score=np.full(12, np.nan), empty="leave_out")
    assert_array_equal(mute.unit, 0.0)
    assert mute.diagnostics["empty"] == 1.0
    for aggregate in ("min", "product"):
        least = _scribe(_batch(), subgoal_score=holed, aggregate=aggregate, spread="none").unit
        assert_allclose(least[1] - least[3], 0.0)  # both 0


def test_a_lone_rollout_gets_nothing() -> None:
    batch = Batch.from_turns([[2], [2], [2]], steps=[[1, 1]] * 3, group=[0, 1, 1])
    unit = _scribe(batch, subgoal_score=[3.0, 0.0, 1.0, 1.0, 3.0, 3.0]).unit
    assert unit[0] == 0.0
    assert unit[1] < 0 < unit[2]


def test_scores_out_of_range_and_shapes_are_refused() -> None:
    with pytest.raises(OptionError, match=r"'subgoal_score'\[1\]: score = 4, expected a number from 0 to 3"):
        _scribe(_batch(), subgoal_score=np.where(np.arange(12) == 1, 4.0, SCORES))
    with pytest.raises(OptionError, match=r"\[1\]: score = -1"):
        _scribe(_batch(), subgoal_score=np.where(np.arange(12) == 1, -1.0, SCORES))
    with pytest.raises(OptionError, match=r"shape \(12, 3\), expected \(12,\), or \(12, 2\)"):
        _scribe(_batch(), subgoal_score=np.ones((12, 3)))
    with pytest.raises(OptionError, match="s_max = 0"):
        _scribe(_batch(), subgoal_score=SCORES, s_max=0.0)
    for option in ({"outcome_weight": 1.0}, {"process_weight": 0.5}, {"aggregate": "min"}, {"empty": "leave_out"}):
        with pytest.raises(OptionError, match="placement='subgoal' puts every score at its own subgoal"):
            _scribe(_batch(), subgoal_score=SCORES, placement="subgoal", **option)


def test_another_scale_goes_with_its_best_score() -> None:
    five = _scribe(_batch(), subgoal_score=SCORES * 5 / 3, s_max=5.0, spread="none").unit
    assert_allclose(five, _scribe(_batch(), subgoal_score=SCORES, spread="none").unit)


def test_judge_and_router_are_billed_and_need_no_reference() -> None:
    credit = _scribe(_batch(), judge=FakeJudge(mute=(0,)), rng=0)
    assert credit.bill.judge_calls == 12 + 4
    assert _scribe(_batch(), judge=FakeJudge(), rng=0, routed=False).bill.judge_calls == 12
    assert credit.evidence["subgoal_score"]["provenance"] == "model_judgement"
    assert_allclose(credit.diagnostics["unscored"], 1 / 12)
    assert not RUBRIC.privileged
    assert not RUBRIC.one_call
