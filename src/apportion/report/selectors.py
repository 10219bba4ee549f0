"""How good advice on the choice of a method is: all selectors against the measured best, on settings held out from fitting.

The table is not of the run: it was measured on the grid of ``apportion.bench.selection`` and ships with the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .read import Run

TITLES: Mapping[str, str] = {
    "figure": "The survey's figure",
    "table": "The survey's recommendation table",
    "guide": "The companion list's guide",
    "always GRPO": "Always GRPO",
    "always RLOO": "Always RLOO",
    "measured": "Measured, our own",
    "at random": "Anything that runs, at random",
    "best on the other seeds": "The best on the other seeds of the task itself",
}


def selectors_rows(run: Run, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per selector, as ``apportion select --compare --json`` has them, with a title; empty where no numbers ship."""
    from ..bench.selection.measured import compared
    from ..errors import BenchError

    try:
        shipped = compared()
    except BenchError:
        return []
    return [{**row, "title": TITLES.get(row["selector"], row["selector"])} for row in shipped["rows"]]


def selectors_text(summary: Mapping[str, Any]) -> list[str]:
    """What the numbers mean, and what they say of each side."""
    from ..bench.selection.measured import compared
    from ..bench.selection.said import compared_text

    return [f"{line[:1].upper()}{line[1:]}." for line in compared_text(compared())]
