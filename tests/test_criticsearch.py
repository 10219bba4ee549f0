"""CriticSearch: the card's worked example, which turns search, nulls, scopes of the labels, its judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.batch import Spans
from apportion.credit import Credit
from apportion.errors import OptionError
from apportion.methods.criticsearch import RUBRIC, UNAIDED

from .fakes import FakeJudge

#: Three rollouts of 3, 2 and 2 searches and an answer each.
LABELS = np.array([1, 0, 1, np.nan, 0, 1, np.nan, 0, 0, np.nan])
SEARCH = np.array([True, True, True, False, True, True, False, True, True, False])
WORKED = [0.7003, 0.2326, 0.7003, 0.5773, 0.2326, 0.7003, 0.5773, -1.0665, -1.0665, -1.1547]


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [1.0, 1.0, 0.0], "group": [0, 0, 0], **changes}
    return Batch.from_turns([[1] * 4, [1] * 3, [1] * 3], **columns)


def _criticsearch(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "criticsearch", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    credit = _criticsearch(_batch(), label=LABELS)
    assert_allclose(credit.unit, WORKED, atol=5e-5)
    good = (LABELS == 1)[SEARCH]
    assert_allclose(credit.parts["turn"][SEARCH] / 0.25, np.where(good, 1.0690, -0.8018), atol=5e-5)
    assert_array_equal(credit.parts["turn"][~SEARCH], 0.0)
    assert_allclose(credit.parts["global"] + credit.parts["turn"], credit.unit)
    assert credit.loss.denominator == "sequence"


def test_worked_example_of_equal_outcomes_still_learns() -> None:
    credit = _criticsearch(_batch(outcome=[1.0] * 3), label=LABELS)
    expected = np.where(SEARCH, np.where(LABELS == 1, 0.2673, -0.2004), 0.0)
    assert_allclose(credit.unit, expected, atol=5e-5)
    assert_array_equal(credit.parts["global"], 0.0)


def test_labels_of_turns_that_do_not_search_are_not_read() -> None:
    for said in (0.0, 1.0):
        credit = _criticsearch(_batch(), label=np.where(SEARCH, LABELS, said))
        assert_allclose(credit.unit, WORKED, atol=5e-5)
        assert credit.diagnostics["unparsed"] == 0.0


def test_which_turns_search_can_be_all_or_said_by_spans() -> None:
    full = np.where(SEARCH, LABELS, 1.0)
    everyone = _criticsearch(_batch(), label=full, search="all")
    assert_allclose(everyone.parts["turn"], 0.25 * (full - 0.6) / np.std(full, ddof=1), atol=1e-5)
    starts = np.flatnonzero(SEARCH)
    expected = _criticsearch(_batch(), label=LABELS).unit
    spans = {"search": Spans(starts, starts + 1), "other": Spans(np.array([0]), np.array([10]))}
    assert_array_equal(_criticsearch(_batch(spans=spans), label=LABELS, search="spans").unit, expected)
    wide = {"search": Spans(np.array([0, 1, 4, 7]), np.array([3, 3, 6, 9]))}  # over several turns, twice over one
    assert_array_equal(_criticsearch(_batch(spans=wide), label=LABELS, search="spans").unit, expected)
    with pytest.raises(OptionError, match=r"span table 'search'; the batch has spans \[\]"):
        _criticsearch(_batch(), label=LABELS, search="spans")


def test_the_answer_can_be_mixed_too() -> None:
    mixed = _criticsearch(_batch(), label=LABELS, answer_credit="mixed").unit
    assert_allclose(mixed[~SEARCH], 0.75 * np.array([0.5773, 0.5773, -1.1547]), atol=5e-5)
    assert_allclose(mixed[SEARCH], np.array(WORKED)[SEARCH], atol=5e-5)


def test_a_label_that_cannot_be_parsed_enters_no_mean_and_adds_nothing() -> None:
    holed = LABELS.copy()
    holed[[0, 5]] = np.nan
    credit = _criticsearch(_batch(), label=holed)
    left = holed[SEARCH & ~np.isnan(holed)]
    assert_allclose(credit.parts["turn"][1], 0.25 * (0 - left.mean()) / left.std(ddof=1), atol=1e-5)
    assert_allclose(credit.unit[[0, 5]], 0.75 * 0.57735, atol=1e-4)
    assert_allclose(credit.diagnostics["unparsed"], 2 / 7)
    assert_allclose(credit.diagnostics["good"], 1 / 5)
    mute = _criticsearch(_batch(), label=np.full(10, np.nan))
    assert_array_equal(mute.parts["turn"], 0.0)
    assert mute.diagnostics["unparsed"] == 1.0


def test_labels_all_alike_or_a_single_one_say_nothing() -> None:
    for same in (0.0, 1.0):
        assert_array_equal(_criticsearch(_batch(), label=np.full(10, same)).parts["turn"], 0.0)
    lone = np.full(10, np.nan)
    lone[1] = 1.0
    assert_array_equal(_criticsearch(_batch(), label=lone).parts["turn"], 0.0)


def test_labels_can_be_standardised_by_trajectory_or_left_raw() -> None:
    own = _criticsearch(_batch(), label=LABELS, turn_norm="trajectory").parts["turn"]
    half = np.sqrt(0.5)
    third = np.array([1, -2, 1]) / 3 / np.std([1, 0, 1], ddof=1)
    assert_allclose(own, 0.25 * np.array([*third, 0, -half, half, 0, 0, 0, 0]), atol=1e-6)
    raw = _criticsearch(_batch(), label=LABELS, turn_norm="none").parts["turn"]
    assert_array_equal(raw, 0.25 * np.where(SEARCH, LABELS, 0.0))


def test_prompts_share_no_labels() -> None:
    batch = Batch.from_turns([[1, 1]] * 4, outcome=[1.0, 0.0, 1.0, 0.0], group=[0, 1, 0, 1])
    label = np.array([1, 1, 0, 1, 0, 0, 0, 0.0])
    whole = _criticsearch(batch, label=label, search="all").unit.reshape(4, 2)
    for rows in ([0, 2], [1, 3]):
        part = _criticsearch(batch.take(rows), label=label.reshape(4, 2)[rows].ravel(), search="all")
        assert_allclose(part.unit.reshape(2, 2), whole[rows], atol=1e-12)


def test_without_the_turn_term_it_is_grpo() -> None:
    grpo = assign(_batch(), "grpo")
    assert isinstance(grpo, Credit)
    assert_array_equal(_criticsearch(_batch(), label=LABELS, alpha=0.0).token, grpo.token)


def test_a_prompt_of_one_rollout_learns_from_its_labels() -> None:
    batch = Batch.from_turns([[1, 1, 1]], outcome=[1.0], group=[0])
    unit = _criticsearch(batch, label=[1.0, 0.0, 1.0]).unit
    assert unit[2] == 0.0
    assert unit[1] < 0 < unit[0]
    raw = _criticsearch(batch, label=[1.0, 0.0, 1.0], single="raw").unit
    assert_allclose(raw[2], 1.0, atol=1e-5)


def test_what_is_no_label_and_weights_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match=r"'label'\[1\] = -1: expected one of 0, 1"):
        _criticsearch(_batch(), label=np.where(LABELS == 0, -1.0, LABELS))
    for alpha in (-0.1, 1.5):
        with pytest.raises(OptionError, match=f"alpha = {alpha}"):
            _criticsearch(_batch(), label=LABELS, alpha=alpha)


def test_the_critic_is_asked_and_says_what_it_saw() -> None:
    credit = _criticsearch(_batch(), judge=FakeJudge(mute=(1,)), rng=0)
    assert credit.evidence["label"]["provenance"] == "privileged"
    assert_allclose(credit.diagnostics["unparsed"], 1 / 7)
    assert credit.bill.judge_calls == 10
    plain = _criticsearch(_batch(), judge=FakeJudge(), rubric=UNAIDED, rng=0)
    assert plain.evidence["label"]["provenance"] == "model_judgement"
    assert RUBRIC.privileged
    assert not UNAIDED.privileged
    assert "gold" not in UNAIDED.template.lower()
