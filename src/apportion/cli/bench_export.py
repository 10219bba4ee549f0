"""``apportion bench export``: a run in a format that others read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from .common import AsJson


def export_command(
    where: Annotated[Path, typer.Argument(metavar="RUN|FILE", help="A run folder or a contributed file.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write data/apportion/… into.", show_default=False)],
    organization: Annotated[str, typer.Option(help="Who provides the numbers.", show_default=False)],
    relationship: Annotated[
        str, typer.Option(help="Of whoever measured to the methods: first_party, third_party, collaborative, other.")
    ] = "third_party",
    format: Annotated[Literal["eee"], typer.Option(help="eee: the schema of Every Eval Ever, 0.3.0.")] = "eee",
    stamp: Annotated[int | None, typer.Option(help="Seconds since 1970 to give as its time; default: now.")] = None,
    as_json: AsJson = False,
) -> None:
    """Export a run: one record per method in the schema of Every Eval Ever."""
    from ..bench import submission
    from ..errors import BenchError
    from ..report.eee import Relationship, export
    from ..report.leaderboard import as_run
    from ..report.read import read_run

    known = ("first_party", "third_party", "collaborative", "other")
    if relationship not in known:
        raise BenchError(f"--relationship {relationship}: expected one of {', '.join(known)}")
    run = as_run(submission.read(where)) if where.is_file() else read_run(where)
    at = int(time.time()) if stamp is None else stamp
    files = export(run, out, stamp=at, organization=organization, relationship=cast(Relationship, relationship))
    typer.echo(json.dumps(list(map(str, files)), indent=1) if as_json else f"{len(files)} records in {out}")
