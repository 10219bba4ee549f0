"""The run folder: small atomic files, so that a kill at any moment loses no finished cell.

manifest.json     what is measured; the identity of the run, without dates or machine paths
cells/ID.json     the rows of one finished cell under a checksum
errors/ID.txt     why a cell failed last time
results.parquet   all rows, sorted; equal runs give equal bytes
timings.parquet   seconds and start of every cell; no part of the identity
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import BenchError
from .records import Cell, Row

LOCK = ".lock"
MANIFEST = "manifest.json"
RESULTS = "results.parquet"
TIMINGS = "timings.parquet"
CELLS = "cells"
ERRORS = "errors"
DERIVED = ("lens.json", "report.html")  # made from the results by later steps


class Done(NamedTuple):
    """A finished cell as its file tells it."""

    rows: list[Row]
    seconds: float
    started: float


def write_atomic(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Call ``write`` on a temporary file beside ``path`` that then takes its place at once."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """The whole file or nothing."""
    write_atomic(path, lambda file: _write(file, data))


def _write(file: IO[bytes], data: bytes) -> None:
    file.write(data)


def make(folder: Path) -> None:
    """Create the folder, or raise in words why it cannot hold a run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = {entry.name for entry in folder.iterdir()}
        probe = folder / f".probe.{os.getpid()}.tmp"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise BenchError(f"--out {folder}: cannot be written ({error.strerror or error})") from None
    # Before the manifest there may be a lock and what a kill left of the manifest's temporary file.
    strangers = sorted(name for name in held if name != LOCK and not name.endswith(".tmp"))
    if strangers and MANIFEST not in held:
        raise BenchError(f"--out {folder}: holds '{strangers[0]}' but no {MANIFEST}, so it is no run: give a new or empty folder")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone.

    The lock belongs to the open file, so the system itself frees it when the process dies, however
    it dies: there are no stale locks. The process id inside is only for the message.
    """
    with open(folder / LOCK, "a+b") as file:
        try:
            _acquire(file)
        except OSError:
            with suppress(OSError):
                file.seek(0)
            raise BenchError(f"--out {folder}: {_holder(file)} is writing there: wait for it, or give another folder") from None
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield


def _acquire(file: IO[bytes]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        file.seek(1 << 20)  # lock a byte that the message does not use
        getattr(msvcrt, "locking")(file.fileno(), getattr(msvcrt, "LK_NBLCK"), 1)  # noqa: B009
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(file: IO[bytes]) -> str:
    try:
        pid = file.read().decode("ascii", "replace").strip()
    except OSError:
        pid = ""
    return f"another run (process {pid})" if pid else "another run"


def clear(folder: Path) -> None:
    """Remove what a run has written; files of anybody else stay."""
    for name, ending in ((CELLS, "*.json"), (ERRORS, "*.txt")):
        for path in (folder / name).glob(ending):
            path.unlink()
        with suppress(OSError):
            (folder / name).rmdir()
    # The manifest goes last: until then a kill leaves a folder that is still known as a run.
    for name in (RESULTS, TIMINGS, *DERIVED, MANIFEST):
        (folder / name).unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove temporary files that a kill left behind. Hold the lock."""
    for place in (folder, folder / CELLS, folder / ERRORS):
        for path in place.glob(".*.tmp"):
            path.unlink(missing_ok=True)


def write_cell(folder: Path, cell: Cell, key: str, done: Done) -> None:
    """Keep a finished cell: its digest on the first line, then the content it is the digest of."""
    content = {
        "key": key,
        "cell": [cell.method, cell.task, cell.seed, cell.measure],
        "seconds": done.seconds,
        "started": done.started,
        "rows": [[row.metric, int(row.batch), float(row.lr), float(row.value)] for row in done.rows],
    }
    body = json.dumps(content, separators=(",", ":")).encode()
    write_bytes(folder / CELLS / f"{cell.id}.json", hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    (folder / ERRORS / f"{cell.id}.txt").unlink(missing_ok=True)


def read_cell(folder: Path, cell: Cell, key: str) -> Done | None:
    """The finished cell; None where it is absent, damaged or made under another key."""
    try:
        digest, _, body = (folder / CELLS / f"{cell.id}.json").read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    content: dict[str, Any] = json.loads(body)
    name = (cell.method, cell.task, cell.seed, cell.measure)
    if content["key"] != key or tuple(content["cell"]) != name:
        return None
    return Done([Row(*name, *numbers) for numbers in content["rows"]], content["seconds"], content["started"])


def write_error(folder: Path, cell: Cell, trace: str) -> None:
    """Keep why a cell failed."""
    write_bytes(folder / ERRORS / f"{cell.id}.txt", trace.encode())


def check_rows(cell: Cell, rows: Iterable[Row]) -> list[Row]:
    """Rows as plain numbers, in order; raises where one is not of this cell or is there twice."""
    name = (cell.method, cell.task, cell.seed, cell.measure)
    plain: list[Row] = []
    for row in rows:
        if tuple(row[:4]) != name:
            raise BenchError(f"cell {cell.id} returned a row of {row.method}, {row.task}, seed {row.seed}, {row.measure}")
        plain.append(Row(*name, str(row.metric), int(row.batch), float(row.lr), float(row.value)))
    plain.sort(key=order)
    for one, other in pairwise(plain):
        if order(one)[:-1] == order(other)[:-1]:
            raise BenchError(f"cell {cell.id} returned {one.metric} at batch {one.batch}, lr {one.lr} twice")
    return plain


def order(row: Row) -> tuple[Any, ...]:
    """Sort key of the result file; NaN learning rates last, and equal to each other."""
    lr = (math.isnan(row.lr), 0.0 if math.isnan(row.lr) else row.lr)
    return (row.method, row.task, row.seed, row.measure, row.metric, row.batch, lr, row.value)
