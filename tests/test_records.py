"""Records of the inventory: what they hold, and how a broken one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apportion.survey import RecordError, load, record, records
from apportion.survey.coded import Coded, best
from apportion.survey.evidence import Facts, level
from apportion.survey.terms import DIAGNOSTICS, ITEMS

ITEM_LINES = "".join(f"  {item}: unknown\n" for item in ITEMS)
DIAGNOSTIC_LINES = "".join(f"  {code}: unknown\n" for code in DIAGNOSTICS)

GOOD = f"""id: x
name: X
title: A title
authors: Someone
date: "2025-01"
arxiv: "2501.00010"
venue: unknown
peer_reviewed: unknown
code: unknown
licence: unknown
snapshot: survey
scope: [{{is: core, from: survey}}]
setting: [{{is: [agentic], from: survey}}]
granularity:
  - {{is: [turn], from: survey, at: grid}}
  - {{is: [step], from: primary, at: section 3}}
methodology: [{{is: monte-carlo, from: survey}}]
baseline_family: {{is: [G], from: primary, at: abstract}}
facts:
  role: {{is: method, from: ours}}
  comparator: {{is: matched, from: primary}}
  benchmarks: {{is: 2, from: primary}}
  seeds: unknown
  interval: unknown
needs: unknown
cost: unknown
base_models: unknown
benchmarks: unknown
checklist:
{ITEM_LINES}diagnostics:
{DIAGNOSTIC_LINES}status: secondary
"""


def test_records_know_their_source() -> None:
    assert record("rloo").arxiv == "2402.14740"
    assert "2402.14740" in record("rloo").source
    with pytest.raises(RecordError, match="no record 'nobody'"):
        record("nobody")


def test_a_record_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    found = load(path)
    assert found.label("setting") == ("agentic",)
    assert found.year == 2025
    assert found.evidence == "S"


def test_labels_that_differ_are_kept_apart_and_the_primary_source_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    found = load(path)
    assert [c.is_ for c in found.granularity] == [("turn",), ("step",)]
    assert found.label("granularity") == ("step",)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[turn]", "[tun]", r"x.yaml:15: granularity.*'token'"),
        ('date: "2025-01"\n', "", r"x.yaml:1: date: Field required"),
        ("venue:", "venu:", r"x.yaml:7: venu: Extra"),
        ('"2501.00010"', "2501.00010", r"x.yaml:6: arxiv: .*quotes"),
        ("status: secondary", "status: ours", r"x.yaml:1: .*both 'ours'"),
        ("id: x", "id: y", r"x.yaml:1: id = 'y': expected 'x'"),
        ("name: X", "name: [X", r"x.yaml:\d+: "),
        ("title: A title", "title: A title\ntitle: B", r"x.yaml:4: .*duplicate"),
        ("  spread: unknown\n", "", r"x.yaml:\d+: checklist: 'spread' is missing"),
        ("  spread: unknown\n", "  spred: unknown\n  spread: unknown\n", r"x.yaml:\d+: checklist: 'spred' is no item"),
        ("spread: unknown", "spread: yes", r"x.yaml:\d+: checklist.spread: say where it comes from"),
        ("spread: unknown", "spread: {is: reported}", r"x.yaml:\d+: checklist.spread: 'from' is missing"),
        ("spread: unknown", "spread: {is: maybe, from: ours}", r"x.yaml:\d+: checklist.spread.*'reported'"),
        (GOOD, "- a list\n", r"x.yaml:1: expected keys"),
    ],
)
def test_a_broken_record_is_refused_with_its_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "x.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(RecordError, match=says):
        load(path)


def test_records_are_named_by_their_files() -> None:
    assert list(records()) == sorted(records())
    assert all(id_ == found.id for id_, found in records().items())


def test_the_count_of_benchmarks_is_the_length_of_their_list_or_says_why_not() -> None:
    unexplained = {}
    for id_, found in records().items():
        named = found.benchmarks.value
        counted = found.facts.benchmarks
        if counted.value != (None if named is None else len(named)) and counted.note is None:
            unexplained[id_] = (counted.value, named)
    assert unexplained == {}


def _facts(**known: Any) -> Facts:
    facts: dict[str, Any] = dict.fromkeys(("comparator", "benchmarks", "seeds", "interval"), "unknown")
    facts["role"] = {"is": "method", "from": "ours"}
    return Facts.model_validate(facts | {k: {"is": v, "from": "primary"} for k, v in known.items()})


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"role": "enabler", "comparator": "matched", "benchmarks": 5}, "E"),
        ({"role": "analysis"}, "A"),
        ({"comparator": "none"}, "A"),
        ({"comparator": "unmatched", "benchmarks": 9, "seeds": 9}, "L"),
        ({"comparator": "matched", "benchmarks": 2}, "S"),
        ({"comparator": "matched", "benchmarks": 1, "seeds": 3}, "S"),
        ({"comparator": "matched", "interval": True}, "S"),
        ({"comparator": "matched", "benchmarks": 1, "seeds": 2, "interval": False}, "L"),
        ({"comparator": "matched", "benchmarks": 1}, "unknown"),
        ({"benchmarks": 9, "seeds": 9, "interval": True}, "unknown"),
    ],
)
def test_the_evidence_level_follows_from_the_facts(known: dict[str, Any], expected: str) -> None:
    assert level(_facts(**known)) == expected


def test_a_known_claim_is_believed_before_an_unknown_one() -> None:
    claims = (Coded[str].model_validate("unknown"), Coded[str].model_validate({"is": "a", "from": "ours"}))
    assert best(claims).value == "a"
    assert best(claims[:1]).value is None
