"""``apportion bench submit``: a run as one file to contribute, and a check of such files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import AsJson
from .progress import progress


def submit_command(
    where: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN|FILE...", help="A run folder; with --check, contributed files.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The file to write; packed where its name ends in .gz.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the run is called; default: its suite.")] = None,
    contributor: Annotated[str | None, typer.Option(help="Who made it.", show_default=False)] = None,
    date: Annotated[str | None, typer.Option(help="When, as YYYY-MM-DD; default: today.")] = None,
    hardware: Annotated[str, typer.Option(help="On what machine.")] = "",
    notes: Annotated[str, typer.Option(help="Anything a reader should know.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Check contributed files instead of writing one.")] = False,
    rerun: Annotated[int, typer.Option(min=0, help="With --check: run so many random cells of each again.")] = 0,
    seed: Annotated[int, typer.Option(help="With --rerun: which cells.")] = 0,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a run as one validated file to contribute by pull request, or check such files."""
    from ..bench import submission

    if schema:
        typer.echo(json.dumps(submission.schema(), indent=1))
        return
    if not where:
        raise typer.BadParameter("give a run folder, or --check and files")
    if check:
        told = [_checked(path, rerun, seed) for path in where]
        if as_json:
            typer.echo(json.dumps(told, indent=1))
        else:
            for one in told:
                typer.echo(one["says"])
        raise typer.Exit(0 if all(one["ok"] for one in told) else 1)
    if len(where) > 1:
        raise typer.BadParameter("one run at a time: each becomes a file of its own")
    if out is None:
        raise typer.BadParameter("--out FILE: where to write it")
    if contributor is None:
        raise typer.BadParameter("--contributor NAME: who made the run")
    made = _made(where[0], {"name": name, "contributor": contributor, "date": date, "hardware": hardware, "notes": notes})
    submission.write(made, out)
    if as_json:
        typer.echo(json.dumps({"file": str(out), "sha256": made.sha256, "cells": len(made.cells)}, indent=1))
    else:
        size = out.stat().st_size / 1e6
        typer.echo(f"{out}: {_size(made)}, {size:.2g} MB, digest {made.sha256[:12]}")


def _made(folder: Path, about: dict[str, Any]) -> Any:
    import datetime

    from pydantic import ValidationError

    from ..bench import manifest
    from ..bench.contribute import from_folder
    from ..bench.submission_form import About
    from ..errors import BenchError

    described = manifest.read(folder / "manifest.json") or {}
    about["name"] = about["name"] or str(described.get("suite") or "run")
    about["date"] = about["date"] or datetime.date.today().isoformat()
    try:
        words = About.model_validate(about)
    except ValidationError as error:
        first = error.errors()[0]
        raise BenchError(f"--{first['loc'][0]} {about[str(first['loc'][0])]!r}: {first['msg']}") from None
    return from_folder(folder, words)


def _checked(path: Path, count: int, seed: int) -> dict[str, Any]:
    """What is said of one file; never raises for what is wrong with the file."""
    from ..bench import submission
    from ..bench.contribute import rerun
    from ..errors import BenchError

    try:
        found = submission.read(path)
    except BenchError as error:
        return {"file": str(path), "ok": False, "says": str(error)}
    says, ok, again = f"{path}: whole, {_size(found)}", True, None
    if count:
        with progress("running cells again") as watch:
            made = rerun(found, count, seed, watch)
        ok = not made.differ and bool(made.cells)
        how = "bit for bit" if made.exact else "within 1e-6 (other code or versions than the file's)"
        says += f"; {len(made.cells) - len(made.differ)} of {len(made.cells)} cells run again are the same {how}"
        says += f"; differ: {', '.join(made.differ)}" if made.differ else ""
        says += f"; cannot be run here: {', '.join(made.skipped)}" if made.skipped else ""
        again = {"exact": made.exact, "cells": made.cells, "differ": made.differ, "skipped": made.skipped}
    return {"file": str(path), "ok": ok, "sha256": found.sha256, "rerun": again, "says": says}


def _size(found: Any) -> str:
    counts = {"method": len(found.entrants), "task": len(found.tasks), "seed": len(found.seeds), "row": len(found.cells)}
    return ", ".join(f"{n:,} {what}{'s' if n != 1 else ''}" for what, n in counts.items())
