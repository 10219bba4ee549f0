"""The taxonomy as a tree: setting, then unit, then way, then the names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .canvas import BAND, INK, MARK, MARKS, MUTED, Canvas
from .legend import FOOT, footer
from .places import SETTINGS, UNITS, WAYS, Place
from .text import LINE, SMALL, width, wrapped

PAD = 0.03  # inches above and below the text in a box
SIDE = 0.06  # inches beside it
BETWEEN = 0.035  # inches between two leaves
APART = 0.07  # inches more between two settings
JOINT = 0.18  # inches between two levels, where the branches run


@dataclass(frozen=True)
class Leaf:
    """One branch's end: what leads to it, and its names in lines."""

    path: tuple[str, str, str]
    names: list[str]
    y: float
    height: float


def tree(places: Sequence[Place], page: float, note: str) -> Canvas:
    """The tree on a page ``page`` inches wide. A record with several labels stands in each of its branches."""
    columns = _columns(places)
    room = page - columns[3] - 2 * SIDE
    leaves, y, before = [], 0.02, ""
    for path in _paths(places):
        names = sorted((p.name for p in places if _leads(p, path)), key=str.lower)
        lines = wrapped(", ".join(names), room)
        height = len(lines) * LINE + 2 * PAD
        y += 0.0 if not before else BETWEEN if before == path[0] else BETWEEN + APART
        leaves.append(Leaf(path, lines, y, height))
        y, before = y + height, path[0]
    foot = wrapped(note, page, SMALL)
    canvas = Canvas(page, y + FOOT + len(foot) * LINE + 0.02)
    for leaf in leaves:
        _leaf(canvas, leaf, columns, page)
    for level in (1, 0):
        _branches(canvas, leaves, level, columns)
    footer(canvas, 0.0, y, foot)
    return canvas


def _paths(places: Sequence[Place]) -> list[tuple[str, str, str]]:
    return [(s, u, w) for s in SETTINGS for u in UNITS for w in WAYS if any(_leads(p, (s, u, w)) for p in places)]


def _leads(p: Place, path: tuple[str, str, str]) -> bool:
    return path[0] in p.settings and path[1] in p.units and path[2] in p.ways


def _way(way: str) -> str:
    """A way's heading without what it adds after a comma: a branch has one line."""
    return WAYS[way].split(",")[0]


def _columns(places: Sequence[Place]) -> tuple[float, float, float, float]:
    """Where each level begins: as wide as its widest label."""
    paths = _paths(places)
    settings = max((MARK + width(SETTINGS[p[0]], bold=True) for p in paths), default=0.0) + 2 * SIDE
    units = max((width(UNITS[p[1]]) for p in paths), default=0.0) + 2 * SIDE
    ways = max((width(_way(p[2])) for p in paths), default=0.0) + 2 * SIDE
    return 0.0, settings + JOINT, settings + units + 2 * JOINT, settings + units + ways + 3 * JOINT


def _leaf(canvas: Canvas, leaf: Leaf, columns: tuple[float, ...], page: float) -> None:
    wide = columns[3] - JOINT - columns[2]
    middle = leaf.y + leaf.height / 2
    canvas.box(columns[2], leaf.y, wide, leaf.height, BAND)
    canvas.text(columns[2] + SIDE, middle, [_way(leaf.path[2])])
    canvas.line([(columns[3] - JOINT, middle), (columns[3], middle)])
    canvas.line([(columns[3], leaf.y), (columns[3], leaf.y + leaf.height)], MARKS[leaf.path[0]][1])
    canvas.text(columns[3] + SIDE, _first(middle, leaf.names), leaf.names)


def _branches(canvas: Canvas, leaves: Sequence[Leaf], level: int, columns: tuple[float, ...]) -> None:
    """The boxes of one level, each in the middle of what hangs on it, and the branches that leave it."""
    for branch in dict.fromkeys(leaf.path[: level + 1] for leaf in leaves):
        below = [leaf for leaf in leaves if leaf.path[: level + 1] == branch]
        middle = _middle(leaves, branch)
        wide = columns[level + 1] - JOINT - columns[level]
        height = LINE + 2 * PAD
        if level == 0:
            canvas.box(columns[0], middle - height / 2, wide, height, "white", MARKS[branch[0]][1])
            canvas.marks(columns[0] + SIDE, middle, [branch[0]])
            canvas.text(columns[0] + SIDE + MARK, middle, [SETTINGS[branch[0]]], bold=True)
        else:
            canvas.box(columns[1], middle - height / 2, wide, height, BAND)
            canvas.text(columns[1] + SIDE, middle, [UNITS[branch[1]]], colour=INK)
        start, bend, end = columns[level + 1] - JOINT, columns[level + 1] - JOINT / 2, columns[level + 1]
        for child in dict.fromkeys(leaf.path[: level + 2] for leaf in below):
            to = _middle(leaves, child)
            canvas.line([(start, middle), (bend, middle), (bend, to), (end, to)], MUTED)


def _middle(leaves: Sequence[Leaf], branch: tuple[str, ...]) -> float:
    """Half way between the first and the last child of a branch; a leaf's own middle at the end."""
    below = [leaf for leaf in leaves if leaf.path[: len(branch)] == branch]
    if len(branch) == 3:
        return below[0].y + below[0].height / 2
    children = list(dict.fromkeys(leaf.path[: len(branch) + 1] for leaf in below))
    return (_middle(leaves, children[0]) + _middle(leaves, children[-1])) / 2


def _first(middle: float, lines: Sequence[str]) -> float:
    """Where the first of several lines stands so that they are centred."""
    return middle - (len(lines) - 1) * LINE / 2
