"""The survey's three scorecards (v2, Table 12), made again from the records."""

from __future__ import annotations

from typing import Any

import pytest

from apportion.checklist.score import score
from apportion.checklist.scorecards import SCORED, claimed, evidence, published
from apportion.checklist.scorecards import TABLE as TABLE_AT
from apportion.survey import record
from apportion.survey.coded import Coded
from apportion.survey.terms import ITEMS

WORDS = {"y": "reported", "p": "partial", "n": "not_reported"}

#: The table as it was transcribed: item -> HICRA, GiGPO, M-GRPO.
TABLE = {
    "base_model": "yyy",
    "training_data": "ppn",
    "credit_unit": "yyy",
    "methodology": "yyy",
    "episode_baseline": "yyy",
    "baseline_budget": "nnn",
    "credit_ablation": "ypn",
    "benchmarks": "yyp",
    "spread": "pnn",
    "gpu_hours": "nnn",
    "credit_overhead": "ppn",
    "mean_length": "pyn",
}


@pytest.mark.parametrize("id_", SCORED)
def test_a_published_scorecard_is_what_the_record_says(id_: str) -> None:
    column = SCORED.index(id_)
    assert published(record(id_)) == {item: WORDS[row[column]] for item, row in TABLE.items()}


@pytest.mark.parametrize(
    ("id_", "required", "recommended"),
    [
        ("hicra", (5, 2, 2, 1), (1, 2, 0, 1)),
        ("gigpo", (6, 1, 2, 1), (0, 2, 1, 1)),
        ("m_grpo", (4, 1, 4, 1), (0, 0, 3, 1)),
    ],
)
def test_the_score_of_a_published_scorecard(id_: str, required: tuple[int, ...], recommended: tuple[int, ...]) -> None:
    """Reported, partial, not reported and unscored, counted by hand in the table: 10 required and 4 recommended."""
    found = score(published(record(id_)))
    for tally, expected in ((found.required, required), (found.recommended, recommended)):
        assert (tally.reported, tally.partial, tally.not_reported, tally.unanswered) == expected
        assert tally.of == sum(expected)


def test_two_items_are_not_scored_in_the_table() -> None:
    assert set(ITEMS) - set(TABLE) == {"metric", "length_distribution"}


def test_claims_of_other_sources_stay_out_of_the_published_scorecard() -> None:
    gigpo = record("gigpo")
    assert "metric" in claimed(gigpo)
    assert "metric" not in published(gigpo)


def test_another_source_that_names_the_table_is_not_the_table() -> None:
    gigpo = record("gigpo")
    retold = Coded[Any].model_validate({"is": "reported", "from": "secondary", "at": TABLE_AT})
    changed = gigpo.model_copy(update={"checklist": gigpo.checklist | {"spread": retold}})
    assert "spread" not in published(changed)


def test_every_answer_says_where_it_was_read() -> None:
    found = evidence(record("gigpo"), published(record("gigpo")))
    assert found["spread"]["where"] == "survey: v2 Table 12"
    assert "three seeds" in found["spread"]["why"]
