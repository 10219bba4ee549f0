"""``apportion bench``: measure methods against exact truth, and show what was found."""

from __future__ import annotations

import json as _json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .bench_claims import claims
from .bench_compare import compare_command
from .bench_export import export_command
from .bench_leaderboard import leaderboard_command
from .bench_plan import Address, DryRun, EngineName, MemoryText
from .bench_stability import stability_command
from .bench_submit import submit_command
from .bench_tasks import stdout, tasks_command
from .bench_worlds import worlds
from .common import AsJson, listed

if TYPE_CHECKING:
    from rich.console import Console

    from ..bench.runner import Outcome
    from ..bench.runner import Progress as At

app = typer.Typer(help="Measure methods against exact truth.", no_args_is_help=True)
app.command("claims")(claims)
app.command("compare")(compare_command)
app.command("export")(export_command)
app.command("leaderboard")(leaderboard_command)
app.command("submit")(submit_command)
app.command("stability")(stability_command)
app.command("tasks")(tasks_command)
app.command("worlds")(worlds)


@app.command("run")
def run_command(
    suite: Annotated[
        str,
        typer.Option(
            help="Named suite: quick, standard, full, methods, break-even, sweeps, neural, train (both need torch), smoke."
        ),
    ] = "quick",
    methods: Annotated[
        str | None, typer.Option(help="'all', or ids separated by commas; default: the suite's. RLOO always takes part.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds (0, 1, ...); default: the suite's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/SUITE.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Task ids or FILE.py:NAME separated by commas; default: the suite's.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Worker processes; default: one per CPU. Results do not depend on it.")] = None,
    prices: Annotated[Path | None, typer.Option(help="YAML file of prices, such as 'judge_calls: 200'.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="If the folder holds a different run, discard it; an equal one is continued.")
    ] = False,
    engine: EngineName = "local",
    address: Address = None,
    memory: MemoryText = None,
    dry_run: DryRun = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.html.")] = False,
    json: AsJson = False,
) -> None:
    """Run a suite; running the same command again continues where it stopped."""
    from rich.console import Console

    from ..bench import runner, settings, suites
    from ..bench.estimate import estimate
    from . import bench_plan

    limit = bench_plan.check(engine, address, jobs, memory)

    shown = {"suite": suite, "methods": methods, "seeds": seeds, "tasks": _nameless(tasks), "prices": prices and prices.name}
    given = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in shown.items() if value is not None)
    plan = suites.plan(
        suite,
        methods=_list(methods),
        tasks=_list(tasks),
        seeds=seeds,
        prices=None if prices is None else settings.read_prices(prices),
    )
    if dry_run:
        bench_plan.show(plan, estimate(plan, jobs or os.cpu_count() or 1, limit), json)
        return
    folder = out or Path("runs") / suite
    console = Console(stderr=True)
    size = f"{len(plan.entrants)} methods, {len(plan.tasks)} tasks, {len(plan.seeds)} seeds: {len(plan.cells):,} cells"
    try:
        with bench_plan.workers(engine, address, jobs) as (do, width):
            made = bench_plan.line(estimate(plan, width, limit))
            with _progress(console, f"suite {suite}: {size}") as bar:
                watch = bench_plan.told_first(bar, lambda: console.print(made, markup=False, highlight=False))
                outcome = runner.run(
                    plan, folder, command=f"apportion bench run {given}".rstrip(), jobs=width,
                    engine=do, memory=limit, replace=replace, watch=watch,
                )  # fmt: skip
    except KeyboardInterrupt:
        console.print(f"stopped; the finished cells are in {folder}: the same command continues", highlight=False)
        raise typer.Exit(130) from None
    status = _complain(console, outcome)
    if len(outcome.failed) == outcome.cells or outcome.unwritten:
        raise typer.Exit(status)
    if outcome.kept < outcome.cells or not (folder / "lens.json").is_file():
        from ..bench.lens_data import write_lens_data

        write_lens_data(folder, plan.tasks, plan.entrants, plan.settings)
    _show(folder, None if no_report else folder / "report.html", json)
    raise typer.Exit(status)


@app.command("report")
def report_command(
    folder: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The HTML file; default: report.html in the folder.")] = None,
    json: AsJson = False,
) -> None:
    """Write the report of a run and print its leaderboard."""
    _show(folder, out or folder / "report.html", json)


def _list(text: str | None) -> list[str] | None:
    return None if text is None else listed(text)


def _nameless(tasks: str | None) -> str | None:
    """Tasks without the folders of files, which are no part of what was measured."""
    return None if tasks is None else ",".join(Path(t).name if ".py" in t else t for t in _list(tasks) or [])


def _complain(console: Console, outcome: Outcome) -> int:
    """Name the failed cells; the exit status."""
    for id_, error in list(outcome.failed.items())[:10]:
        console.print(f"cell {id_} failed: {error}", style="red", markup=False, highlight=False)
    if outcome.unwritten:
        console.print(f"{outcome.unwritten}; make room: the same command continues", style="red", markup=False, highlight=False)
    if not outcome.failed:
        return 1 if outcome.unwritten else 0
    more = f"{len(outcome.failed)} of {outcome.cells} cells failed"
    console.print(f"{more}; tracebacks are in {outcome.folder / 'errors'}, the same command tries them again", highlight=False)
    return 1


def _show(folder: Path, page: Path | None, json: bool) -> None:
    """Print the leaderboard and the measured sentence; write the report."""
    from ..report.breakeven import breakeven_text
    from ..report.collapse import collapse_text
    from ..report.curves import curve_table, curves_text
    from ..report.summary import leaderboard_table, sentence, summarise
    from ..report.tiers import tier_text

    summary = summarise(folder)
    if page is not None:
        from ..report import write_report

        page = write_report(folder, page, summary=summary)
    if json:
        typer.echo(_json.dumps(summary, indent=1))
        return
    console = stdout()
    console.print(leaderboard_table(summary))
    console.print(sentence(summary), markup=False, highlight=False)
    for task in dict.fromkeys(row["task"] for row in summary["curves"]):
        console.print(curve_table(summary, task))
    for line in filter(None, (*curves_text(summary), collapse_text(summary), tier_text(summary), *breakeven_text(summary))):
        console.print(line, markup=False, highlight=False)
    if page is not None:
        typer.echo(f"report: {page}")


@contextmanager
def _progress(console: Console, heading: str) -> Iterator[Callable[[At], None]]:
    """A heading, then a bar with the time left on a terminal, else a line every ten seconds."""
    if not console.is_terminal:
        yield _Lines(console, heading)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns: list[Any] = [
        TextColumn("{task.fields[cells]} cells"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, speed_estimate_period=120.0) as bar:
        task: Any = None

        def watch(at: At) -> None:
            nonlocal task
            cells = f"{at.cells:,} of {at.all_cells:,}"
            if task is None:
                console.print(_heading(heading, at), highlight=False)
                task = bar.add_task("", total=at.all_weight, cells=cells)
            bar.update(task, completed=at.weight, cells=cells)

        yield watch


def _heading(text: str, at: At) -> str:
    return f"{text}, {at.cells:,} done before" if at.cells else text


class _Lines:
    """Progress for a log: one line now and then, with the time left at the pace so far."""

    def __init__(self, console: Console, heading: str, every: float = 10.0) -> None:
        self.console, self.heading, self.every = console, heading, every
        self.begun = self.told = time.monotonic()
        self.before: float | None = None

    def __call__(self, at: At) -> None:
        now = time.monotonic()
        if self.before is None:
            self.console.print(_heading(self.heading, at), highlight=False)
            self.before = at.weight
        if now - self.told < self.every:
            return
        self.told = now
        gained = at.weight - self.before
        left = (now - self.begun) * (at.all_weight - at.weight) / gained if gained > 0 else float("nan")
        self.console.print(f"{at.cells:,} of {at.all_cells:,} cells, about {left:.0f} s left", highlight=False)
