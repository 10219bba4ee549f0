"""CAPO: the card's worked example, votes, nulls, token statistics, its judge and its prompts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import OptionError
from apportion.evidence import Asked, Bill, Rubric
from apportion.methods.capo import RUBRIC, UNAIDED
from apportion.words import Axis, Provenance

LENGTHS = [[2, 3], [2, 2, 1], [3]]
#: Indices of the wrong steps in each of four critiques, by response.
CRITIQUES = [[{1}, {1}, set(), {1}], [{1, 2}, {1}, {1}, {1, 2}], [set(), set(), {0}, set()]]


def _critique() -> Any:
    rows = [
        [float(j not in said) for said in critiques]
        for steps, critiques in zip(LENGTHS, CRITIQUES, strict=True)
        for j in range(len(steps))
    ]
    return np.array(rows)


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [1.0, 0.0, 0.0], "group": [0, 0, 0], **changes}
    return Batch.from_turns([[sum(steps)] for steps in LENGTHS], steps=LENGTHS, **columns)


def _capo(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "capo", **options)
    assert isinstance(credit, Credit)
    return credit


@pytest.mark.parametrize(
    ("vote", "expected"),
    [
        ("intersection", [1.2081, 1.2081, -0.5369, -1.4094, -0.5369, -0.5369]),
        ("majority", [1.7075, 0.6985, -0.3105, -1.3195, -1.3195, -0.3105]),
        ("union", [1.6855, 0.8090, -0.0674, -0.9439, -0.9439, -0.9439]),
        ("average", [1.6189, 0.8847, -0.3388, -1.3177, -0.8283, -0.5836]),
    ],
)
def test_worked_example_of_the_card(vote: str, expected: list[float]) -> None:
    credit = _capo(_batch(), critique=_critique(), vote=vote)
    assert_allclose(credit.unit, expected, atol=5e-5)
    assert credit.loss.denominator == "sequence"
    assert_array_equal(credit.token, np.repeat(credit.unit, [2, 3, 2, 2, 1, 3]))


def test_majority_is_the_default_and_counts_ties_as_wrong() -> None:
    one, two = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    assert_array_equal(_capo(_batch(), critique=np.stack([one, two], axis=1)).unit, _capo(_batch(), critique=one).unit)
    third = np.stack([one, two, two], axis=1)
    assert_array_equal(_capo(_batch(), critique=third).unit, _capo(_batch(), critique=two).unit)


def test_with_one_critique_all_votes_are_the_same() -> None:
    one = _critique()[:, 0]
    whole = _capo(_batch(), critique=one).unit
    for vote in ("intersection", "union", "average"):
        assert_array_equal(_capo(_batch(), critique=one[:, None], vote=vote).unit, whole)


def test_order_of_critiques_does_not_matter() -> None:
    for vote in ("intersection", "majority", "union", "average"):
        a, b = (_capo(_batch(), critique=c, vote=vote).unit for c in (_critique(), _critique()[:, [2, 0, 3, 1]]))
        assert_array_equal(a, b)


def test_a_right_answer_stays_above_a_wrong_one() -> None:
    credit = _capo(_batch(), critique=np.array([1.0, 0, 1, 0, 1, 1]), spread="none")
    r = np.array([2.0, 1.0, 0.0, -1.0, 0.0, 0.0])
    assert_allclose(credit.unit, r - np.repeat(r, [2, 3, 2, 2, 1, 3]).mean())


def test_observation_tokens_enter_no_statistic() -> None:
    action = [True] * 5 + [False, False] + [True] * 5 + [False] + [True] * 3
    lengths = [[5], [2 + 5], [4]]
    steps = [[2, 3], [4, 2, 1], [4]]
    batch = Batch.from_turns(lengths, steps=steps, action=action, outcome=[1.0, 0.0, 0.0], group=[0] * 3)
    assert_allclose(_capo(batch, critique=_critique()).unit, _capo(_batch(), critique=_critique()).unit, atol=1e-12)


def test_all_alike_is_exactly_zero_and_all_wrong_still_learns() -> None:
    clean = np.ones(6)
    for outcome in ([1.0] * 3, [0.0] * 3, [0.1] * 3):
        assert_array_equal(_capo(_batch(outcome=outcome), critique=clean).token, 0.0)
    unit = _capo(_batch(outcome=[0.0] * 3), critique=np.array([1.0, 0, 1, 1, 1, 1])).unit
    assert unit[1] < 0 < unit[0]


def test_a_prompt_of_one_rollout_learns_from_its_steps() -> None:
    batch = Batch.from_turns([[4]], steps=[[2, 2]], outcome=[0.0], group=[0])
    assert_allclose(_capo(batch, critique=[1.0, 0.0]).unit, [1.0, -1.0], atol=5e-6)
    assert_array_equal(_capo(Batch.from_turns([[1]], outcome=[1.0], group=[0]), critique=[0.0]).unit, 0.0)


def test_without_a_penalty_it_is_grpo_that_counts_tokens() -> None:
    batch = _batch(outcome=[1.0, 0.0, 1.0])
    got = _capo(batch, critique=_critique(), penalty=0.0, whole=1.0, eps=0.0).unit
    weights = np.array([5.0, 5.0, 3.0])
    mean = (weights * [1, 0, 1]).sum() / 13
    sd = np.sqrt((weights * (np.array([1, 0, 1]) - mean) ** 2).sum() / 13)
    assert_allclose(got, ((np.array([1, 0, 1]) - mean) / sd)[[0, 0, 1, 1, 1, 2]])
    even = Batch.from_turns([[2], [2], [2]], outcome=[1.0, 0.0, 1.0], group=[0] * 3)
    grpo = assign(even, "grpo", spread="population")
    assert isinstance(grpo, Credit)
    assert_allclose(_capo(even, critique=np.ones(3), penalty=0.0, whole=1.0).token, grpo.token)


def test_solved_trajectories_can_be_spared_as_the_printed_prompt_spares_them() -> None:
    spared = _capo(_batch(), critique=_critique(), judge_correct_responses=False)
    clean = _critique()
    clean[:2] = 1.0
    assert_array_equal(spared.unit, _capo(_batch(), critique=clean).unit)
    other = _batch(success=[False, True, False])
    clean = _critique()
    clean[2:5] = 1.0
    assert_array_equal(_capo(other, critique=_critique(), judge_correct_responses=False).unit, _capo(other, critique=clean).unit)


def test_a_critique_that_cannot_be_parsed_found_nothing_or_is_left_out() -> None:
    holed = _critique()
    holed[2:5, 3] = np.nan  # of response 2: one critique of four
    empty = _critique()
    empty[2:5, 3] = 1.0
    credit = _capo(_batch(), critique=holed, vote="intersection")
    assert_array_equal(credit.unit, _capo(_batch(), critique=empty, vote="intersection").unit)
    assert_allclose(credit.diagnostics["unparsed"], 3 / 24)
    left = _capo(_batch(), critique=holed, vote="intersection", unparsed="leave_out").unit
    assert left[3] < left[2]  # the other three agree on step 1
    average = _capo(_batch(), critique=holed, vote="average", unparsed="leave_out", spread="none").unit
    assert_allclose(average[2] - average[4], 1 / 3)
    mute = _capo(_batch(), critique=np.full((6, 2), np.nan), unparsed="leave_out")
    assert_array_equal(mute.unit, _capo(_batch(), critique=np.ones(6)).unit)
    assert mute.diagnostics["unparsed"] == 1.0


def test_what_is_no_critique_is_refused() -> None:
    with pytest.raises(OptionError, match=r"'critique'\[\(1, 0\)\] = 0\.5: expected one of 0, 1"):
        _capo(_batch(), critique=[1.0, 0.5, 1.0, 1.0, 1.0, 1.0])
    with pytest.raises(OptionError, match=r"shape \(6, 2, 1\), expected \(6,\) or \(6, k\)"):
        _capo(_batch(), critique=np.ones((6, 2, 1)))
    with pytest.raises(OptionError, match=r"'critique' has 5 entries, expected 6"):
        _capo(_batch(), critique=np.ones((5, 4)))


@dataclass
class Judge:
    """Answers column after column of the worked example."""

    asked: list[Rubric | None] = field(default_factory=list)
    provenance: Provenance = "model_judgement"

    def score(self, batch: Batch, unit: Axis, rng: np.random.Generator, *, rubric: Rubric | None = None) -> Asked:
        assert unit == "step"
        self.asked.append(rubric)
        return Asked(_critique()[:, len(self.asked) - 1], Bill(judge_calls=3.0))


def test_k_critiques_are_asked_and_billed_and_say_what_they_saw() -> None:
    judge = Judge()
    credit = _capo(_batch(), judge=judge, vote="average")
    assert judge.asked == [RUBRIC] * 4
    assert_array_equal(credit.unit, _capo(_batch(), critique=_critique(), vote="average").unit)
    assert credit.bill.judge_calls == 12
    assert credit.evidence["critique"]["provenance"] == "privileged"
    unaided = _capo(_batch(), judge=Judge(), k=2, rubric=UNAIDED)
    assert unaided.evidence["critique"]["provenance"] == "model_judgement"
    assert unaided.bill.judge_calls == 6
    assert credit.to_table().num_rows == 6  # a rubric among the settings can be written down
    with pytest.raises(OptionError, match="k = 0"):
        _capo(_batch(), judge=Judge(), k=0)


def test_prompts_say_whether_the_judge_sees_the_reference() -> None:
    assert RUBRIC.privileged
    assert not UNAIDED.privileged
    assert "eference" not in UNAIDED.template
    assert RUBRIC.one_call
