"""Worker processes that leave with their parent, and that lose only their own cell when they die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from ..errors import BenchError
from . import catalog, store
from .records import Cell, Row
from .settings import Settings
from .suites import Plan

Work = Callable[[Cell, Settings], list[Row]]


class Failure(NamedTuple):
    """Why a cell failed: in a line, and in full."""

    line: str
    trace: str


Finished = tuple[Cell, Failure | None]

#: One thread per worker: the order of a sum must not depend on how many cores there are. A fixed
#: hash seed keeps the order of sets, should anything depend on it.
_ENVIRONMENT = {
    **dict.fromkeys(
        [f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "NUMBA")]
        + ["VECLIB_MAXIMUM_THREADS"],
        "1",
    ),
    "PYTHONHASHSEED": "0",
}


_DIED = "its worker process died (killed, or out of memory)"


class _Context(NamedTuple):
    """What a worker knows besides the cell."""

    work: Work
    settings: Settings
    folder: Path


_context: _Context | None = None


def _enter(context: _Context, specs: tuple[str, ...], parent: Connection) -> None:
    """Start a worker: deaf to Ctrl-C (the parent decides), gone as soon as the parent is."""
    global _context
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    for spec in specs:
        catalog.load(spec)
    _context = context


def _leave_with(parent: Connection) -> None:
    # Only the parent holds the other end: it closes when the parent closes it or dies in any way.
    try:
        parent.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


def _do(cell: Cell, key: str) -> Failure | None:
    """Run a cell and keep it, or tell why not."""
    assert _context is not None
    started, clock = time.time(), time.perf_counter()
    try:
        rows = store.check_rows(cell, _context.work(cell, _context.settings))
        done = store.Done(rows, time.perf_counter() - clock, started)
        store.write_cell(_context.folder, cell, key, done)
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())
    return None


def _ready() -> None:
    """What a worker does first: if this fails, no cell is to blame."""


def work_through(
    cells: list[Cell], keys: Mapping[Cell, str], folder: Path, work: Work, plan: Plan, jobs: int
) -> Generator[Finished, None, None]:
    """Do all cells, yielding each with None or its failure, in the order they finish.

    When a worker dies (killed, out of memory) all that were in flight are suspects; each is done
    again alone, so that only the guilty one is reported.
    """
    todo, alone = list(reversed(cells)), list[Cell]()
    while todo or alone:
        queue, width = (alone, 1) if alone else (todo, jobs)
        lost = yield from _one_pool(queue, keys, _Context(work, plan.settings, folder), plan.specs, width)
        if len(lost) == 1:
            yield lost[0], Failure(_DIED, _DIED)
        else:
            alone += lost


def _one_pool(
    queue: list[Cell], keys: Mapping[Cell, str], context: _Context, specs: tuple[str, ...], width: int
) -> Generator[Finished, None, list[Cell]]:
    """Take cells off the queue until it is empty or the pool breaks; returns what was in flight then."""
    spawn = multiprocessing.get_context("spawn")
    theirs, ours = spawn.Pipe(duplex=False)
    lost: list[Cell] = []
    broken = False
    flight: dict[Future[Failure | None], Cell] = {}
    with _environment(), ours, theirs:
        pool = ProcessPoolExecutor(
            min(width, len(queue)), mp_context=spawn, initializer=_enter, initargs=(context, specs, theirs)
        )
        try:
            _start(pool)
            while flight or (queue and not broken):
                while queue and len(flight) < width and not broken:
                    try:
                        with _interrupts_held():
                            future = pool.submit(_do, queue[-1], keys[queue[-1]])
                    except BrokenProcessPool:
                        broken = True
                    else:
                        flight[future] = queue.pop()
                for future in wait(flight, return_when=FIRST_COMPLETED).done:
                    cell = flight.pop(future)
                    try:
                        error = future.result()
                    except BrokenProcessPool:
                        broken = True
                        lost.append(cell)
                    else:
                        yield cell, error
        finally:
            # Only where we are interrupted is anything in flight: closing the pipe ends the workers at once.
            if flight:
                ours.close()
            pool.shutdown(wait=True, cancel_futures=True)
    return lost


def _start(pool: ProcessPoolExecutor) -> None:
    try:
        with _interrupts_held():
            first = pool.submit(_ready)
        first.result()
    except BrokenProcessPool:
        raise BenchError(
            "worker processes do not start (their own message is above); "
            "a script that runs the benchmark does so under: if __name__ == '__main__'"
        ) from None


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the end of the block, and never reaches a process started in it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment() -> Iterator[None]:
    """Variables that worker processes inherit; this process gets its own back."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
