"""A benchmark without methods: cells whose numbers are noise seeded by their names.

``python -m tests.fake_bench FOLDER JOBS`` runs it in a process of its own, to be killed.
Environment: FAKE_LOG (a file that gets a line "pid cell" per cell begun), FAKE_SLEEP (seconds a
cell takes), FAKE_CODE (digest of the code), FAKE_RAISE and FAKE_DIE (cells whose id contains this raise, or kill their worker).
"""

from __future__ import annotations

import os
import signal
import sys
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
    rng = np.random.default_rng(zlib.crc32(cell.id.encode()))
    name = (cell.method, cell.task, cell.seed, cell.measure)
    # A matrix product, so that the number of linear-algebra threads could show.
    x = rng.normal(size=(64, 300))
    rows = [Row(*name, metric, 64, float("nan"), np.float64((x @ x.T).sum())) for metric in ("norm2", "inner")]
    return [*rows, Row(*name, "empty", np.int64(0), 0.5, float("nan"))]


def _hit(variable: str, cell: Cell) -> bool:
    return bool(os.environ.get(variable)) and os.environ[variable] in cell.id


def weigh(cell: Cell, settings: Settings) -> float:
    return 1.0 + cell.seed


def main() -> int:
    from apportion.bench import manifest
    from apportion.bench.runner import run
    from tests import fake_bench

    # The digest of whoever started this, so that an edit while tests run is not taken for a change.
    setattr(manifest, "code_digest", lambda: os.environ["FAKE_CODE"])  # noqa: B010
    try:
        outcome = run(fake_bench.plan(), sys.argv[1], jobs=int(sys.argv[2]), work=fake_bench.work, weigh=fake_bench.weigh)
    except KeyboardInterrupt:
        return 130
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
