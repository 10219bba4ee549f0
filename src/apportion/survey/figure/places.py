"""Where a record stands in a figure: its labels on the two axes, and its settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ...edges.escape import plain
from ..coded import UNKNOWN, best
from ..records import Record
from ..terms import Granularity, Setting

Labels = Literal["best", "survey"]

#: Heading of each label; the order is that of the axes. A label that nobody knows stands last.
SETTINGS: dict[str, str] = {**{s: s for s in get_args(Setting)}, UNKNOWN: "setting unknown"}
UNITS: dict[str, str] = {**{g: g for g in get_args(Granularity)}, UNKNOWN: "unknown"}
WAYS: dict[str, str] = {
    "monte-carlo": "Monte Carlo",
    "temporal-difference": "Temporal difference",
    "model-based": "Model-based, LLM as critic",
    "game-theoretic": "Game-theoretic",
    "information-theoretic": "Information-theoretic",
    "heuristic": "Heuristic",
    UNKNOWN: "Unknown",
}
LONGEST = 60  # letters of a name that are drawn


@dataclass(frozen=True)
class Place:
    """A record's name and its labels, each at least one; ``("unknown",)`` where no source says."""

    name: str
    date: str
    settings: tuple[str, ...]
    units: tuple[str, ...]
    way: str


def place(record: Record, labels: Labels) -> Place:
    """The record by its best labels (the paper's own where it was read), or by the survey's and its companion list's."""
    name = " ".join(plain(record.name).split()) or record.id
    return Place(
        name=name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…",
        date=record.date,
        settings=_several(record, "setting", labels, tuple(SETTINGS)),
        units=_several(record, "granularity", labels, tuple(UNITS)),
        way=_said(record, "methodology", labels) or UNKNOWN,
    )


def places(records: Iterable[Record], labels: Labels) -> list[Place]:
    """Every record's place, in one order for all figures: by first setting, then by date and name."""
    found = [place(record, labels) for record in records]
    return sorted(found, key=lambda p: (tuple(SETTINGS).index(p.settings[0]), p.date, p.name.lower()))


def _several(record: Record, field: str, labels: Labels, order: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(_said(record, field, labels) or (UNKNOWN,), key=order.index))


def _said(record: Record, field: str, labels: Labels) -> Any:
    if labels == "best":
        return record.label(field)
    claims = tuple(c for c in getattr(record, field) if c.from_ in ("survey", "companion"))
    return best(claims).value if claims else None
