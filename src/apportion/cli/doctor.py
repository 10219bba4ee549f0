"""``apportion doctor``: what is wrong with a log, and what methods could make of it."""

from __future__ import annotations

import json as _json
from typing import Annotated, Any

import typer

from .common import AsJson, LogPath, opened, reads_log
from .progress import progress

Methods = Annotated[
    str | None, typer.Option("--methods", help="Ids separated by commas (default: all that the columns feed without asking).")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with status 1 if there is a problem.")]
Vocabulary = Annotated[int | None, typer.Option("--vocabulary", help="Number of token ids the tokenizer has.")]


@reads_log
def doctor(
    log: LogPath,
    reading: dict[str, Any],
    methods: Methods = None,
    vocabulary: Vocabulary = None,
    strict: Strict = False,
    json: AsJson = False,
) -> None:
    """Examine a log: signal, masks, rewards, states, log-probs, and where credit would go. Worst first."""
    from ..doctor import examine_log

    if not log.exists():
        opened(log, {})  # no finding, but a wrong path
    wanted = None if methods is None or methods == "all" else [m.strip() for m in methods.split(",") if m.strip()]
    with progress("examining") as watch:
        diagnosis = examine_log(log, methods=wanted, vocabulary=vocabulary, progress=watch, **reading)
    if json:
        typer.echo(_json.dumps({"log": str(log), **diagnosis.to_plain()}, indent=2))
    else:
        typer.secho(str(log), bold=True)
        typer.echo(str(diagnosis))
    if not diagnosis.holds["trajectories"]:
        raise typer.Exit(2)  # nothing was examined
    if strict and diagnosis.problems:
        raise typer.Exit(1)
