"""The work of a run apart from who does it: what a worker leaves of a cell, and who is tried again, and with how much room."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

from . import store
from .memory import Memory
from .records import Cell, Row
from .settings import Settings
from .suites import Plan

Work = Callable[[Cell, Settings], list[Row]]


class Failure(NamedTuple):
    """Why a cell failed: in a line, and in full. died: its process went; starved: it met the bound of ``--memory``."""

    line: str
    trace: str
    kind: Literal["raised", "died", "starved"] = "raised"


_GONE = "its worker process died (killed, or out of memory)"
DIED = Failure(_GONE, _GONE, "died")

Finished = tuple[Cell, Failure | None]


class Orders(NamedTuple):
    """What every engine is told. needs: bytes a cell is expected to take beyond an idle worker, where memory is bounded."""

    work: Work
    plan: Plan
    keys: Mapping[Cell, str]
    folder: Path
    jobs: int
    memory: Memory | None = None
    needs: Mapping[Cell, float] = {}

    def share(self, width: int) -> int | None:
        """Bytes each of ``width`` workers may take."""
        return None if self.memory is None else self.memory.share(width)


#: Does cells off the end of the queue, ``width`` at a time, and yields each with None (its file is there) or its
#: failure. One that loses its workers leaves what it had not begun on the queue and returns: it is called again.
Engine = Callable[[list[Cell], Orders, int], Generator[Finished, None, None]]

#: Variables of a worker process. One thread each: the order of a sum must not depend on how many cores there are.
#: A fixed hash seed keeps the order of sets, should anything depend on it.
ENVIRONMENT = {
    **dict.fromkeys(
        [f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "NUMBA")]
        + ["VECLIB_MAXIMUM_THREADS"],
        "1",
    ),
    "PYTHONHASHSEED": "0",
}


def work_through(cells: list[Cell], orders: Orders, engine: Engine) -> Generator[Finished, None, None]:
    """Do all cells, yielding each with None or its failure, in the order they finish.

    When a worker dies (killed, out of memory), what was in flight with it is suspect; each is done
    again alone, so that only the guilty one is reported. Where memory is bounded, a cell begins at
    the greatest width whose share holds what it is expected to need, and one that meets the bound
    all the same is done again at half the width: at last alone, with all there is.
    """
    queues: dict[int, list[Cell]] = {}
    for cell in reversed(cells):
        queues.setdefault(_width(cell, orders), []).append(cell)
    while queues:
        width = max(queues)
        queue = queues.pop(width)
        with closing(engine(queue, orders, width)) as finished:
            for cell, error in finished:
                if error is not None and error.kind != "raised" and width > 1:
                    queues.setdefault(1 if error.kind == "died" else width // 2, []).append(cell)
                else:
                    yield cell, error
        if queue:
            queues[width] = queue


def _width(cell: Cell, orders: Orders) -> int:
    width = orders.jobs
    if orders.memory is not None:
        while width > 1 and not orders.memory.holds(orders.needs.get(cell, 0.0), width):
            width //= 2
    return width


def measure(cell: Cell, work: Work, settings: Settings, share: int | None = None) -> store.Done | Failure:
    """Run a cell: its checked rows, or why there are none."""
    started, clock = time.time(), time.perf_counter()
    try:
        rows = store.check_rows(cell, work(cell, settings))
    except MemoryError as error:
        if share is None:
            return _raised(error)
        return Failure(
            f"needs more memory than the {share / 1e9:.3g} GB that --memory left it", traceback.format_exc(), "starved"
        )
    except Exception as error:
        return _raised(error)
    return store.Done(rows, time.perf_counter() - clock, started)


def _raised(error: Exception) -> Failure:
    return Failure(f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())


def keep(folder: Path, cell: Cell, key: str, found: store.Done | Failure) -> Failure | None:
    """Write the file of a measured cell; a disk that takes no more costs this cell only."""
    if isinstance(found, Failure):
        return found
    try:
        store.write_cell(folder, cell, key, found)
    except OSError as error:
        return Failure(f"its file cannot be written ({error.strerror or error})", traceback.format_exc())
    return None
