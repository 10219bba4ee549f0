"""``apportion conformance``: what the installed trainers mean by GAE and by a group's statistics, beside ours."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import AsJson

if TYPE_CHECKING:
    from rich.table import Table

    from ..integrations.conformance import Row
    from ..integrations.conformance.page import Page

WIDTH = 100
LEGEND = (
    "Each trainer's own code was given the same rollouts, in a process of its own. Under its name: our call that gives its "
    "numbers. agrees: to 1e-6 on every case, those not shown here too (--json). *: not what the first line gives, to three "
    "decimals. Where a trainer was not run the numbers are ours with its option."
)


def conformance(
    only: Annotated[
        str | None, typer.Option("--only", help="These trainers, separated by commas (verl, trl, openrlhf ...).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare every installed trainer's own GAE and group statistics with ours."""
    from rich.console import Console

    from ..integrations.conformance import rows
    from ..integrations.conformance.page import failures, missing, notes, pages

    chosen = _chosen(only)
    with Console(stderr=True).status("asking the installed trainers"):
        found = rows(chosen)
    if as_json:
        typer.echo(json.dumps([_plain(row) for row in found], indent=1, allow_nan=False))
        return
    console = Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=WIDTH)
    for page in pages(found):
        if len(page.lines) > 1:
            console.print(_table(page))
            console.print(page.reading + "\n", style="dim", highlight=False, markup=False)
    console.print(LEGEND, highlight=False, markup=False)
    for line in notes(found):
        console.print(line, style="dim", highlight=False, markup=False)
    for line in failures(found):
        console.print(line, style="red", highlight=False, markup=False)
    absent = missing(found)
    if absent:
        named = f"Not installed here: {', '.join(absent)}."
        console.print(f"{named} To measure one: pip install it (pins may ask for an environment of its own).", highlight=False)


def _chosen(only: str | None) -> Sequence[str] | None:
    from ..errors import OptionError
    from ..integrations.conformance.meanings import NAMES

    if only is None:
        return None
    chosen = [name.strip().lower() for name in only.split(",") if name.strip()]
    for name in chosen:
        if name not in NAMES:
            raise OptionError(f"no trainer '{name}': expected some of {', '.join(NAMES)}")
    return chosen


def _plain(row: Row) -> dict[str, Any]:
    """As JSON, which knows no NaN: null."""
    return {k: [x if isfinite(x) else None for x in v] if isinstance(v, tuple) else v for k, v in asdict(row).items()} | {
        "differs_from_default": row.differs_from_default
    }


def _table(page: Page) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=page.title, box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False, collapse_padding=True, width=WIDTH)
    table.add_column("trainer, and our call", ratio=1, overflow="fold")
    for head in page.heads:
        table.add_column(head, no_wrap=True)
    table.add_column("check", no_wrap=True)
    colour = {"agrees": "green", "differs": "red", "not run": "red", "no option": "yellow"}
    for line in page.lines:
        name = Text.assemble((line.name, "bold"), "\n", (line.call, "dim"))
        cells = [
            Text(cell.text + ("*" if cell.differs else " "), "dim" if not cell.measured else "yellow" if cell.differs else "")
            for cell in line.cells
        ]
        table.add_row(name, *cells, Text(line.check, colour.get(line.check, "dim")))
    return table
