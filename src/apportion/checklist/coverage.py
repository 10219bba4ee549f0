"""How many of the survey's core papers report each item, from the records' coded claims.

A paper is counted by the scope that the *survey* gave it (or its author's companion list), so that the
denominator is the survey's, whatever the papers say of themselves. ``unknown`` is counted and shown: it
means that no source we have says, not that the paper is silent. A core paper without a record is not
entered, and is said so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from ..survey import Record
from ..survey.terms import ITEMS, Answer, Origin
from .published import Audit, audits

#: Core methods in the survey's snapshot.
CORE = 41
#: What an item can be, in the order it is shown.
STATES: tuple[str, ...] = (*get_args(Answer), "unknown")


@dataclass(frozen=True)
class Covered:
    """One item: which papers (by record id) answer it how, and who said so (origin -> papers, known ones only)."""

    item: str
    papers: Mapping[str, tuple[str, ...]]
    origins: Mapping[str, int]

    def count(self, state: str) -> int:
        return len(self.papers[state])


@dataclass(frozen=True)
class Coverage:
    """``ids``: the core papers that have a record; ``of``: how many core papers there are."""

    ids: tuple[str, ...]
    of: int
    items: tuple[Covered, ...]
    published: tuple[Audit, ...]

    @property
    def missing(self) -> int:
        """Core papers that have no record yet."""
        return max(self.of - len(self.ids), 0)


def core(records: Iterable[Record]) -> tuple[Record, ...]:
    """The records of the survey's core methods: in its snapshot, and core by its own or its author's label."""
    return tuple(r for r in records if r.snapshot == "survey" and _survey_scope(r) == "core")


def coverage(records: Mapping[str, Record], origins: Iterable[Origin] | None = None) -> Coverage:
    """Count the answers of the core papers, item by item.

    origins: believe these sources only; a claim of any other counts as unknown. None: all of them.
    """
    chosen = core(records.values())
    believed = frozenset(origins) if origins is not None else frozenset(get_args(Origin))
    counted = tuple(_covered(item, chosen, believed) for item in ITEMS)
    return Coverage(tuple(r.id for r in chosen), CORE, counted, audits())


def _survey_scope(record: Record) -> str | None:
    """Core or adjacent as the survey has it: its own claim, else its author's list's."""
    said = {claim.from_: claim.value for claim in record.scope if claim.known}
    return said.get("survey") or said.get("companion")


def _covered(item: str, chosen: Iterable[Record], believed: frozenset[str]) -> Covered:
    papers: dict[str, list[str]] = {state: [] for state in STATES}
    origins: Counter[str] = Counter()
    for record in chosen:
        claim = record.checklist[item]
        answer = claim.value if claim.from_ in believed else None
        papers[answer or "unknown"].append(record.id)
        if answer is not None:
            origins[str(claim.from_)] += 1
    ordered = {origin: origins[origin] for origin in get_args(Origin) if origins[origin]}
    return Covered(item, {state: tuple(ids) for state, ids in papers.items()}, ordered)


def contradicting(found: Coverage, audit: Audit) -> dict[str, tuple[str, ...]]:
    """Per field of an audit of the same papers, those we count as reported where it found fewer.

    Empty for an audit of other papers: there is nothing to compare one by one.
    """
    ours = {one.item: one.papers["reported"] for one in found.items}
    return {
        field.name: ours[field.item]
        for field in audit.fields
        if audit.same_papers and len(ours[field.item]) > field.counts.get("yes", audit.of)
    }


def to_plain(found: Coverage, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """All of it as JSON-able data; ``definitions``: per item what counts (its question and rules)."""
    return {
        "of": found.of,
        "entered": len(found.ids),
        "not_entered": found.missing,
        "papers": list(found.ids),
        "items": [
            {
                "id": one.item,
                **definitions[one.item],
                "counts": {state: one.count(state) for state in STATES},
                "from": dict(one.origins),
                "papers": {state: list(ids) for state, ids in one.papers.items()},
            }
            for one in found.items
        ],
        "published": [
            {**audit.model_dump(), "we_count_more": {name: list(ids) for name, ids in contradicting(found, audit).items()}}
            for audit in found.published
        ],
    }
