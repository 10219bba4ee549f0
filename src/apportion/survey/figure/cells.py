"""One cell of the grid: names in as many columns as make it lowest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .canvas import MARK
from .places import Place
from .text import LINE, fits, width, wrapped

GAP = 0.045  # inches between the columns of a cell, and around its names
SPACE = 0.018  # inches between two names
DEEPEST = 3  # columns in one cell at most


@dataclass(frozen=True)
class Name:
    """A name in its cell: where its marks begin, and its lines."""

    place: Place
    x: float
    y: float
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    names: tuple[Name, ...]
    height: float


def cell(places: Sequence[Place], room: float) -> Cell:
    """The lowest arrangement of the names in ``room`` inches, with the fewest columns among equals.

    Several columns only where every word of every name fits in its own.
    """
    tries = [_columns(places, room, 1)]
    for k in range(2, min(DEEPEST, len(places)) + 1):
        if all(fits(p.name, _each(room, k) - MARK * len(p.settings)) for p in places):
            tries.append(_columns(places, room, k))
    return min(tries, key=lambda made: round(made.height, 6))


def least(places: Sequence[Place], part: str, most: float) -> float:
    """Inches that keep every word of the names whole; part: "-" if words may break after hyphens. No more than ``most``."""
    words = (MARK * len(p.settings) + width(word) for p in places for word in p.name.replace(part, f"{part} ").split())
    return min(max(words, default=0.0) + 2 * GAP + 0.01, most)


def _each(room: float, columns: int) -> float:
    return (room - GAP * (columns + 1)) / columns


def _columns(places: Sequence[Place], room: float, columns: int) -> Cell:
    each = _each(room, columns)
    lines = [tuple(wrapped(p.name, each - MARK * len(p.settings))) for p in places]
    heights = [len(one) * LINE + SPACE for one in lines]
    names, lowest, k = [], 0.0, 0
    for column in range(columns):
        y = GAP
        # Down one column, then down the next: each takes its share of what is left.
        share = sum(heights[k:]) / (columns - column)
        while k < len(places) and (column == columns - 1 or y - GAP + heights[k] / 2 < share):
            names.append(Name(places[k], GAP + column * (each + GAP), y + LINE / 2, lines[k]))
            y, k = y + heights[k], k + 1
        lowest = max(lowest, y)
    return Cell(tuple(names), lowest + GAP)
