"""TARL: the card's worked example, its three presets, placements, invalid answers, its judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, OptionError
from apportion.methods.tarl import RUBRIC, UNAIDED

from .fakes import FakeJudge

ROLLOUTS = [[1, 1, 1, 1], [1, 1, -1, 0], [1, -1, 0, 0, 0], [1, 1, 1, 1, 1]]
SCORES = np.array([float(s) for scores in ROLLOUTS for s in scores])


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [1.0, 0.0, 0.0, 1.0], "group": [0] * 4, **changes}
    return Batch.from_turns([[1] * len(scores) for scores in ROLLOUTS], **columns)


def _tarl(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "tarl", **options)
    assert isinstance(credit, Credit)
    return credit


@pytest.mark.parametrize(
    ("preset", "rewards", "sample", "population"),
    [
        ("literal", [41, 10, 0, 51], [0.6362, -0.6362, -1.0466, 1.0466], [0.7346, -0.7346, -1.2085, 1.2085]),
        ("balanced", [2, 0.25, 0, 2], [0.8622, -0.7472, -0.9772, 0.8622], [0.9956, -0.8628, -1.1283, 0.9956]),
        ("outcome_dominant", [14, 1, 0, 15], [0.8021, -0.8021, -0.9255, 0.9255], [0.9262, -0.9262, -1.0687, 1.0687]),
    ],
)
def test_worked_example_of_the_card(preset: str, rewards: list[float], sample: list[float], population: list[float]) -> None:
    assert_allclose(_tarl(_batch(), turn_score=SCORES, preset=preset, give="reward").unit, rewards)
    assert_allclose(_tarl(_batch(), turn_score=SCORES, preset=preset).unit, sample, atol=5e-5)
    assert_allclose(_tarl(_batch(), turn_score=SCORES, preset=preset, spread="population").unit, population, atol=5e-5)


def test_the_published_reading_is_the_default_and_favours_long_dialogues() -> None:
    default = _tarl(_batch(), turn_score=SCORES)
    assert_array_equal(default.unit, _tarl(_batch(), turn_score=SCORES, preset="literal").unit)
    assert default.level == "trajectory"
    assert default.unit[3] > default.unit[0]
    tied = _tarl(_batch(), turn_score=SCORES, preset="balanced").unit
    assert tied[3] == tied[0]


def test_parts_of_a_preset_can_be_changed_and_the_scale_does_not_matter() -> None:
    literal = _tarl(_batch(), turn_score=SCORES, eps=0.0).unit
    assert_allclose(_tarl(_batch(), turn_score=SCORES, preset="balanced", aggregate="sum", w_score=10.0, eps=0.0).unit, literal)
    assert_allclose(_tarl(_batch(), turn_score=SCORES, w_outcome=0.2, w_score=2.0, eps=0.0).unit, literal)
    means = _tarl(_batch(), turn_score=SCORES, aggregate="mean", w_outcome=0.0, w_score=2.0, give="reward").unit
    assert_allclose(means, [2.0, 0.5, 0.0, 2.0])


def test_two_presets_coincide_at_ten_turns_and_only_there() -> None:
    rng = np.random.default_rng(0)
    for n in (10, 9):
        batch = Batch.from_turns([[1] * n] * 4, outcome=[1.0, 0.0, 0.0, 1.0], group=[0] * 4)
        score = rng.integers(0, 2, 4 * n).astype(float)
        a, b = (_tarl(batch, turn_score=score, preset=p, eps=0.0).unit for p in ("balanced", "outcome_dominant"))
        assert np.allclose(a, b) == (n == 10)


def test_without_scores_it_is_grpo() -> None:
    grpo = assign(_batch(), "grpo")
    assert isinstance(grpo, Credit)
    assert_array_equal(_tarl(_batch(), turn_score=SCORES, w_score=0.0).token, grpo.token)


def test_worked_reward_to_go_of_the_card() -> None:
    bare = _tarl(_batch(), turn_score=SCORES, placement="turn", w_outcome=0.0)
    assert bare.level == "turn"
    assert_array_equal(bare.unit[4:8], [1.0, 0.0, -1.0, 0.0])
    full = _tarl(_batch(), turn_score=SCORES, placement="turn")
    assert_array_equal(full.unit[:4], [5.0, 4.0, 3.0, 2.0])  # weights 1 and 1, whatever the preset
    placed = _tarl(_batch(), turn_score=SCORES, placement="turn", w_outcome=1.0, w_score=10.0, give="reward").unit
    sums = np.add.reduceat(placed, [0, 4, 8, 13])
    assert_array_equal(sums, [41, 10, 0, 51])
    with pytest.raises(OptionError, match="aggregate = 'mean' has no meaning"):
        _tarl(_batch(), turn_score=SCORES, placement="turn", aggregate="mean")


def test_rewards_sit_on_last_policy_tokens() -> None:
    batch = Batch.from_turns([[2, 3]], action=[True, True, True, True, False], outcome=[1.0], group=[0])
    whole = _tarl(batch, turn_score=[1.0, -1.0], give="reward")
    assert whole.kind == "reward"
    assert_array_equal(whole.token, [0, 0, 0, 1, 0])
    turns = _tarl(batch, turn_score=[1.0, -1.0], give="reward", placement="turn")
    assert_array_equal(turns.token, [0, 1, 0, 0, 0])


def test_only_the_first_deviation_of_a_trajectory_counts() -> None:
    several = SCORES.copy()
    several[[6, 7]] = [-1.0, -1.0]  # of rollout 2, whose first is at 6
    several[[11, 12]] = [-1.0, -1.0]  # of rollout 3, whose first is at 9
    credit = _tarl(_batch(), turn_score=several)
    assert_array_equal(credit.unit, _tarl(_batch(), turn_score=SCORES).unit)
    assert credit.diagnostics["demoted"] == 3
    assert _tarl(_batch(), turn_score=SCORES).diagnostics["demoted"] == 0
    opens = _tarl(_batch(), turn_score=-np.ones(18), placement="turn", w_outcome=0.0, give="reward").unit
    assert_array_equal(np.flatnonzero(opens), [0, 4, 8, 13])


def test_a_score_that_cannot_be_parsed_is_zero() -> None:
    holed = SCORES.copy()
    holed[[0, 6]] = np.nan
    credit = _tarl(_batch(), turn_score=holed, give="reward")
    assert_array_equal(credit.unit, [31, 20, 0, 51])
    assert_allclose(credit.diagnostics["unparsed"], 2 / 18)
    assert credit.diagnostics["fell_back"] == 0
    mean = _tarl(_batch(), turn_score=holed, give="reward", preset="balanced").unit
    assert_allclose(mean, [1.75, 0.5, 0.0, 2.0])  # over all turns, the unparsed ones too


def test_a_rollout_without_any_score_takes_its_whole_prompt_back_to_the_outcome() -> None:
    batch = Batch.from_turns([[1, 1]] * 4, outcome=[1.0, 0.0, 1.0, 0.0], group=[0, 0, 1, 1])
    score = np.array([1, 1, np.nan, np.nan, 1, np.nan, 0, 0])
    credit = _tarl(batch, turn_score=score, give="reward")
    assert_array_equal(credit.unit, [1.0, 0.0, 11.0, 0.0])
    assert credit.diagnostics["fell_back"] == 0.5
    mute = _tarl(batch, turn_score=np.full(8, np.nan))
    grpo = assign(batch, "grpo")
    assert isinstance(grpo, Credit)
    assert_array_equal(mute.token, grpo.token)


def test_equal_rewards_are_exactly_zero_and_a_lone_rollout_is_refused() -> None:
    batch = Batch.from_turns([[1, 1]] * 3, outcome=[0.1] * 3, group=[0] * 3)
    assert_array_equal(_tarl(batch, turn_score=np.ones(6)).token, 0.0)
    lone = Batch.from_turns([[1, 1]], outcome=[1.0], group=[0])
    with pytest.raises(BatchError, match="single member"):
        _tarl(lone, turn_score=[1.0, 1.0])
    assert_array_equal(_tarl(lone, turn_score=[1.0, 1.0], single="zero").unit, [0.0])
    assert_array_equal(_tarl(lone, turn_score=[1.0, 1.0], placement="turn").unit, [3.0, 2.0])


def test_what_is_no_score_is_refused() -> None:
    with pytest.raises(OptionError, match=r"'turn_score'\[2\] = 2: expected one of -1, 0, 1"):
        _tarl(_batch(), turn_score=np.where(np.arange(18) == 2, 2.0, SCORES))


def test_the_judge_is_asked_and_says_what_it_saw() -> None:
    credit = _tarl(_batch(), judge=FakeJudge(mute=(3,)), rng=0)
    assert credit.evidence["turn_score"]["provenance"] == "privileged"
    assert_allclose(credit.diagnostics["unparsed"], 1 / 18)
    assert credit.bill.judge_calls == 18
    plain = _tarl(_batch(), judge=FakeJudge(), rubric=UNAIDED, rng=0)
    assert plain.evidence["turn_score"]["provenance"] == "model_judgement"
    assert RUBRIC.at_most_one
    assert not UNAIDED.privileged
    assert "{reference}" not in UNAIDED.template
