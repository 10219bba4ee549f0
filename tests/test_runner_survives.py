"""What a run survives: kill -9 at any moment, a full disk, too little memory."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apportion.bench import cells, memory, pool, store, tables
from apportion.bench import manifest as manifests
from apportion.bench.memory import Memory
from apportion.bench.runner import Outcome, run
from apportion.bench.work import keep, measure
from apportion.cli import main
from apportion.errors import BenchError
from tests import fake_bench
from tests.fake_bench import plan, weigh, work

ROOT = Path(__file__).parent.parent
KILLS = 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process")


def go(folder: Path, jobs: int = 1, **more: Any) -> Outcome:
    return run(plan(), folder, jobs=jobs, work=work, weigh=weigh, **more)


def files(folder: Path) -> dict[str, Any]:
    """All that a run leaves, without the times in it (and the lock)."""
    found: dict[str, Any] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.parent.name == store.CELLS:
            content = json.loads(path.read_bytes().partition(b"\n")[2])
            found[name] = {key: str(value) for key, value in content.items() if key not in ("seconds", "started")}
        elif path.is_file() and name != store.LOCK:
            found[name] = None if name == store.TIMINGS else path.read_bytes()
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("reference")
    assert not go(folder).failed
    return files(folder)


@contextmanager
def breeder() -> Iterator[subprocess.Popen[str]]:
    """A process that forks a run per line written to it: most of a run's start is imports."""
    environment = {**os.environ, "FAKE_SLEEP": "0.02", "FAKE_CODE": manifests.code_digest()}
    command = [sys.executable, "-m", "tests.fake_bench"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_twenty_kills_at_random_moments_end_with_the_files_of_an_undisturbed_run(
    tmp_path: Path, reference: dict[str, Any]
) -> None:
    rng, kills, whole, folders = random.Random(7), 0, 0.0, 0
    with breeder() as process:
        assert process.stdin
        assert process.stdout
        while kills < KILLS or folders < 2:
            folder = tmp_path / str(folders)
            process.stdin.write(f"{folder} 2\n")
            process.stdin.flush()
            pid, begun = int(process.stdout.readline()), time.monotonic()
            killer = threading.Timer(rng.random() * whole, os.kill, (pid, signal.SIGKILL))
            if folders and kills < KILLS:
                killer.start()
            status = int(process.stdout.readline())
            killer.cancel()
            if status == signal.SIGKILL:
                kills += 1
                continue
            assert status == 0
            assert files(folder) == reference, f"after {kills} kills"
            whole = whole or time.monotonic() - begun  # of the first, undisturbed
            folders += 1
    assert (kills, folders) >= (KILLS, 2)


def test_full_disk_costs_the_cells_that_found_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: dict[str, Any]
) -> None:
    folder, bad = tmp_path / "run", [cell.id for cell in plan().cells if (cell.measure, cell.seed) == ("cost", 1)]
    monkeypatch.setenv("FAKE_FULL", "+cost+1")
    monkeypatch.setattr(store, "_write", fake_bench.full)  # no room for errors/ either
    outcome = go(folder, jobs=2)
    assert dict(outcome.failed) == dict.fromkeys(bad, "its file cannot be written (No space left on device)")
    assert outcome.unwritten is None
    assert json.loads((folder / store.MANIFEST).read_text())["missing"] == bad
    assert len(list((folder / store.CELLS).iterdir())) == outcome.cells - len(bad)  # and no half of a file
    assert not list((folder / store.ERRORS).iterdir())
    monkeypatch.undo()
    assert not go(folder).failed
    assert files(folder) == reference


def no_room(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_no_room_for_the_results_keeps_the_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: dict[str, Any]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tables, "write_results", no_room)
        outcome = go(tmp_path / "run")
    assert outcome.unwritten == f"{tmp_path / 'run'}: the results cannot be written (No space left on device)"
    again = go(tmp_path / "run")
    assert (again.kept, again.unwritten) == (outcome.cells, None)
    assert files(tmp_path / "run") == reference


def here(queue: list[Any], orders: Any, width: int) -> Iterator[Any]:
    """An engine without processes, so that a test can reach into it."""
    while queue:
        cell = queue.pop()
        yield cell, keep(orders.folder, cell, orders.keys[cell], measure(cell, orders.work, orders.plan.settings))


def test_command_names_the_cells_that_failed_finishes_the_rest_and_leaves_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    full, bad = "bifurcation~horizon-10+grpo+cost+0", "bifurcation~horizon-10+grpo+identification+0"
    write, do = store.write_cell, cells.run_cell

    def writes(folder: Path, cell: Any, *more: Any) -> None:
        if cell.id == full:
            raise OSError(28, "No space left on device")
        write(folder, cell, *more)

    def does(cell: Any, settings: Any) -> Any:
        return 1 / 0 if cell.id == bad else do(cell, settings)

    monkeypatch.setattr(pool, "local", here)
    monkeypatch.setattr(store, "write_cell", writes)
    monkeypatch.setattr(cells, "run_cell", does)
    monkeypatch.chdir(tmp_path)

    def status() -> tuple[Any, str]:
        with pytest.raises(SystemExit) as left:
            main(["bench", "run", "--suite", "smoke", "--seeds", "1", "--out", "run", "--jobs", "1"])
        return left.value.code, " ".join(capfd.readouterr().err.split())

    code, said = status()
    assert code == 1
    assert f"cell {full} failed: its file cannot be written (No space left on device)" in said
    assert f"cell {bad} failed: ZeroDivisionError: division by zero" in said
    assert "2 of 8 cells failed" in said
    assert (tmp_path / "run" / "report.html").exists()
    assert len(list((tmp_path / "run" / store.CELLS).iterdir())) == 6
    monkeypatch.setattr(store, "write_cell", write)
    monkeypatch.setattr(cells, "run_cell", do)
    with monkeypatch.context() as patch:
        patch.setattr(tables, "write_results", no_room)
        code, said = status()
    assert code == 1
    assert "run: the results cannot be written (No space left on device); make room" in said
    assert status()[0] in (0, None)


@linux
def test_cell_that_meets_the_bound_is_done_again_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: dict[str, Any]
) -> None:
    monkeypatch.setenv("FAKE_EAT", "fake~one+grpo+cost+1")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    assert not go(tmp_path / "run", jobs=2, memory=Memory(1_300_000_000)).failed  # 550 MB each; alone 1.1 GB
    begun = [line.split()[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert {id_ for id_ in begun if begun.count(id_) > 1} == {"fake~one+grpo+cost+1"}
    assert files(tmp_path / "run") == reference


@linux
def test_cell_that_exceeds_all_the_memory_is_named_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = "fake~one+grpo+cost+1"
    monkeypatch.setenv("FAKE_EAT", bad)
    outcome = go(tmp_path / "run", memory=Memory(600_000_000))
    assert dict(outcome.failed) == {bad: "needs more memory than the 0.4 GB that --memory left it"}
    assert len(list((tmp_path / "run" / store.CELLS).iterdir())) == outcome.cells - 1


def test_cells_that_need_much_run_with_fewer_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[tuple[int, int]] = []

    def engine(queue: list[Any], orders: Any, width: int) -> Iterator[Any]:
        while queue:
            cell = queue.pop()
            widths.append((width, cell.seed))
            yield cell, None

    needs = {0: 0.0, 1: 2.5e8, 2: 9e8}
    total = Memory(memory.PARENT + 4 * (memory.WORKER + 100_000_000))
    outcome = go(tmp_path / "run", jobs=4, memory=total, need=lambda cell, _: needs[cell.seed], engine=engine)
    assert len(widths) == outcome.cells
    assert set(widths) == {(4, 0), (2, 1), (1, 2)}


@pytest.mark.parametrize(
    ("text", "total"), [("4GB", 4e9), ("512 MiB", 512 * 2**20), ("1.5g", 1.5e9), ("2e9", 2e9), ("900mb", 9e8), ("1TB", 1e12)]
)
def test_sizes_are_read_as_they_are_written(text: str, total: float) -> None:
    assert memory.parse(text).total == total


@pytest.mark.parametrize(
    ("text", "said"),
    [("much", "expected a size"), ("-1GB", "expected a size"), ("0", "expected a size"), ("1.2.3GB", "expected a size"),
     ("4 parsecs", "expected a size"), ("100MB", "one idle worker takes about 380 MB already")],
)  # fmt: skip
def test_sizes_that_make_no_sense_are_named(text: str, said: str) -> None:
    with pytest.raises(BenchError, match=f"--memory {text}: .*{said}"):
        memory.parse(text)
