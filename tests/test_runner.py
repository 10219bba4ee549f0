"""The runner: resumes after any death, never mixes runs, gives the same bytes however it is run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apportion.bench import manifest as manifests
from apportion.bench import store
from apportion.bench.records import Row
from apportion.bench.runner import Outcome, Progress, run
from apportion.errors import BenchError
from tests.fake_bench import plan, weigh, work

ROOT = Path(__file__).parent.parent
IDENTITY = (store.RESULTS, store.MANIFEST)


def go(folder: Path, jobs: int = 1, **more: Any) -> Outcome:
    plan_ = more.pop("plan", None) or plan()
    return run(plan_, folder, jobs=jobs, work=work, weigh=weigh, **more)


def identity(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in IDENTITY]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What an undisturbed run of the fake plan leaves, with one job."""
    folder = tmp_path_factory.mktemp("reference")
    assert not go(folder).failed
    return identity(folder)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[tuple[int, str]]]:
    """Every cell begun so far, with the worker that began it."""
    path = tmp_path / "log"
    path.touch()
    monkeypatch.setenv("FAKE_LOG", str(path))

    def read() -> list[tuple[int, str]]:
        return [(int(pid), id_) for pid, id_ in (line.split(" ", 1) for line in path.read_text().splitlines())]

    return read


@contextmanager
def started(folder: Path, sleep: float) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "FAKE_SLEEP": str(sleep), "FAKE_CODE": manifests.code_digest()}
    process = subprocess.Popen([sys.executable, "-m", "tests.fake_bench", str(folder), "2"], cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def cells_in(folder: Path) -> int:
    return len(list((folder / store.CELLS).glob("*.json")))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_jobs_do_not_change_a_byte(tmp_path: Path, reference: list[bytes]) -> None:
    assert not go(tmp_path / "run", jobs=3).failed
    assert identity(tmp_path / "run") == reference
    from pyarrow import parquet  # type: ignore[import-untyped]

    rows = [Row(**row) for row in parquet.read_table(tmp_path / "run" / store.RESULTS).to_pylist()]
    assert rows == sorted(rows, key=store.order)
    assert [row.method for row in rows[:: len(rows) - 1]] == ["grpo", "rloo"]


def test_kill_at_any_moment_loses_at_most_the_cells_in_flight(
    tmp_path: Path, reference: list[bytes], log: Callable[[], list[tuple[int, str]]]
) -> None:
    folder, rng = tmp_path / "run", random.Random(7)
    kills = 2
    for _ in range(kills):
        with started(folder, sleep=0.05) as process:
            before = cells_in(folder)
            target = before + rng.randrange(1, 5)
            until(lambda target=target: cells_in(folder) >= target)  # type: ignore[misc]
            time.sleep(rng.random() * 0.06)
            process.send_signal(signal.SIGKILL)
            process.wait()
        if sys.platform == "linux":
            workers = {pid for pid, _ in log()}
            until(lambda workers=workers: not any(map(alive, workers)), 10)  # type: ignore[misc]
    kept = cells_in(folder)
    assert kept >= kills
    assert not (folder / store.RESULTS).exists()
    outcome = go(folder)
    assert outcome.kept == kept
    assert len(log()) <= outcome.cells + 2 * kills
    assert identity(folder) == reference
    assert not list(folder.rglob("*.tmp"))


def test_interrupt_stops_at_once_and_the_next_run_continues(
    tmp_path: Path, reference: list[bytes], log: Callable[[], list[tuple[int, str]]]
) -> None:
    folder = tmp_path / "run"
    with started(folder, sleep=1.0) as process:
        until(lambda: cells_in(folder) >= 2)
        before = cells_in(folder)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert cells_in(folder) <= before + 4 < len(plan().cells)
    assert not (folder / store.RESULTS).exists()
    if sys.platform == "linux":
        assert not any(alive(pid) for pid, _ in log())
    assert go(folder).kept >= 2
    assert identity(folder) == reference


def test_two_runs_cannot_share_a_folder_and_a_dead_one_blocks_nobody(tmp_path: Path, reference: list[bytes]) -> None:
    folder = tmp_path / "run"
    with started(folder, sleep=0.1) as process:
        until(lambda: cells_in(folder) >= 1)
        with pytest.raises(BenchError, match=rf"another run \(process {process.pid}\) is writing there"):
            go(folder)
        assert process.poll() is None
        process.kill()
        process.wait()
    assert not go(folder).failed
    assert identity(folder) == reference


def test_only_absent_or_damaged_cells_are_done_again(
    tmp_path: Path, reference: list[bytes], log: Callable[[], list[tuple[int, str]]]
) -> None:
    folder = tmp_path / "run"
    first = go(folder)
    begun, timings = len(log()), (folder / store.TIMINGS).read_bytes()
    assert begun == first.cells == len(plan().cells)
    assert go(folder).kept == first.cells
    assert len(log()) == begun
    assert (folder / store.TIMINGS).read_bytes() == timings
    some = sorted((folder / store.CELLS).glob("*.json"))[3:5]
    some[0].write_bytes(some[0].read_bytes()[:-20])
    some[1].unlink()
    go(folder)
    assert sorted(id_ for _, id_ in log()[begun:]) == [path.stem for path in some]
    assert identity(folder) == reference


def test_cell_that_raises_is_named_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: list[bytes], log: Callable[[], list[tuple[int, str]]]
) -> None:
    folder, bad = tmp_path / "run", "fake~one+rloo+cost+1"
    monkeypatch.setenv("FAKE_RAISE", bad)
    outcome = go(folder)
    assert dict(outcome.failed) == {bad: "ZeroDivisionError: no such luck"}
    assert f"no such luck\nin {bad}" in (folder / store.ERRORS / f"{bad}.txt").read_text()
    assert json.loads((folder / store.MANIFEST).read_text())["missing"] == [bad]
    assert cells_in(folder) == outcome.cells - 1
    monkeypatch.delenv("FAKE_RAISE")
    begun = len(log())
    assert not go(folder).failed
    assert [id_ for _, id_ in log()[begun:]] == [bad]
    assert identity(folder) == reference
    assert not list((folder / store.ERRORS).iterdir())


def test_worker_that_dies_costs_only_its_own_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: list[bytes]
) -> None:
    folder, bad = tmp_path / "run", "fake~one+grpo+cost+2"
    monkeypatch.setenv("FAKE_DIE", bad)
    outcome = go(folder, jobs=2)
    assert list(outcome.failed) == [bad]
    assert "its worker process died" in outcome.failed[bad]
    assert cells_in(folder) == outcome.cells - 1
    monkeypatch.delenv("FAKE_DIE")
    go(folder)
    assert identity(folder) == reference


def test_rows_of_another_cell_are_a_failure(tmp_path: Path) -> None:
    outcome = run(plan(1), tmp_path / "run", jobs=1, work=_astray, weigh=weigh)
    assert len(outcome.failed) == outcome.cells
    assert "returned a row of somebody" in next(iter(outcome.failed.values()))


def _astray(cell: Any, settings: Any) -> Any:
    return [row._replace(method="somebody") for row in work(cell, settings)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seeds": 5}, r"seeds \(0-2 there, 0-4 asked for\)"),
        ({"secret": 2.0}, r"task fake/one \(defined differently\); task Fake Two! \(defined differently\)"),
        ({"methods": ("rloo", "gae")}, r"method gae \(not there\); method grpo \(only there\)"),
        ({"group": 4}, r"settings: group \(8 there, 4 asked for\)"),
    ],
)
def test_different_run_is_refused_in_words(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    _described(tmp_path / "run")
    with pytest.raises(BenchError, match=f"holds a different run: {said}.*--replace"):
        go(tmp_path / "run", plan=plan(**changed))


def test_changed_prices_versions_and_code_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    _described(folder)
    prices = {**plan().settings.prices, "scored": 0.5}
    with pytest.raises(BenchError, match=r"prices: scored \(0.3 there, 0.5 asked for\)"):
        go(folder, plan=plan(prices=prices))
    with monkeypatch.context() as patch:
        patch.setattr(manifests, "versions", lambda: {**_versions(), "numpy": "0.0"})
        with pytest.raises(BenchError, match=r"version of numpy \(.* there, 0.0 here\)"):
            go(folder)
    with monkeypatch.context() as patch:
        patch.setattr(manifests, "code_digest", lambda: "other")
        with pytest.raises(BenchError, match=r"the code of apportion \(edited since\)"):
            go(folder)


_versions = manifests.versions


def _described(folder: Path) -> None:
    """A folder as a run leaves it before its first cell."""
    store.make(folder)
    store.write_bytes(folder / store.MANIFEST, manifests.dump(manifests.build(plan(), "")))


def test_replace_discards_a_different_run_and_keeps_an_equal_one(tmp_path: Path, reference: list[bytes]) -> None:
    folder = tmp_path / "run"
    go(folder, plan=plan(1, secret=2.0))
    (folder / "report.html").write_text("old")
    assert go(folder, replace=True).kept == 0
    assert identity(folder) == reference
    assert not (folder / "report.html").exists()
    assert go(folder, replace=True).kept == len(plan().cells)


def test_foreign_manifest_is_refused_even_to_replace(tmp_path: Path) -> None:
    for text in ('{"name": "a browser extension"}', "[]", "{"):
        (tmp_path / store.MANIFEST).write_text(text)
        with pytest.raises(BenchError, match=r"manifest.json: not .*another --out"):
            go(tmp_path, replace=True)
        assert (tmp_path / store.MANIFEST).read_text() == text


def test_manifest_holds_no_date_no_path_and_the_first_command(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    go(folder, plan=plan(1), command="apportion bench run --seeds 1")
    first = (folder / store.MANIFEST).read_bytes()
    go(folder, plan=plan(1), command="apportion bench run --seeds 1 --suite fake")
    assert (folder / store.MANIFEST).read_bytes() == first
    text = first.decode()
    assert str(tmp_path) not in text
    assert str(ROOT) not in text
    found = json.loads(text)
    assert found["command"] == "apportion bench run --seeds 1"
    assert set(found["versions"]) == {"apportion", "python", "numpy", "numba", "pyarrow"}
    assert [t["id"] for t in found["tasks"]] == ["fake/one", "Fake Two!"]
    assert {"family", "tags", "horizon", "title", "digest"} <= set(found["tasks"][0])
    assert {"id", "title", "oracle", "paid"} <= set(found["entrants"][0])
    assert found["prices"] == plan().settings.prices


def test_progress_counts_every_cell_and_the_environment_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    seen: list[Progress] = []
    go(tmp_path / "run", watch=seen.append)
    assert [p.cells for p in seen] == list(range(len(plan().cells) + 1))
    weights = [p.weight for p in seen]
    assert weights == sorted(weights)
    assert weights[-1] == pytest.approx(seen[0].all_weight)
    # Heavy cells come first.
    assert [p.cell.seed for p in seen[1:3] if p.cell] == [2, 2]
    again: list[Progress] = []
    go(tmp_path / "run", watch=again.append)
    assert [p.cells for p in again] == [len(plan().cells)]
    assert again[0].weight == pytest.approx(seen[0].all_weight)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_what_cannot_run_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="--jobs 0: expected at least 1"):
        go(tmp_path / "run", jobs=0)
    with pytest.raises(BenchError, match="nothing to do"):
        go(tmp_path / "run", plan=plan(measures=()))
    assert not (tmp_path / "run").exists()
