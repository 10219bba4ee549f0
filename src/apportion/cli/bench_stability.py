"""``apportion bench stability``: do two halves of a run's seeds rank alike?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import AsJson

SHOWN = 10  # pairs that flip, in the terminal


def stability_command(
    folder: Annotated[Path, typer.Argument(help="A run folder; four seeds or more say something.", show_default=False)],
    splits: Annotated[int, typer.Option(min=1, help="At most so many splits of the seeds, random where there are more.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Split a run's seeds in two, rank by each half: do methods that the run separates keep their order?"""
    from ..report.read import read_run, reference_batch
    from ..report.stability import stability

    run = read_run(folder)
    found = stability(run, reference_batch(run), splits=splits)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("ranked by", "tasks", "methods", "pairs", "apart", "tau (splits)", "again"):
        table.add_column(name, justify="left" if name == "ranked by" else "right", no_wrap=True)
    for row in found["rows"]:
        table.add_row(row["measure"], *(f"{row[k]:,}" for k in ("tasks", "methods", "pairs", "separated")), *_tau(row))
    Console().print(table)
    for flip in found["flips"][:SHOWN]:
        pair = f"{flip['better']} before {flip['worse']}"
        line = f"{flip['measure']}, {flip['task']}: {pair} turns around in {flip['share']:.0%} of splits"
        Console().print(line, markup=False, highlight=False)
    if len(found["flips"]) > SHOWN:
        typer.echo(f"and {len(found['flips']) - SHOWN:,} pairs more (--json lists them)")
    typer.echo(
        f"{found['seeds']} seeds, {found['splits']} splits in two halves. apart: pairs whose 95 % interval of the difference\n"
        "leaves 0 out; tau: agreement of the halves on these (1: the same order everywhere), in brackets the range over\n"
        "splits; again: of the pairs one half alone tells apart, the share that the other orders alike."
    )


def _tau(row: dict[str, Any]) -> tuple[str, str]:
    tau, again = row["tau"], row["replicated"]
    if tau["value"] is None:
        return "–", "–"
    return f"{tau['value']:.3f} [{tau['low']:.2f}, {tau['high']:.2f}]", "–" if again is None else f"{again:.0%}"
