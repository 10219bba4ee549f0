"""``apportion lens``: one page that shows where the credit of a log went, by several methods."""

from __future__ import annotations

import json as _json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ..batch import Batch
from ..credit import Credit, Loss
from ..edges.credit_file import read_credit
from ..edges.credit_join import Which, credits_of, from_table
from ..errors import CreditError, OptionError
from ..logs import Log
from ..structure import Int
from ..words import Scope
from .assign import one_credit, say
from .common import AsJson, LogPath, opened, reads_log
from .progress import progress
from .settings import Chosen, Fit, Force, OptionPairs, Seed, check_output, choose, refuse_unfed

if TYPE_CHECKING:
    from ..report.lens import LensUnit

PIECE = 8 << 20  # bytes of the log at a time: a page shows few trajectories
PAGE = 6_000_000  # bytes of trajectories in a page, which still opens at once
SCOPES: tuple[Scope, ...] = ("trajectory", "group", "batch")

Methods = Annotated[str | None, typer.Option("--methods", help="Methods separated by commas.", show_default=False)]
Out = Annotated[Path, typer.Option("-o", "--out", help="The page, an .html file.")]
Tables = Annotated[
    list[Path] | None, typer.Option("--credit", help="A credit table made before; several may be given.", show_default=False)
]
Most = Annotated[int | None, typer.Option("--trajectories", min=1, help="How many to show at most; groups stay whole.")]
ByStep = Annotated[bool, typer.Option("--steps", help="A column per reasoning step, where the log has steps.")]


@reads_log
def lens(
    log: LogPath,
    reading: dict[str, Any],
    methods: Methods = None,
    out: Out = Path("lens.html"),
    credit: Tables = None,
    trajectories: Most = None,
    steps: ByStep = False,
    option: OptionPairs = None,
    fit: Fit = False,
    seed: Seed = 0,
    force: Force = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    json: AsJson = False,
) -> None:
    """Show where the credit of a log went: one page, a row per method, a colour per turn."""
    from ..report.lens import write_page

    ids = [part.strip() for part in (methods or "").split(",") if part.strip()]
    if not ids and not credit:
        raise OptionError("nothing to show: name methods (--methods grpo,gigpo) or tables (--credit credit.parquet)")
    chosen = choose(ids, option or [], fit) if ids else []
    if option and not ids:
        raise OptionError("--option is for --methods: a table's credit is made")
    check_output(out, (".html", ".htm"), force)
    source = opened(log, reading)
    first = next(source.batches("trajectory", 1))
    refuse_unfed(chosen, first, log)
    if steps and first.step_offsets is None:
        raise OptionError(f"--steps: {log} has no reasoning steps")
    tables = list(dict.fromkeys(credit or []))
    for path in tables:
        read_credit(path, first)  # so that an unreadable one is refused before the work
    if not json:
        say(source)
    try:
        data, shown = gather(source, chosen, tables, seed, trajectories, "step" if steps else "turn")
    except KeyboardInterrupt:
        typer.echo("stopped: nothing was written", err=True)
        raise typer.Exit(130) from None
    left_out = max(source.trajectories - shown, 0)
    notes = [f"{source.path.name} ({source.format}): {source.trajectories:,} trajectories in {source.groups:,} groups."]
    write_page(
        data, out, left_out=left_out, title=f"Where the credit of {source.path.name} went", notes=[*notes, *source.assumed]
    )
    rows = list(data["tasks"][0]["trajectories"][0]["methods"])
    if json:
        told = {"out": str(out), "trajectories": shown, "left_out": left_out, "rows": rows}
        typer.echo(_json.dumps({**told, "format": source.format, "assumed": list(source.assumed)}, indent=2))
    else:
        rest = f"; {left_out:,} left out" if left_out else ""
        typer.echo(f"wrote {out}: {shown:,} trajectories{rest}; {', '.join(rows)}")
    if open_:
        typer.launch(out.resolve().as_uri())


def gather(
    log: Log, chosen: list[Chosen], tables: list[Path], seed: int, most: int | None, unit: LensUnit
) -> tuple[dict[str, Any], int]:
    """Lens data of whole groups, first come first shown, until the page is full; and how many trajectories it shows.

    Only a first group that is too large for a page is cut.
    """
    from ..report.lens import fit_budget, lens_data, lens_size

    joins: list[tuple[Path, Which]] | None = None
    draws = {one.spec.id: np.random.default_rng(seed) for one in chosen}
    widest: Scope = max((one.scope for one in chosen), key=SCOPES.index, default="group")
    scope: Scope = "group" if widest == "trajectory" else widest
    tasks: list[dict[str, Any]] = []
    spent = shown = 0
    with progress("credit") as watch:
        for batch in log.batches(scope, PIECE, watch):
            credits = {one.spec.id: one_credit(one, batch, draws[one.spec.id]) for one in chosen}
            parts = {path: read_credit(path, batch) for path in tables}
            joins = joins or [(path, which) for path, table in parts.items() for which in _told(path, table)]
            for path, which in joins:
                credits[_title(which, credits)] = _joined(path, parts[path], which, batch)
            for members in _groups(batch):
                made, cut = fit_budget(lens_data(batch, credits, unit=unit, trajectories=members.tolist()), PAGE)
                size = lens_size(made)
                if tasks and (cut or spent + size > PAGE or (most is not None and shown + members.size > most)):
                    return {"unit": unit, "overview": True, "tasks": tasks}, shown
                if not tasks and most is not None:
                    made = _first(made, most)
                tasks += made["tasks"]
                spent, shown = spent + size, shown + sum(len(t["trajectories"]) for t in made["tasks"])
    return {"unit": unit, "overview": True, "tasks": tasks}, shown


def _first(data: dict[str, Any], most: int) -> dict[str, Any]:
    return {**data, "tasks": [{**t, "trajectories": t["trajectories"][:most]} for t in data["tasks"]]}


def _groups(batch: Batch) -> Iterator[Int]:
    """The trajectories of each group, in the order groups appear; all of them where there are no groups."""
    if batch.group is None:
        yield np.arange(batch.n_trajectories)
        return
    codes = batch.within("trajectory", "group")
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    yield from sorted(parts, key=lambda part: int(part[0]))


def _title(which: Which, taken: dict[str, Credit]) -> str:
    """The row's heading: the method, and what tells it from a namesake."""
    name = which.method or "credit"
    name = name if which.source == "estimate" else f"{name} ({which.source})"
    if name not in taken:
        return name
    told = f"{name} {which.config}".strip()
    while told in taken:
        told += "'"
    return told


def _told(path: Path, table: Any) -> list[Which]:
    found = credits_of(table)
    if not found:
        raise CreditError(f"{path}: it has no rows for the trajectories of this log")
    return found


def _joined(path: Path, table: Any, which: Which, batch: Batch) -> Credit:
    try:  # the loss is not shown, so a clip range that the table lacks is no obstacle
        return from_table(table, batch, **which._asdict(), loss=Loss())
    except CreditError as error:
        raise CreditError(f"{path}: {error}") from None
