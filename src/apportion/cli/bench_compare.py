"""``apportion bench compare``: two runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import AsJson


def compare_command(
    a: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="Another.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Compare two runs: what they share, what differs in how they were made, who did better by how much."""
    from ..report.compare import compare
    from ..report.read import read_run

    found = compare(read_run(a), read_run(b))
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    shared = found["shared"]
    typer.echo(
        f"shared: {len(shared['tasks'])} tasks, {len(shared['methods'])} methods, {len(shared['seeds'])} seeds"
        + (f"; defined differently and left out: {', '.join(found['changed_tasks'])}" if found["changed_tasks"] else "")
    )
    for name, (one, other) in found["differs"].items():
        typer.echo(f"{name}: {one} | {other}" if one != "differs" else f"{name}: not equal")
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("measure", "method", "A", "B", "B - A", "B better"):
        table.add_column(name, justify="left" if name in ("measure", "method") else "right", overflow="fold")
    for row in found["rows"]:
        better = f"{row['b_is_better']['value']:.0%}"
        table.add_row(row["measure"], row["method"], f"{row['a']:.3g}", f"{row['b']:.3g}", _interval(row["difference"]), better)
    Console().print(table)
    typer.echo("A, B: interquartile mean over tasks and seeds; B - A with its 95 % interval over seeds; B better: chance")
    typer.echo("that a run of B beats one of A on the same task.")


def _interval(found: dict[str, Any]) -> str:
    if found["low"] is None:
        return f"{found['value']:+.3g}"
    return f"{found['value']:+.3g} [{found['low']:+.2g}, {found['high']:+.2g}]"
