"""What ``apportion inventory`` prints: the list of records, and their counts."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..survey import Record

WIDTH = 100
#: Below this, words of the methodology are broken at their hyphens, so that no column falls off a terminal of 80.
NARROW = 90


def table(found: Sequence[Record]) -> None:
    """One line a record; labels are those of the most trusted source."""
    from ..survey.query import LABELLED, registered
    from ..survey.show import words

    here, console = registered(), _console()
    narrow = console.width < NARROW
    grid = _grid()
    if narrow:
        grid.padding = 0
    for head in ("id", "date"):
        grid.add_column(head, no_wrap=True)
    grid.add_column("setting", overflow="fold", max_width=12 if narrow else 18)
    grid.add_column("granularity", overflow="fold", max_width=11 if narrow else 13)
    grid.add_column("methodology", overflow="fold", min_width=14 if narrow else 21)
    for head in ("ev.", "here"):
        grid.add_column(head, no_wrap=True)
    for r in found:
        labels = [words(r.labels(field) or "unknown") for field in LABELLED[1:]]
        if narrow:
            labels[-1] = "\n".join(textwrap.wrap(labels[-1], 14))
        level = {"unknown": "?"}.get(r.evidence, r.evidence)
        _row(grid, r.id, r.date, *labels, level, "yes" if r.id in here else "")
    console.print(grid)
    console.print(
        f"{len(found)} {'record' if len(found) == 1 else 'records'}; apportion inventory show ID prints one", style="dim"
    )


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False) if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=WIDTH, highlight=False)


def _grid(title: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )


def _row(grid: Table, *cells: str) -> None:
    from rich.text import Text

    from ..survey.show import one_line

    said = ("\n".join(map(one_line, cell.split("\n"))) for cell in cells)
    grid.add_row(*map(Text, said))  # Text: brackets that others wrote are no markup


def print_stats(found: Mapping[str, Any]) -> None:
    """The counts of ``survey.stats``, as tables and lists of ids."""
    console, total = _console(), found["records"]
    console.print(f"{total} records, labels: {found['labels']}\n", style="bold")
    counts = _grid("How many")
    for name, said in found["counts"].items():
        _row(counts, name, " · ".join(f"{word} {n}" for word, n in said.items()))
    counts.show_header = False
    console.print(counts)
    console.print(_cross(found["grid"]))
    for title, ids in (
        ("Implemented here", found["implemented"]),
        ("Without an implementation", found["not_implemented"]),
        ("Methods without a record", found["methods_without_a_record"]),
    ):
        console.print(f"{title}: {len(ids)}", style="bold")
        if ids:
            console.print("  " + ", ".join(ids), markup=False)
    console.print("\nUnknown: in how many of the records no source says it", style="bold")
    ranked = sorted(found["unknown"].items(), key=lambda pair: -pair[1])
    console.print("  " + " · ".join(f"{name}\u00a0{n}" for name, n in ranked if n), markup=False)
    differing = _grid("Where sources differ")
    for field, ids in found["sources_differ"].items():
        for id_, said in ids.items():
            _row(differing, id_, field, "; ".join(f"{origin}: {', '.join(words)}" for origin, words in said.items()))
    differing.show_header = False
    console.print()
    console.print(differing if differing.row_count else "Sources differ nowhere.")


def _cross(cells: Mapping[str, Mapping[str, int]]) -> Table:
    """Granularity against methodology; a record with several labels counts in several cells."""
    grid = _grid("Granularity × methodology (a record with several labels counts in several cells)")
    grid.add_column("")
    for methodology in next(iter(cells.values()), {}):
        grid.add_column(methodology.replace("-", "-\n"), justify="right")
    for granularity, row in cells.items():
        _row(grid, granularity, *(str(n) if n else "·" for n in row.values()))
    return grid
