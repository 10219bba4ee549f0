"""Before ``apportion bench run`` starts: what the run will take, and who will do it."""

from __future__ import annotations

import json as _json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BenchError

if TYPE_CHECKING:
    from ..bench.estimate import Estimate
    from ..bench.memory import Memory
    from ..bench.runner import Progress as At
    from ..bench.suites import Plan
    from ..bench.work import Engine

EngineName = Annotated[str, typer.Option("--engine", help="local, or ray: a Ray cluster (pip install 'apportion[ray]').")]
Address = Annotated[
    str | None, typer.Option(help="With --engine ray: HOST:PORT of the cluster, or auto; default: one started on this machine.")
]
MemoryText = Annotated[
    str | None,
    typer.Option("--memory", help="Bound on memory for all processes together, such as 4GB. Results do not depend on it."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan, its time and its memory, and run nothing.")]


def check(engine: str, address: str | None, jobs: int | None, memory: str | None) -> Memory | None:
    """Refuse options that go together with nothing; the bound on memory."""
    from ..bench.memory import parse

    if engine not in ("local", "ray"):
        raise BenchError(f"--engine {engine}: expected local or ray")
    if address is not None and engine != "ray":
        raise BenchError(f"--address {address}: only --engine ray has an address")
    if jobs is not None and jobs < 1:
        raise BenchError(f"--jobs {jobs}: expected at least 1")
    return None if memory is None else parse(memory)


@contextmanager
def workers(engine: str, address: str | None, jobs: int | None) -> Iterator[tuple[Engine, int]]:
    """Who does the cells, and how many at a time."""
    if engine == "ray":
        from ..bench.ray_pool import cluster

        with cluster(address, jobs) as found:
            yield found
        return
    from ..bench.pool import local

    yield local, jobs or os.cpu_count() or 1


def told_first(watch: Callable[[At], None], tell: Callable[[], None]) -> Callable[[At], None]:
    """``watch``, with something to tell once the run is let into its folder and before its first cell."""
    told = False

    def both(at: At) -> None:
        nonlocal told
        watch(at)
        if not told and at.cells < at.all_cells:
            tell()
        told = True

    return both


def line(made: Estimate) -> str:
    """The estimate in a line, and how it was made."""
    speed = "as fast as" if 0.95 < made.slower < 1.05 else f"{made.slower:.2g} times as slow as"
    text = (
        f"estimate: {duration(made.wall)} with {made.jobs} worker{'s' * (made.jobs != 1)} on idle cores, "
        f"peak memory at most {size(made.peak)} (each method was timed once; a probe finds this core {speed} that one)"
    )
    if made.crowded:
        text += f"; {made.crowded:,} cells run with fewer beside them to stay within --memory"
    if made.too_large:
        text += f"; {len(made.too_large):,} cells will likely fail within it, such as {made.too_large[0]}"
    return text


def show(plan: Plan, made: Estimate, json: bool) -> None:
    """Print plan and estimate."""
    if json:
        typer.echo(_json.dumps(_plain(plan, made), indent=1))
        return
    typer.echo(f"suite {plan.suite}: {len(plan.entrants)} methods, {len(plan.tasks)} tasks, {len(plan.seeds)} seeds")
    typer.echo(f"tasks: {', '.join(plan.tasks)}")
    typer.echo(f"methods: {', '.join(plan.entrants)}")
    for name, (cells, taken) in made.by_measure.items():
        typer.echo(f"{name:15} {cells:7,} cells  {duration(taken):>14} of one core")
    typer.echo(f"{'all':15} {made.cells:7,} cells  {duration(made.seconds):>14} of one core")
    typer.echo(f"longest: {', '.join(f'{id_} ({duration(taken)})' for id_, taken in made.longest)}")
    typer.echo(line(made))


def _plain(plan: Plan, made: Estimate) -> dict[str, Any]:
    found = made._asdict()
    return {
        "suite": plan.suite,
        "methods": list(plan.entrants),
        "tasks": list(plan.tasks),
        "seeds": list(plan.seeds),
        "cells": found.pop("cells"),
        "jobs": found.pop("jobs"),
        "wall_seconds": found.pop("wall"),
        "cpu_seconds": found.pop("seconds"),
        "peak_bytes": found.pop("peak"),
        "measures": {name: {"cells": n, "cpu_seconds": taken} for name, (n, taken) in found.pop("by_measure").items()},
        "longest": [{"cell": id_, "cpu_seconds": taken} for id_, taken in found.pop("longest")],
        **found,
    }


def duration(seconds: float) -> str:
    """Two digits are all that an estimate is good for."""
    for unit, long, until in (("s", 1.0, 100.0), ("min", 60.0, 100.0), ("h", 3600.0, 48.0)):
        if seconds < until * long:
            return f"about {max(seconds / long, 0.1):.2g} {unit}"
    return f"about {seconds / 86400:,.0f} days"


def size(n: float) -> str:
    return f"{n / 1e9:.2g} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"
