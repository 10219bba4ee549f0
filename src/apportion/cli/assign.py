"""``apportion assign``: credit for every unit of a log, as a long table beside it."""

from __future__ import annotations

import json as _json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..batch import Batch
from ..credit import Credit
from ..edges.credit_file import SUFFIXES, CreditWriter
from ..edges.credit_table import kept_on, on_level
from ..edges.facts import many
from ..edges.strips import bars
from ..errors import OptionError
from ..logs import Log
from ..pipeline import assign as credit_of
from ..words import Unit, check_word
from .common import AsJson, LogPath, opened, reads_log
from .progress import progress
from .settings import Chosen, Fit, Force, OptionPairs, Seed, check_output, choose, refuse_unfed

SAMPLE = 1 << 16  # values behind a histogram

Methods = Annotated[list[str], typer.Option("--method", help="A method; may be given several times.", show_default=False)]
Out = Annotated[Path, typer.Option("-o", "--out", help=f"The table: {', '.join(SUFFIXES)}.", show_default=False)]
Level = Annotated[str | None, typer.Option(help="Credit per token, step, turn or trajectory (default: the method's own).")]


@reads_log
def assign(
    log: LogPath,
    reading: dict[str, Any],
    method: Methods,
    out: Out,
    option: OptionPairs = None,
    fit: Fit = False,
    level: Level = None,
    seed: Seed = 0,
    force: Force = False,
    json: AsJson = False,
) -> None:
    """Credit a log: one row per unit and method, streamed into one file that is whole or not there."""
    chosen = choose(method, option or [], fit)
    if level is not None:
        check_level(level)
    check_output(out, SUFFIXES, force)
    source = opened(log, reading)
    refuse_unfed(chosen, next(source.batches("trajectory", 1)), log)
    if not json:
        say(source)
    tallies: dict[str, Tally] = {one.spec.id: Tally(level or one.spec.unit) for one in chosen}
    try:
        with progress("credit") as watch, CreditWriter(out) as writer:
            for one, credit in credits(source, chosen, seed, watch):
                more = {"seed": seed} if one.draws else {}
                table = writer.append(credit, level=level, **more)
                tallies[one.spec.id].add(credit, level, table.num_rows, _config(table))
                del credit, table  # or they would stay until the next piece of the log is there
    except KeyboardInterrupt:
        typer.echo("stopped: nothing was written", err=True)
        raise typer.Exit(130) from None
    if json:
        methods = [{"method": id_, **tally.facts()} for id_, tally in tallies.items()]
        told = {"out": str(out), "rows": writer.rows, "trajectories": source.trajectories, "groups": source.groups}
        typer.echo(_json.dumps({**told, "format": source.format, "assumed": list(source.assumed), "methods": methods}, indent=2))
        return
    typer.echo(f"wrote {out}: {writer.rows:,} rows for {source.trajectories:,} trajectories")
    for id_, tally in tallies.items():
        typer.echo(f"  {id_:<10} {tally.line()}")


def check_level(level: str) -> None:
    try:
        check_word(level, Unit, "--level")
    except ValueError as error:
        raise OptionError(str(error)) from None


def say(log: Log) -> None:
    """What the log was taken for, and what was assumed of it."""
    typer.echo(f"{log.path}: {log.format}, {counted(log)}")
    for sentence in log.assumed:
        typer.echo(f"  {sentence}")


def counted(log: Log) -> str:
    groups = f"in {log.groups:,} groups" if log.groups else "without groups"
    return f"{log.trajectories:,} trajectories {groups}"


def credits(log: Log, chosen: list[Chosen], seed: int, watch: Callable[[int, int], None]) -> Iterator[tuple[Chosen, Credit]]:
    """Credit of every batch by every method; methods that must see as much share one reading of the log."""
    for scope in dict.fromkeys(one.scope for one in chosen):
        together = [one for one in chosen if one.scope == scope]
        draws = {one.spec.id: np.random.default_rng(seed) for one in together}
        for batch in log.batches(scope, progress=watch):
            for one in together:
                yield one, one_credit(one, batch, draws[one.spec.id])
            del batch


def one_credit(one: Chosen, batch: Batch, rng: np.random.Generator) -> Credit:
    result = credit_of(batch, one.spec.id, rng=rng, fit=one.fit, **one.options)
    if not isinstance(result, Credit):
        raise OptionError(f"{one.spec.id} makes pairs of preferences, no credit: use it from Python")
    return result


def _config(table: Any) -> str:
    return str(table["config"][0].as_py()) if table.num_rows else ""


class Tally:
    """Count, nulls and spread of values that come in pieces, with an even sample of them for a histogram."""

    def __init__(self, level: str) -> None:
        self.level, self.config = level, ""
        self.rows = self.units = self.null = self.dropped = 0
        self.total, self.low, self.high = 0.0, np.inf, -np.inf
        self._sample: list[Any] = []
        self._every = 1

    def add(self, credit: Credit, level: Any, rows: int, config: str) -> None:
        at = level or credit.level
        (values, scored), kept = on_level(credit, at), kept_on(credit, at)
        if at == "token":  # what the environment wrote is not credited
            own = credit.batch.action
            values, scored, kept = values[own], scored[own], kept[own]
        self.level, self.config = at, config
        self.rows += rows
        self.units += values.size
        self.dropped += int((~kept).sum())
        self.null += int((~scored).sum())
        values = values[scored]
        if values.size:
            self.total += float(values.sum())
            self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
            self._sample.append(values[:: self._every])
            while sum(v.size for v in self._sample) > SAMPLE:
                self._sample, self._every = [np.concatenate(self._sample)[::2]], 2 * self._every

    def facts(self) -> dict[str, Any]:
        scored = self.units - self.null
        found = {"min": self.low, "mean": self.total / max(scored, 1), "max": self.high}
        spread = {name: value if scored else None for name, value in found.items()}
        counts = {"rows": self.rows, "units": self.units, "null": self.null, "dropped": self.dropped}
        return {"level": self.level, "config": self.config, **counts, **spread}

    def line(self) -> str:
        what = many(self.units, self.level)
        what += f" and {many(self.rows - self.units, 'token')}" if self.rows > self.units else ""
        what += f", {self.null:,} null (no opinion)" if self.null else ""
        what += f", {self.dropped:,} out of the loss" if self.dropped else ""
        if self.units == self.null:
            return what
        facts = self.facts()
        spread = "  ".join(f"{name} {facts[name]:.4g}" for name in ("min", "mean", "max"))
        return f"{what}  {spread}  [{bars(np.concatenate(self._sample))}]  config {self.config}"
