"""Where a record stands in a figure: its labels on the two axes, and its settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from ...edges.escape import plain
from ..coded import UNKNOWN
from ..query import values
from ..records import Record
from ..terms import Granularity, Setting

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
    ways: tuple[str, ...]


def place(record: Record, labels: str) -> Place:
    """The record by the labels of one origin, or of all ("any"), or its best ones (:data:`apportion.survey.query.Labels`)."""
    name = " ".join(plain(record.name).split()) or record.id

    def said(field: str, order: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(values(record, field, labels), key=list(order).index))

    return Place(
        name=name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…",
        date=record.date,
        settings=said("setting", SETTINGS),
        units=said("granularity", UNITS),
        ways=said("methodology", WAYS),
    )


def places(records: Iterable[Record], labels: str) -> list[Place]:
    """Every record's place, in one order for all figures: by first setting, then by date and name."""
    found = [place(record, labels) for record in records]
    return sorted(found, key=lambda p: (list(SETTINGS).index(p.settings[0]), p.date, p.name.lower()))
