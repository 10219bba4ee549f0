"""The taxonomy as a grid: a row per unit that gets credit, a column per way to compute it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import permutations, product

from .canvas import BAND, MARK, MUTED, RULE, Canvas
from .cells import GAP, Cell, cell, least
from .legend import FOOT, HEAD, footer, header
from .places import UNITS, WAYS, Place
from .text import HEADING, LINE, SMALL, width, wrapped

STEP = 0.04  # inches by which columns trade width
WIDEST = 1.4  # inches that the longest word of a name can claim for its column


def grid(places: Sequence[Place], page: float, note: str) -> Canvas:
    """The grid on a page ``page`` inches wide, as low as trading width between its columns makes it."""
    rows = [u for u in UNITS if any(u in p.units for p in places)]
    columns = [w for w in WAYS if any(w in p.ways for p in places)]
    inside = {(u, w): [p for p in places if u in p.units and w in p.ways] for u in rows for w in columns}
    left = max((width(UNITS[u], HEADING) for u in rows), default=0.0) + 2 * GAP
    widths = _fit(inside, rows, columns, page - left)
    made = {key: cell(inside[key], widths[columns.index(key[1])]) for key in inside}
    return _drawn(places, rows, columns, made, left, widths, page, note)


def _drawn(
    places: Sequence[Place],
    rows: list[str],
    columns: list[str],
    made: dict[tuple[str, str], Cell],
    left: float,
    widths: list[float],
    page: float,
    note: str,
) -> Canvas:
    headings = [_heading(w, room) for w, room in zip(columns, widths, strict=True)]
    top = HEAD + max((len(h) for h in headings), default=0) * LINE + 2 * GAP
    heights = [max(made[u, w].height for w in columns) for u in rows]
    foot = wrapped(note, page - 2 * GAP, SMALL)
    canvas = Canvas(page, top + sum(heights) + FOOT + len(foot) * LINE)
    header(canvas, GAP, places)
    edges = [left + sum(widths[:k]) for k in range(len(widths) + 1)]
    for x, heading in zip(edges, headings, strict=False):
        canvas.text(x + GAP, HEAD + GAP + LINE / 2, heading, size=HEADING, bold=True)
    y = top
    for k, (unit, height) in enumerate(zip(rows, heights, strict=True)):
        if k % 2 == 0:
            canvas.box(0, y, page, height, BAND)
        canvas.text(GAP, y + GAP + LINE / 2, [UNITS[unit]], size=HEADING)
        for x, way in zip(edges, columns, strict=False):
            for name in made[unit, way].names:
                marks = name.place.settings
                canvas.marks(x + name.x, y + name.y, marks)
                canvas.text(x + name.x + MARK * len(marks), y + name.y, name.lines)
        y += height
    for x in edges[:-1]:
        canvas.line([(x, HEAD), (x, y)])
    for at in (top, y):
        canvas.line([(0, at), (page, at)], MUTED if at == top else RULE)
    footer(canvas, GAP, y, foot)
    return canvas


def _heading(way: str, room: float) -> list[str]:
    return wrapped(WAYS[way], room - 2 * GAP + 0.01, HEADING, bold=True)


def _fit(inside: dict[tuple[str, str], list[Place]], rows: list[str], columns: list[str], room: float) -> list[float]:
    """Widths that sum to ``room``: what every column needs for its words, and the rest where it makes the grid lowest.

    From several divisions of the rest, two columns trade steps of it as long as that helps; the lowest end wins.
    """
    lowest = _lowest(inside, rows, columns, room)
    n, count = len(columns), max(int((room - sum(lowest)) / STEP), 0)

    @cache
    def heights(k: int, steps: int) -> list[float]:
        room = lowest[k] + steps * STEP
        return [len(_heading(columns[k], room)) * LINE, *(cell(inside[u, columns[k]], room).height for u in rows)]

    def total(steps: tuple[int, ...]) -> float:
        return float(sum(map(max, zip(*(heights(k, s) for k, s in enumerate(steps)), strict=True))))

    def settled(steps: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
        here = total(steps), steps
        while True:
            trades = [
                tuple(s + by * ((i == to) - (i == giver)) for i, s in enumerate(here[1]))
                for (to, giver), by in product(permutations(range(n), 2), (1, 2, 4, 8))
                if here[1][giver] >= by
            ]
            best = min(((total(t), t) for t in trades), default=here)
            if best[0] > here[0] - 1e-6:
                return here
            here = best

    equal = tuple(count // n + (k < count % n) for k in range(n))
    starts = [equal, *(tuple(count * (k == i) for k in range(n)) for i in range(n))]
    steps = min(settled(start) for start in starts)[1]
    rest = (room - sum(lowest) - count * STEP) / n
    return [w + s * STEP + rest for w, s in zip(lowest, steps, strict=True)]


def _lowest(inside: dict[tuple[str, str], list[Place]], rows: list[str], columns: list[str], room: float) -> list[float]:
    """What each column needs: whole words of names; where that is more than ``room``, their parts between hyphens;
    where that is too, a share of it. Headings are never broken inside a word."""
    heads = [max(width(word, HEADING, bold=True) for word in WAYS[w].replace("-", "- ").split()) + 2 * GAP for w in columns]
    for part in (" ", "-"):
        names = [least([p for u in rows for p in inside[u, w]], part, WIDEST) for w in columns]
        found = [max(pair) for pair in zip(heads, names, strict=True)]
        if sum(found) <= room:
            return found
    share = max(room - sum(heads), 0.0) / (sum(found) - sum(heads))
    return [h + (w - h) * share for h, w in zip(heads, found, strict=True)]
