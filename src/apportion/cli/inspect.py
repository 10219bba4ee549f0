"""``apportion inspect``: what is in a log, what was assumed of it, and which methods it can feed."""

from __future__ import annotations

import json as _json
import os
import shlex
import sys
from textwrap import wrap
from typing import Any

import typer

from ..doctor.inventory import Inventory, feeding, inventory
from ..doctor.logs import PIECE
from .common import AsJson, LogPath, opened, reads_log
from .progress import progress

WIDTH = 100


@reads_log
def inspect(
    log: LogPath,
    reading: dict[str, Any],
    json: AsJson = False,
) -> None:
    """Say what is in a log, what was assumed of it, and which methods it can feed."""
    source = opened(log, reading)
    with progress("taking stock") as watch:
        found = inventory(source.batches("group", PIECE, watch))
    lines = feeding(found)
    following = next_command(str(log), reading, found)
    if json:
        told = {"log": str(log), "format": source.format, "assumed": list(source.assumed), **found.to_plain()}
        typer.echo(_json.dumps({**told, "methods": lines, "next": following}, indent=2))
        return
    typer.secho(f"{log} · {source.format}", bold=True)
    for label, text in found.facts():
        _say(label, text)
    for k, sentence in enumerate(source.assumed):
        _say("assumed" if k == 0 else "", sentence)
    typer.echo(_table(lines), nl=False)
    typer.echo(f"next: {following}")


def next_command(log: str, reading: dict[str, Any], found: Inventory) -> str:
    """The command to type next: give what most methods lack, else see the doctor."""
    given = [f"--{name.replace('_', '-')} {shlex.quote(str(v))}" for name, v in reading.items()]
    words = " ".join([shlex.quote(log), *given])
    if not found.rewards:
        return f"apportion inspect {words} --reward KEY"
    return f"apportion inspect {words} --group KEY" if "group" not in found.have else f"apportion doctor {words}"


def _say(label: str, text: str) -> None:
    plain = "".join(c if c.isprintable() else "�" for c in text)
    for k, part in enumerate(wrap(plain, WIDTH - 11, break_on_hyphens=False) or [""]):
        typer.echo(typer.style(f"  {label if k == 0 else '':<9}", dim=True) + part)


def _table(lines: list[dict[str, Any]]) -> str:
    """The methods as a table of at most 100 columns."""
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    out = io.StringIO()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("method", "unit", "here"):
        table.add_column(name, no_wrap=True)
    table.add_column("how to give what it lacks", overflow="fold")
    style = {"ready": "green", "can learn": "cyan", "lacks": "dim"}
    for line in lines:
        table.add_row(line["method"], line["unit"], line["status"], line["how"], style=style[line["status"]])
    Console(file=out, width=WIDTH, force_terminal=colour, color_system="standard" if colour else None).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
