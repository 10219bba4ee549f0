"""A sheet measured in inches from its upper left corner, as matplotlib draws it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .text import LINE, SIZE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, RULE, BAND = "#1c2128", "#4d5662", "#c9ced6", "#f4f5f7"

#: Colours of Okabe and Ito, which all common kinds of colour vision tell apart; the shapes say the same in print.
MARKS: dict[str, tuple[str, str]] = {
    "reasoning": ("o", "#0072b2"),
    "agentic": ("s", "#d55e00"),
    "multi-agent": ("^", "#009e73"),
    "alignment": ("D", "#cc79a7"),
    "classical": ("v", "#e69f00"),
    "unknown": ("x", "#4d5662"),
}
MARK = 0.11  # inches that a mark takes in a line


class Canvas:
    """A figure of ``width`` times ``height`` inches; ``y`` grows downwards."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure: Figure = Figure(figsize=(width, height), facecolor="white")

    def text(
        self, x: float, y: float, lines: Sequence[str], *, size: float = SIZE, bold: bool = False, colour: str = INK
    ) -> None:
        """Lines of text, the middle of the first at ``y``."""
        for k, line in enumerate(lines):
            self.figure.text(
                x / self.width,
                1 - (y + k * LINE * size / SIZE) / self.height,
                line,
                fontsize=size,
                fontfamily="DejaVu Sans",
                fontweight="bold" if bold else "normal",
                color=colour,
                verticalalignment="center_baseline",
                parse_math=False,
            )

    def box(self, x: float, y: float, width: float, height: float, face: str, edge: str = "none") -> None:
        from matplotlib.patches import Rectangle

        corner = (x / self.width, 1 - (y + height) / self.height)
        size = (width / self.width, height / self.height)
        self.figure.add_artist(Rectangle(corner, *size, facecolor=face, edgecolor=edge, linewidth=0.6, zorder=0))

    def line(self, points: Sequence[tuple[float, float]], colour: str = RULE) -> None:
        from matplotlib.lines import Line2D

        xs, ys = zip(*((x / self.width, 1 - y / self.height) for x, y in points), strict=True)
        self.figure.add_artist(Line2D(xs, ys, color=colour, linewidth=0.7, zorder=0.5))

    def marks(self, x: float, y: float, settings: Sequence[str]) -> None:
        """One mark per setting from ``x`` on, ``MARK`` inches each."""
        from matplotlib.lines import Line2D

        for k, setting in enumerate(settings):
            shape, colour = MARKS[setting]
            at = ((x + (k + 0.38) * MARK) / self.width,), (1 - y / self.height,)
            size = 3.8 if shape == "D" else 4.6
            self.figure.add_artist(
                Line2D(*at, marker=shape, color=colour, markersize=size, markeredgewidth=1.1, linestyle="none")
            )
