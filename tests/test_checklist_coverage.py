"""Coverage of the checklist in the literature: what is counted, of which papers, beside which published numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from apportion.checklist.coverage import CORE, STATES, contradicting, core, coverage, to_plain
from apportion.checklist.published import audits
from apportion.survey import Record, records
from apportion.survey.terms import ITEMS


def _record(id_: str, *, scope: Any = None, snapshot: str = "survey", **answers: Any) -> Record:
    """A record that says nothing but its scope and some answers of the checklist."""
    said = {"is": "unknown"}
    names = ("venue", "peer_reviewed", "code", "licence", "baseline_family", "needs", "cost", "base_models", "benchmarks")
    facts = dict.fromkeys(("role", "comparator", "benchmarks", "seeds", "interval"), said)
    return Record.model_validate(
        {
            "id": id_, "name": id_, "title": None, "authors": None, "date": "2025-01", "arxiv": None,
            "snapshot": snapshot, "status": None, "facts": facts,
            "scope": scope or [{"is": "core", "from": "companion"}],
            "setting": [said], "granularity": [said], "methodology": [said], **dict.fromkeys(names, said),
            "checklist": {item: answers.get(item, said) for item in ITEMS},
            "diagnostics": dict.fromkeys("TORHVC", said),
        }
    )  # fmt: skip


def _claim(answer: str, origin: str = "primary") -> dict[str, str]:
    return {"is": answer, "from": origin}


def _all(*found: Record) -> Mapping[str, Record]:
    return {r.id: r for r in found}


def _item(found: Any, item: str) -> Any:
    return next(one for one in found.items if one.item == item)


def test_each_answer_is_counted_and_unknown_stays_unknown() -> None:
    answers = ("reported", "partial", "partial", "not_reported", "not_applicable")
    papers = [_record(f"p{i}", spread=_claim(answer)) for i, answer in enumerate(answers)] + [_record("silent")]
    spread = _item(coverage(_all(*papers)), "spread")
    assert [spread.count(state) for state in STATES] == [1, 2, 1, 1, 1]
    assert spread.papers["partial"] == ("p1", "p2")
    assert spread.papers["unknown"] == ("silent",)
    assert spread.origins == {"primary": 5}


def test_the_denominator_is_the_surveys_own_core() -> None:
    papers = _all(
        _record("core_by_the_survey", scope=[{"is": "core", "from": "survey"}, {"is": "adjacent", "from": "companion"}]),
        _record("core_by_the_list_only", scope=[{"is": "adjacent", "from": "primary"}, {"is": "core", "from": "companion"}]),
        _record("core_by_itself_only", scope=[{"is": "adjacent", "from": "survey"}, {"is": "core", "from": "primary"}]),
        _record("later", snapshot="2026.07"),
        _record("unsaid", scope=[{"is": "unknown"}]),
    )
    assert [r.id for r in core(papers.values())] == ["core_by_the_survey", "core_by_the_list_only"]
    found = coverage(papers)
    assert (found.of, found.missing) == (41, 39)


def test_claims_of_one_origin_can_be_counted_alone() -> None:
    papers = _all(_record("a", metric=_claim("reported", "survey")), _record("b", metric=_claim("reported", "secondary")))
    metric = _item(coverage(papers, ("survey",)), "metric")
    assert metric.papers["reported"] == ("a",)
    assert metric.papers["unknown"] == ("b",)
    assert metric.origins == {"survey": 1}


def test_papers_that_contradict_a_published_gap_are_named_and_nothing_is_merged() -> None:
    papers = _all(_record("a", gpu_hours=_claim("reported")), _record("b", spread=_claim("reported")))
    found = coverage(papers)
    gaps, later = found.published
    assert contradicting(found, gaps) == {"GPU-hours": ("a",)}  # one with spread is within the survey's two
    assert contradicting(found, later) == {}
    plain = to_plain(found, {item: {"question": item} for item in ITEMS})
    assert plain["published"][0]["we_count_more"] == {"GPU-hours": ["a"]}
    assert plain["published"][0]["fields"][0]["counts"] == {"yes": 0}
    assert next(i for i in plain["items"] if i["id"] == "gpu_hours")["counts"]["reported"] == 1


def test_an_audit_of_other_papers_is_not_compared_one_by_one() -> None:
    papers = _all(*(_record(f"p{i}", episode_baseline=_claim("reported")) for i in range(41)))
    found = coverage(papers)
    assert _item(found, "episode_baseline").count("reported") == 41  # more than the later audit's 40, which are others
    assert contradicting(found, found.published[1]) == {}


def test_published_numbers_are_the_published_ones() -> None:
    gaps, later = audits()
    assert [(f.item, f.counts["yes"], gaps.of) for f in gaps.fields] == [
        ("gpu_hours", 0, 41), ("baseline_budget", 0, 41), ("spread", 2, 41),
    ]  # fmt: skip
    assert [list(f.counts.values()) for f in later.fields] == [
        [40, 2],
        [19, 21, 2],
        [39, 3],
        [21, 2, 12, 6, 1],
        [10, 7, 1, 1, 2, 21],
    ]


def test_the_later_audit_adds_up_and_every_number_has_a_definition() -> None:
    for audit in audits():
        for field in audit.fields:
            assert field.definition
            assert field.differs
    assert all(sum(field.counts.values()) == 42 for field in audits()[1].fields)


def test_the_inventory_counts_every_entered_paper_once_per_item() -> None:
    found = coverage(records())
    assert len(found.ids) <= CORE
    for one in found.items:
        assert sum(one.count(state) for state in STATES) == len(found.ids)
        assert sum(one.origins.values()) == len(found.ids) - one.count("unknown")


@pytest.mark.parametrize("item", ["gpu_hours", "baseline_budget"])
def test_a_gap_of_the_survey_is_kept_where_nothing_better_was_read(item: str) -> None:
    """Claims that rest on the survey's 0 of 41 may only say that it is not reported."""
    for record in core(records().values()):
        claim = record.checklist[item]
        if claim.from_ == "survey":
            assert claim.value == "not_reported", record.id
