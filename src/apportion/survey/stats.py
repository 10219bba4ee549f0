"""Counts of the inventory: by axis, setting, evidence and snapshot; what is unknown, and where sources differ.

A record with several labels on an axis counts once under each, so columns may add up to more than the records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from . import terms
from .coded import Coded
from .derived import by_origin, differ
from .query import FILTERS, LABELLED, registered, values
from .records import Record, records

#: What is counted, in this order.
COUNTED = ("snapshot", "scope", "setting", "granularity", "methodology", "evidence", "baseline", "needs")


def stats(found: Sequence[Record], labels: str = "best") -> dict[str, Any]:
    """The counts as plain data; ``labels`` says whose labels count, as in ``papers``."""
    here = registered()
    return {
        "records": len(found),
        "labels": labels,
        "counts": {name: _counts(found, name, labels) for name in COUNTED},
        "grid": _grid(found, labels),
        "implemented": [r.id for r in found if r.id in here],
        "not_implemented": [r.id for r in found if r.id not in here],
        "methods_without_a_record": sorted(here - set(records())),
        "unknown": _unknown(found),
        "sources_differ": {field: _differences(found, field) for field in LABELLED},
    }


def _counts(found: Sequence[Record], name: str, labels: str) -> dict[str, int]:
    said = Counter(word for r in found for word in values(r, name, labels))
    return {word: said[word] for word in FILTERS[name] if said[word]}


def _grid(found: Sequence[Record], labels: str) -> dict[str, dict[str, int]]:
    """Granularity -> methodology -> how many."""
    cells = Counter((g, m) for r in found for g in values(r, "granularity", labels) for m in values(r, "methodology", labels))
    rows, columns = (*get_args(terms.Granularity), "unknown"), (*get_args(terms.Methodology), "unknown")
    drawn = [m for m in columns if any(cells[g, m] for g in rows)]
    return {g: {m: cells[g, m] for m in drawn} for g in rows if any(cells[g, m] for m in drawn)}


def _unknown(found: Sequence[Record]) -> dict[str, int]:
    """Field -> in how many records no source says it; fields that all records say are there with 0."""
    silent: Counter[str] = Counter()
    for r in found:
        for name, claims in fields(r):
            silent[name] += not any(c.known for c in claims)
    return dict(silent)


def fields(found: Record) -> Iterator[tuple[str, Sequence[Coded[Any]]]]:
    """Every coded field of a record with its claims: "facts.seeds", "checklist.spread", "granularity" ..."""
    for name in Record.model_fields:
        value = getattr(found, name)
        if isinstance(value, Coded):
            yield name, (value,)
        elif name in LABELLED:
            yield name, value
    yield from ((f"facts.{name}", (getattr(found.facts, name),)) for name in type(found.facts).model_fields)
    yield from ((f"checklist.{item}", (said,)) for item, said in found.checklist.items())
    yield from ((f"diagnostics.{code}", (said,)) for code, said in found.diagnostics.items())


def _differences(found: Sequence[Record], field: str) -> dict[str, dict[str, list[str]]]:
    """Id -> origin -> what it says, for records whose sources differ on ``field``."""
    return {r.id: by_origin(r, field) for r in found if field in differ(r)}
