"""A benchmark without methods: cells whose numbers are noise seeded by their names.

``python -m tests.fake_bench FOLDER JOBS`` runs it in a process of its own, to be killed; without
arguments, a process for each line "FOLDER JOBS" it reads, forked off when all is imported. Environment: FAKE_LOG (a file
that gets a line "pid cell" per cell begun), FAKE_SLEEP (seconds a cell takes), FAKE_CODE (digest of the code), FAKE_RAISE,
FAKE_DIE, FAKE_EAT and FAKE_FULL (cells whose id contains this raise, kill their worker, take 600 MB, or find the disk full).
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from apportion.bench import manifest, store
from apportion.bench.records import Cell, Layout, Row
from apportion.bench.settings import Settings
from apportion.bench.suites import Plan


@dataclass(frozen=True)
class FakeTask:
    id: str
    horizon: int = 10
    family: str = "fake"
    title: str = "noise"
    tags: tuple[str, ...] = ("a", "b")
    layout: Layout = "turns"
    secret: float = 1.0
    neural: bool = False

    def describe(self) -> dict[str, Any]:
        return {"id": self.id, "secret": self.secret}


@dataclass(frozen=True)
class FakeEntrant:
    id: str
    title: str = "a method"
    oracle: bool = False
    paid: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    group: int | None = None

    @property
    def method(self) -> str:
        return self.id

    def fits(self, layout: Layout, neural: bool = False) -> bool:
        return True


def plan(seeds: int = 3, secret: float = 1.0, methods: tuple[str, ...] = ("rloo", "grpo"), **settings: Any) -> Plan:
    tasks = {id_: FakeTask(id_, secret=secret) for id_ in ("fake/one", "Fake Two!")}
    return Plan("fake", tasks, {id_: FakeEntrant(id_) for id_ in methods}, tuple(range(seeds)), Settings(**settings))


def work(cell: Cell, settings: Settings) -> list[Row]:
    if path := os.environ.get("FAKE_LOG"):
        with open(path, "a", encoding="utf-8") as log:
            log.write(f"{os.getpid()} {cell.id}\n")
    time.sleep(float(os.environ.get("FAKE_SLEEP", "0")))
    if _hit("FAKE_RAISE", cell):
        raise ZeroDivisionError(f"no such luck\nin {cell.id}")
    if _hit("FAKE_DIE", cell):
        os.kill(os.getpid(), signal.SIGKILL)
    if _hit("FAKE_EAT", cell):
        assert np.ones(75_000_000).sum() > 0
    if "FAKE_FULL" in os.environ:
        setattr(store, "_write", full)  # noqa: B010
    rng = np.random.default_rng(zlib.crc32(cell.id.encode()))
    name = (cell.method, cell.task, cell.seed, cell.measure)
    # A matrix product, so that the number of linear-algebra threads could show.
    x = rng.normal(size=(64, 300))
    rows = [Row(*name, metric, 64, float("nan"), np.float64((x @ x.T).sum())) for metric in ("norm2", "inner")]
    return [*rows, Row(*name, "empty", np.int64(0), 0.5, float("nan"))]


def full(file: IO[bytes], data: bytes) -> None:
    """Write as a disk does that has no room for some files."""
    if os.environ["FAKE_FULL"] in Path(file.name).name:
        file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    file.write(data)


def _hit(variable: str, cell: Cell) -> bool:
    return bool(os.environ.get(variable)) and os.environ[variable] in cell.id


def weigh(cell: Cell, settings: Settings) -> float:
    return 1.0 + cell.seed


def main(folder: str, jobs: str) -> int:
    from apportion.bench.runner import run
    from tests import fake_bench

    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
    try:
        outcome = run(fake_bench.plan(), folder, jobs=int(jobs), work=fake_bench.work, weigh=fake_bench.weigh)
    except KeyboardInterrupt:
        return 130
    return 1 if outcome.failed else 0


def breed() -> None:
    """A child per line read, its process id told at once and its status when it is over."""
    for name in ("pyarrow.parquet", "apportion.bench.runner", "tests.fake_bench"):
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(main(*line.rsplit(maxsplit=1)))
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


# The digest of whoever started this, so that an edit while tests run is not taken for a change.
if "FAKE_CODE" in os.environ:
    setattr(manifest, "code_digest", lambda: os.environ["FAKE_CODE"])  # noqa: B010


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(main(*sys.argv[1:]))
    breed()
