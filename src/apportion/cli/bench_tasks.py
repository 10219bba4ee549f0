"""``apportion bench tasks``: the tasks, their records, and their arrays as files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import AsJson

if TYPE_CHECKING:
    from rich.console import Console


def _task_ids(incomplete: str) -> Iterator[str]:
    from ..bench.tasks import variants

    yield from (id_ for id_ in variants() if id_.startswith(incomplete))


def tasks_command(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Print the records of these.", autocompletion=_task_ids)
    ] = None,
    sweeps: Annotated[bool, typer.Option("--sweeps", help="List the knobs and, of each, the tasks it moves through.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a task's record.")] = False,
    export: Annotated[Path | None, typer.Option(help="Write arrays and records into this folder; default: of all.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the tasks, or print the metadata records of some."""
    from ..bench.tasks import find, tasks

    if schema:
        from ..bench.metadata import schema as of_record

        typer.echo(json.dumps(of_record(), indent=1))
        return
    if sweeps:
        _sweeps(as_json)
        return
    if export is not None:
        from ..bench.export import export as write

        files = write([find(id_) for id_ in ids] if ids else list(tasks().values()), export)
        typer.echo(f"{len(files)} files in {export}")
        return
    if ids:
        from ..bench.metadata import record

        asked = [find(id_) for id_ in ids]
        if any(task.neural for task in asked):
            typer.echo("training a transformer by exact ascent, to say what it can attain: minutes", err=True)
        records = [record(task).model_dump(mode="json") for task in asked]
        typer.echo(json.dumps(records if len(records) > 1 else records[0], indent=1))
        return
    found = tasks()
    if as_json:
        typer.echo(json.dumps([task.describe() for task in found.values()], indent=1))
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task", no_wrap=True)
    for name in ("what it is", "tags"):
        table.add_column(name, overflow="fold")
    table.add_column("turns", justify="right")
    table.add_column("prompts", justify="right")
    for task in found.values():
        table.add_row(task.id, task.title, ", ".join(task.tags), str(task.horizon), str(task.prompts))
    stdout().print(table)


def _sweeps(as_json: bool) -> None:
    from dataclasses import asdict

    from ..bench.sweeps import SWEEPS, said

    if as_json:
        listed = [{**asdict(s), "points": [{"value": value, "task": task} for value, task in s.points]} for s in SWEEPS.values()]
        typer.echo(json.dumps(listed, indent=1))
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("knob", no_wrap=True)
    for name in ("what moves", "separates", "points"):
        table.add_column(name, overflow="fold")
    for s in SWEEPS.values():
        table.add_row(s.knob, s.title, s.separates, ", ".join(said(value) for value, _ in s.points))
    stdout().print(table)


def stdout() -> Console:
    """Standard output; 100 columns wide where it is no terminal, so that tables stay whole in a log."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=100)
