"""Run the cells of a plan in worker processes, keep each as it finishes, put the results together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import BenchError
from . import manifest as manifests
from . import store, tables
from .memory import Memory
from .pool import local
from .records import Cell, Row
from .settings import Settings
from .suites import Plan
from .work import Engine, Orders, Work, work_through

Weigh = Callable[[Cell, Settings], float]


class Progress(NamedTuple):
    """How far a run is; weights are the cells' relative costs, ``error`` is set for a cell that failed."""

    cells: int
    all_cells: int
    weight: float
    all_weight: float
    cell: Cell | None
    error: str | None


@dataclass(frozen=True)
class Outcome:
    """What became of a run. failed: why each failed cell failed, in a line, by cell id.

    unwritten: why the results could not be written (a full disk), where that is so; the cells' files are kept.
    """

    folder: Path
    cells: int
    kept: int
    failed: Mapping[str, str] = field(default_factory=dict)
    unwritten: str | None = None


def run(
    plan: Plan,
    folder: str | os.PathLike[str],
    *,
    command: str = "",
    jobs: int | None = None,
    work: Work | None = None,
    weigh: Weigh | None = None,
    need: Weigh | None = None,
    memory: Memory | None = None,
    engine: Engine = local,
    replace: bool = False,
    watch: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Measure what the plan says and leave results, manifest and timings in ``folder``.

    Cells that are already there are kept, so that calling again continues. Each runs in a process
    of its own with single-threaded linear algebra, so that ``jobs`` never changes a number. A
    cell that raises, or whose file finds no room on the disk, is reported (and its traceback kept
    under errors/), the rest goes on, and the next call tries it again; ``manifest.json`` lists it
    under "missing" until then.

    work, weigh, need: what a cell does, its relative time and the bytes it takes beyond an idle worker;
    :mod:`apportion.bench.cells` and :mod:`apportion.bench.estimate` by default. All must be
    importable by name. memory: a bound for the whole run; cells that need much of it run with fewer
    beside them, and one that needs more fails. engine: who does the cells, this machine or (see
    :mod:`apportion.bench.ray_pool`) a cluster; neither it nor memory changes a number. replace: start
    over where the folder holds a different run (a matching one is continued). Ctrl-C stops the
    workers and leaves as ``KeyboardInterrupt``.

    Raises BenchError before any work where the folder cannot be written, is held by another run, or holds a different one.
    """
    folder = Path(folder)
    jobs = (os.cpu_count() or 1) if jobs is None else jobs
    if jobs < 1:
        raise BenchError(f"--jobs {jobs}: expected at least 1")
    if not plan.cells:
        raise BenchError("nothing to do: no method, task and measure go together")
    if work is None or weigh is None:
        from .cells import run_cell
        from .estimate import need as needed
        from .estimate import seconds

        work, weigh, need = work or run_cell, weigh or seconds, need or needed
    described = manifests.build(plan, command)
    keys = manifests.keys(described, plan.cells)
    store.make(folder)
    with store.locked(folder):
        described = _adopt(folder, described, replace)
        done = {cell for cell in plan.cells if store.read_cell(folder, cell, keys[cell]) is not None}
        kept = len(done)
        weights = {cell: max(float(weigh(cell, plan.settings)), 1e-9) for cell in plan.cells}
        # Long cells first, so that no worker is left alone with one at the end.
        todo = sorted((cell for cell in plan.cells if cell not in done), key=lambda cell: -weights[cell])
        failed: dict[str, str] = {}
        at, total = sum(weights[cell] for cell in done), sum(weights.values())
        tell = watch or _silent
        tell(Progress(kept, len(weights), at, total, None, None))
        needs = {cell: float(need(cell, plan.settings)) for cell in todo} if need and memory else {}
        orders = Orders(work, plan, keys, folder, jobs, memory, needs)
        with closing(work_through(todo, orders, engine)) as finished:
            for i, (cell, error) in enumerate(finished, start=kept + 1):
                if error is not None:
                    with suppress(OSError):  # a full disk has no room for this either
                        store.write_error(folder, cell, error.trace)
                    failed[cell.id] = error.line
                at += weights[cell]
                tell(Progress(i, len(weights), at, total, cell, failed.get(cell.id)))
        unwritten = None
        try:
            _finish(folder, plan, keys, described)
        except OSError as error:
            unwritten = f"{folder}: the results cannot be written ({error.strerror or error})"
    return Outcome(folder, len(plan.cells), kept, failed, unwritten)


def _silent(progress: Progress) -> None:
    pass


def _adopt(folder: Path, described: dict[str, object], replace: bool) -> dict[str, object]:
    """Make the folder this run's: refuse or clear a different run, keep the manifest of an equal one."""
    path = folder / store.MANIFEST
    old = manifests.read(path)
    if old is not None and (changed := manifests.differences(old, described)):
        if not replace:
            more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
            raise BenchError(
                f"{folder} holds a different run: {'; '.join(changed[:4])}{more}. "
                "Give another --out, or --replace to discard that run and start over"
            )
        store.clear(folder)
        old = None
    store.sweep(folder)
    for name in (store.CELLS, store.ERRORS):
        (folder / name).mkdir(exist_ok=True)
    if old is not None:
        return {**described, "command": old.get("command", "")}
    store.write_bytes(path, manifests.dump(described))
    return described


def _finish(folder: Path, plan: Plan, keys: Mapping[Cell, str], described: dict[str, object]) -> None:
    """Results from the cell files alone, so that it is no matter which run made them; a file at a time, to stay small."""
    times: list[tuple[str, float, float]] = []
    missing: list[str] = []

    def rows() -> Iterator[Row]:
        for cell in sorted(plan.cells, key=lambda cell: (cell.method, cell.task, cell.seed, cell.measure)):
            one = store.read_cell(folder, cell, keys[cell])
            if one is None:
                missing.append(cell.id)
            else:
                times.append((cell.id, one.seconds, one.started))
                yield from one.rows

    tables.write_results(folder, rows())
    tables.write_timings(folder, times)
    order = {cell.id: i for i, cell in enumerate(plan.cells)}
    missing.sort(key=order.__getitem__)
    store.write_bytes(folder / store.MANIFEST, manifests.dump({**described, "missing": missing}))
