"""Worker processes that leave with their parent, and that lose only their own cell when they die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from ..errors import BenchError
from . import catalog, memory
from .records import Cell
from .settings import Settings
from .work import DIED, ENVIRONMENT, Failure, Finished, Orders, Work, keep, measure


class _Context(NamedTuple):
    """What a worker knows besides the cell."""

    work: Work
    settings: Settings
    folder: Path
    share: int | None


_context: _Context | None = None


def _enter(context: _Context, specs: tuple[str, ...], parent: Connection) -> None:
    """Start a worker: deaf to Ctrl-C (the parent decides), gone as soon as the parent is."""
    global _context
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    for spec in specs:
        catalog.load(spec)
    memory.bound(context.share)
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
    return keep(_context.folder, cell, key, measure(cell, _context.work, _context.settings, _context.share))


def _ready() -> None:
    """What a worker does first: if this fails, no cell is to blame."""


def local(queue: list[Cell], orders: Orders, width: int) -> Generator[Finished, None, None]:
    """The engine of one machine: take cells off the queue until it is empty or a worker dies.

    A pool breaks as a whole: all that was in flight is told to have died.
    """
    context = _Context(orders.work, orders.plan.settings, orders.folder, orders.share(width))
    spawn = multiprocessing.get_context("spawn")
    theirs, ours = spawn.Pipe(duplex=False)
    broken = False
    flight: dict[Future[Failure | None], Cell] = {}
    with environment(), ours, theirs:
        pool = ProcessPoolExecutor(
            min(width, len(queue)), mp_context=spawn, initializer=_enter, initargs=(context, orders.plan.specs, theirs)
        )
        try:
            _start(pool)
            while flight or (queue and not broken):
                while queue and len(flight) < width and not broken:
                    try:
                        with _interrupts_held():
                            future = pool.submit(_do, queue[-1], orders.keys[queue[-1]])
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
                        error = DIED
                    yield cell, error
        finally:
            # Only where we are interrupted is anything in flight: closing the pipe ends the workers at once.
            if flight:
                ours.close()
            pool.shutdown(wait=True, cancel_futures=True)


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
def environment() -> Iterator[None]:
    """Variables that worker processes inherit; this process gets its own back."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
