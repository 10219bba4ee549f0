"""What stands above and below every figure: the marks with their meanings, and where the labels come from."""

from __future__ import annotations

from collections.abc import Sequence

from .canvas import MARK, MUTED, Canvas
from .places import SETTINGS, Place
from .text import LINE, SMALL, width

HEAD = 0.26  # inches of the line of marks
FOOT = 0.08  # inches before the note


def header(canvas: Canvas, x: float, places: Sequence[Place]) -> None:
    """The marks that occur, in one line from ``x`` on."""
    for setting, heading in SETTINGS.items():
        if any(setting in p.settings for p in places):
            canvas.marks(x, HEAD / 2, [setting])
            canvas.text(x + MARK, HEAD / 2, [heading])
            x += MARK + width(heading) + 0.2


def footer(canvas: Canvas, x: float, y: float, lines: Sequence[str]) -> None:
    canvas.text(x, y + FOOT + LINE / 2, lines, size=SMALL, colour=MUTED)
