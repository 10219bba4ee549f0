"""``--engine ray``: a local cluster of two workers, one of which is killed, leaves the bytes of a run without Ray."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

from apportion.bench import manifest, store
from apportion.bench.memory import Memory
from apportion.bench.ray_pool import cluster
from apportion.bench.runner import Outcome, run
from apportion.bench.work import Engine
from apportion.errors import BenchError
from tests.fake_bench import plan, weigh, work

IDENTITY = (store.RESULTS, store.MANIFEST)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ray") / "log"


@pytest.fixture(scope="module")
def engine(log: Path) -> Iterator[Engine]:
    """A cluster that inherits what fake cells are told."""
    log.touch()
    told = {"FAKE_LOG": str(log), "FAKE_SLEEP": "0.4", "FAKE_CODE": manifest.code_digest()}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        patch.setattr(manifest, "code_digest", lambda: told["FAKE_CODE"])
        with cluster(None, 2) as (found, width):
            assert width == 2
            yield found


def go(folder: Path, measures: tuple[str, ...] = ("cost", "gradient"), **more: Any) -> Outcome:
    more = {"jobs": 2, "work": work, **more}
    return run(plan(1 if "learning" in measures else 3, measures=measures), folder, weigh=weigh, **more)


def begun(log: Path) -> list[tuple[int, str]]:
    return [(int(pid), id_) for pid, id_ in (line.split(" ", 1) for line in log.read_text().splitlines())]


def kill_a_busy_worker(log: Path, folder: Path, killed: list[str]) -> None:
    """Once a few cells are done, end a worker in the middle of one."""
    while len(list((folder / store.CELLS).glob("*.json"))) < 3:
        time.sleep(0.01)
    while not killed:
        pid, id_ = begun(log)[-1]
        if not (folder / store.CELLS / f"{id_}.json").exists():
            os.kill(pid, signal.SIGKILL)
            killed.append(id_)


def test_a_worker_killed_in_the_middle_loses_nothing_and_nothing_is_done_twice(
    tmp_path: Path, engine: Engine, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not go(tmp_path / "local", jobs=1).failed
    log.write_text("")
    killed: list[str] = []
    killer = threading.Thread(target=kill_a_busy_worker, args=(log, tmp_path / "ray", killed), daemon=True)
    killer.start()
    outcome = go(tmp_path / "ray", engine=engine)
    killer.join(5)
    assert not outcome.failed
    assert killed
    times = Counter(id_ for _, id_ in begun(log))
    assert times == {cell.id: 2 if cell.id in killed else 1 for cell in plan(measures=("cost", "gradient")).cells}
    for name in IDENTITY:
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    assert os.getpid() not in {pid for pid, _ in begun(log)}
    # And again: nothing is left to do.
    assert go(tmp_path / "ray", engine=engine).kept == outcome.cells
    assert len(begun(log)) == outcome.cells + 1


def raises(cell: Any, settings: Any) -> Any:
    raise ZeroDivisionError(f"no such luck in {cell.id}")


def dies(cell: Any, settings: Any) -> Any:
    if cell.task == "fake/one" and cell.method == "grpo":
        os.kill(os.getpid(), signal.SIGKILL)
    return work(cell, settings)


def eats(cell: Any, settings: Any) -> Any:
    assert cell.task != "fake/one" or len(bytearray(900_000_000))
    return work(cell, settings)


def test_cells_that_raise_are_named(tmp_path: Path, engine: Engine) -> None:
    outcome = go(tmp_path / "run", ("learning",), engine=engine, work=raises)
    assert set(outcome.failed.values()) == {f"ZeroDivisionError: no such luck in {id_}" for id_ in outcome.failed}
    assert len(outcome.failed) == outcome.cells


def test_a_cell_that_kills_every_worker_is_reported_and_the_rest_goes_on(tmp_path: Path, engine: Engine) -> None:
    outcome = go(tmp_path / "run", ("learning",), engine=engine, work=dies)
    assert list(outcome.failed) == ["fake~one+grpo+learning+0"]
    assert "its worker process died" in outcome.failed["fake~one+grpo+learning+0"]


def test_memory_is_bounded(tmp_path: Path, engine: Engine) -> None:
    outcome = go(tmp_path / "run", ("learning",), engine=engine, work=eats, memory=Memory(800_000_000))
    assert set(outcome.failed) == {f"fake~one+{method}+learning+0" for method in ("rloo", "grpo")}
    assert set(outcome.failed.values()) == {"needs more memory than the 0.6 GB that --memory left it"}
    assert not go(tmp_path / "run", ("learning",), engine=engine, work=eats).failed  # the bound was that run's alone


def test_other_code_on_the_cluster_is_refused(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "code_digest", lambda: "other")
    with pytest.raises(BenchError, match="of the cluster has the code of apportion edited: results would not be the same"):
        go(tmp_path / "run", engine=engine)


def test_no_cluster_at_an_address_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"--address 127\.0\.0\.1:9: no Ray cluster"), cluster("127.0.0.1:9", None):
        pass
