"""All records together: nothing twice, nothing without its source, and the lists they come from whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from apportion.survey import Record, records
from apportion.survey.coded import Coded
from apportion.survey.evidence import Facts

#: arXiv ids of the survey's core papers. PURE (2504.15275) and LaRe (2412.11120) stand in its
#: companion's list with ids of other papers.
CORE = {
    "2410.01679", "2411.08302", "2412.02685", "2404.12358", "2505.23564", "2505.20417", "2509.18314", "2504.15275", "2507.01551",
    "2508.02298", "2510.08899", "2509.03646", "2601.10201", "2601.14209", "2601.05688", "2511.08325", "2503.15478", "2505.11821",
    "2512.17008", "2511.20718", "2509.14480", "2603.23550", "2603.08754", "2603.06859", "2603.21563", "2511.12159", "2505.10978",
    "2405.15821", "2402.19446", "2508.00344", "2512.04949", "2510.14967", "2509.19199", "2411.03817", "2412.11120", "2511.13288",
    "2502.16863", "2504.12961", "2602.08335", "2601.23228", "2602.08847",
}  # fmt: skip
ADJACENT = {"2508.03680", "2504.20073", "2505.20732", "2601.03555", "2512.07478", "2411.00809"}

#: Batch of the companion's catalogue -> its papers by scope.
LATER = {
    "2026.05": {"core": 6, "adjacent": 1, "related": 2},
    "2026.07": {"core": 10, "near-core": 3, "related": 4, "evaluation": 1},
    "2026.08": {"core": 1},
}


def _companion_scope(found: Record) -> str | None:
    return next((c.value for c in found.scope if c.from_ == "companion"), None)


def _claims(found: Record) -> Iterator[tuple[str, Coded[Any]]]:
    """Every coded value of a record, with its place in the file."""
    fields: dict[str, Any] = {name: getattr(found, name) for name in Record.model_fields}
    fields |= {f"facts.{name}": getattr(found.facts, name) for name in Facts.model_fields}
    fields |= {f"results.{i}.against": result.against for i, result in enumerate(found.results)}
    fields |= {f"results.{i}.base_model": result.base_model for i, result in enumerate(found.results)}
    for name, value in fields.items():
        several = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, tuple) else [("", value)]
        yield from ((f"{name}.{key}".rstrip("."), said) for key, said in several if isinstance(said, Coded))


def test_what_was_read_says_at_which_place() -> None:
    """A judgement of ours has no place; everything else can be looked up."""
    read = [(r.id, where, c.at) for r in records().values() for where, c in _claims(r) if c.known and c.from_ != "ours"]
    assert len(read) > 10 * len(records())
    assert [(id_, where) for id_, where, at in read if at is None] == []
    others = re.compile(r"\breviews?\b|summar|second hand", re.IGNORECASE)
    claims = [(r.id, where, c) for r in records().values() for where, c in _claims(r) if c.from_ == "primary"]
    assert [(id_, where) for id_, where, c in claims if others.search(c.at or "")] == []  # what others write is secondary
    assert [(r.id, result.says) for r in records().values() for result in r.results if result.at is None] == []


def test_no_two_records_are_of_one_paper_or_share_a_name() -> None:
    for said in (
        [r.arxiv for r in records().values() if r.arxiv],
        [r.title.casefold() for r in records().values() if r.title],
        [name.casefold() for r in records().values() for name in {r.id, r.name.casefold(), *(a.casefold() for a in r.aliases)}],
    ):
        assert [one for one, times in Counter(said).items() if times > 1] == []


def test_all_authors_are_named() -> None:
    assert [r.id for r in records().values() if re.search(r"et al|others|;", r.authors or "")] == []


def test_a_date_is_the_month_of_the_arxiv_id_or_a_note_says_why() -> None:
    dated = [(r.id, r.date, f"20{r.arxiv[:2]}-{r.arxiv[2:4]}") for r in records().values() if r.arxiv and not r.arxiv_note]
    assert [(id_, date) for id_, date, month in dated if date != month] == []


def test_a_reviewed_paper_appeared_somewhere() -> None:
    reviewed = [r for r in records().values() if r.peer_reviewed.value]
    assert [r.id for r in reviewed if not r.venue.value or "preprint" in r.venue.value] == []


def test_a_licence_is_that_of_code_which_is_named() -> None:
    named = [r for r in records().values() if r.licence.known and r.snapshot != "ours"]
    assert [r.id for r in named if not r.code.known] == []
    assert [r.id for r in records().values() if r.code.known and not re.fullmatch(r"[\w.-]+/[\w.-]+", str(r.code.value))] == []


def test_a_matched_comparator_is_an_episode_level_baseline_reported() -> None:
    """The fact and the checklist item are one thing: they cannot say different ones."""
    both = [
        (r.id, r.facts.comparator.value == "matched", r.checklist["episode_baseline"].value == "reported")
        for r in records().values()
    ]
    assert [id_ for id_, matched, reported in both if matched != reported] == []


def test_the_surveys_gaps_are_entered_for_its_core_alone() -> None:
    """Its counts are of 41 papers: GPU-hours 0, baselines of equal compute 0."""
    for item in ("gpu_hours", "baseline_budget"):
        said = {r.id for r in records().values() if (r.checklist[item].at or "").startswith("v2 gaps")}
        assert said <= {r.id for r in records().values() if r.snapshot == "survey" and _companion_scope(r) == "core"}
        assert len(said) > 10


def test_the_surveys_41_core_and_6_adjacent_papers_are_here() -> None:
    here = [(r.arxiv, _companion_scope(r)) for r in records().values() if r.snapshot == "survey"]
    assert sorted(here) == sorted([(a, "core") for a in CORE] + [(a, "adjacent") for a in ADJACENT])
    assert (len(CORE), len(ADJACENT)) == (41, 6)


def test_the_28_later_papers_of_the_companion_are_here() -> None:
    """As its catalogue of August 2026 lists them; its related signals and threads are all "related"."""
    here = Counter((r.snapshot, _companion_scope(r)) for r in records().values() if r.snapshot in LATER)
    assert here == {(snapshot, scope): n for snapshot, counts in LATER.items() for scope, n in counts.items()}
    assert sum(here.values()) == 28
