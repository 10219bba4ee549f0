"""The run folder: atomic, checked, deterministic."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from apportion.bench import store, tables
from apportion.bench.records import Cell, Row, plain_name
from apportion.errors import BenchError

NAN = float("nan")
CELL = Cell("rloo", "bifurcation/horizon-10", 3, "gradient")
CELL_NAME = (CELL.method, CELL.task, CELL.seed, CELL.measure)


def row(metric: str, value: float, batch: int = 64, lr: float = NAN, cell: Cell = CELL) -> Row:
    return Row(cell.method, cell.task, cell.seed, cell.measure, metric, batch, lr, value)


def made(folder: Path) -> Path:
    store.make(folder)
    (folder / store.CELLS).mkdir()
    (folder / store.ERRORS).mkdir()
    return folder


def test_cell_comes_back_exactly(tmp_path: Path) -> None:
    folder = made(tmp_path)
    values = [0.1 + 0.2, -0.0, 5e-324, float("inf"), NAN, 1e308]
    done = store.Done([row(f"m{i}", v) for i, v in enumerate(values)], 0.25, 1.5)
    store.write_cell(folder, CELL, "key", done)
    back = store.read_cell(folder, CELL, "key")
    assert back is not None
    assert [v.value.hex() for v in back.rows] == [v.hex() for v in values]
    assert (back.seconds, back.started) == (0.25, 1.5)
    assert [p.name for p in (folder / store.CELLS).iterdir()] == [f"{CELL.id}.json"]
    digest, body = (folder / store.CELLS / f"{CELL.id}.json").read_bytes().split(b"\n", 1)
    assert hashlib.sha256(body).hexdigest().encode() == digest
    assert json.loads(body)["cell"] == list(CELL_NAME)


@pytest.mark.parametrize("harm", ["empty", "cut", "flip", "no newline", "other bytes"])
def test_damaged_cell_is_as_good_as_absent(tmp_path: Path, harm: str) -> None:
    folder = made(tmp_path)
    store.write_cell(folder, CELL, "key", store.Done([row("inner", 1.0)], 0.0, 0.0))
    path = folder / store.CELLS / f"{CELL.id}.json"
    data = path.read_bytes()
    flipped = bytes([*data[:90], data[90] ^ 1, *data[91:]])
    harmed = {
        "empty": b"",
        "cut": data[:-7],
        "flip": flipped,
        "no newline": data.replace(b"\n", b""),
        "other bytes": b"\xff\n\xfe",
    }
    path.write_bytes(harmed[harm])
    assert store.read_cell(folder, CELL, "key") is None


def test_cell_made_under_another_key_or_name_is_not_taken(tmp_path: Path) -> None:
    folder = made(tmp_path)
    store.write_cell(folder, CELL, "key", store.Done([row("inner", 1.0)], 0.0, 0.0))
    assert store.read_cell(folder, CELL, "other key") is None
    other = Cell("rloo", "bifurcation/horizon-10", 4, "gradient")
    os.rename(folder / store.CELLS / f"{CELL.id}.json", folder / store.CELLS / f"{other.id}.json")
    assert store.read_cell(folder, other, "key") is None
    assert store.read_cell(folder, CELL, "key") is None


def test_cell_ids_are_safe_file_names_and_differ() -> None:
    names = ["a/b", "a~b", "A/b", "a b", "a_b", "a+b", "..", "x" * 300, "x" * 301, "é", "con", "", "a/../b"]
    plain = [plain_name(n) for n in names]
    assert len({p.lower() for p in plain}) == len(names)
    assert all(set(p) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.=~-") and len(p) < 80 for p in plain)
    ids = {Cell(m, t, s, "cost").id for m in names for t in names for s in (1, 11)}
    assert len(ids) == 2 * len(names) ** 2


def test_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "file"
    store.write_bytes(path, b"old")

    def fail(file: IO[bytes]) -> None:
        file.write(b"half of the n")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.write_atomic(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_rows_are_checked_and_made_plain() -> None:
    rows = [row("b", 2.0), Row(*CELL_NAME, "a", np.int64(0), np.float32(0.5), np.float64(1.0))]
    plain = store.check_rows(CELL, rows)
    assert [r.metric for r in plain] == ["a", "b"]
    assert {type(x) for x in plain[0]} == {str, int, float}
    with pytest.raises(BenchError, match="inner at batch 64, lr nan twice"):
        store.check_rows(CELL, [row("inner", 1.0), row("inner", 2.0)])
    with pytest.raises(BenchError, match="returned a row of grpo"):
        store.check_rows(CELL, [row("inner", 1.0)._replace(method="grpo")])
    assert len(store.check_rows(CELL, [row("inner", 1.0, lr=0.1), row("inner", 1.0), row("inner", 1.0, batch=1)])) == 3


def test_results_have_one_schema_one_order_and_equal_bytes(tmp_path: Path) -> None:
    from pyarrow import parquet  # type: ignore[import-untyped]

    rows = [row(m, v, b, lr) for m, v in (("x", 1.0), ("a", NAN)) for b in (512, 64) for lr in (NAN, 0.3, 0.1)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        tables.write_results(tmp_path / name, iter(sorted(rows, key=store.order)))
    assert (tmp_path / "one" / store.RESULTS).read_bytes() == (tmp_path / "two" / store.RESULTS).read_bytes()
    table = parquet.read_table(tmp_path / "one" / store.RESULTS)
    assert [f"{f.name} {f.type} {f.nullable}" for f in table.schema] == [
        "method string False", "task string False", "seed int64 False", "measure string False",
        "metric string False", "batch int64 False", "lr double False", "value double False",
    ]  # fmt: skip
    assert table.column("metric").to_pylist() == ["a"] * 6 + ["x"] * 6
    assert str(table.column("lr").to_pylist()[:3]) == "[0.1, 0.3, nan]"
    assert table.column("value").null_count == 0  # NaN is a value, not a null


@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_results_written_in_parts_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    from pyarrow import parquet

    monkeypatch.setattr(tables, "PART", 4)
    tables.write_results(tmp_path, (row("x", float(i), batch=i) for i in range(n)))
    assert parquet.read_table(tmp_path / store.RESULTS).column("value").to_pylist() == list(range(n))
    assert parquet.ParquetFile(tmp_path / store.RESULTS).metadata.num_row_groups == -(-n // 4)


def test_no_rows_still_make_a_result_file(tmp_path: Path) -> None:
    from pyarrow import parquet

    tables.write_results(tmp_path, [])
    assert parquet.read_table(tmp_path / store.RESULTS).num_rows == 0


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BenchError, match="cannot be written"):
        store.make(tmp_path / "file")
    with pytest.raises(BenchError, match="cannot be written"):
        store.make(tmp_path / "file" / "below")


def test_folder_of_somebody_else_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(BenchError, match=r"holds 'thesis.tex' but no manifest.json"):
        store.make(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_folder_killed_before_its_manifest_is_taken(tmp_path: Path) -> None:
    (tmp_path / store.LOCK).write_text("12345")
    (tmp_path / ".manifest.json.12345.tmp").write_text("{")
    store.make(tmp_path)


def test_clear_removes_the_run_and_nothing_else(tmp_path: Path) -> None:
    folder = made(tmp_path)
    store.write_cell(folder, CELL, "key", store.Done([], 0.0, 0.0))
    store.write_error(folder, CELL, "why")
    store.write_bytes(folder / store.MANIFEST, b"{}")
    (folder / "notes.md").write_text("mine")
    tables.write_results(folder, [])
    store.clear(folder)
    assert [p.name for p in folder.iterdir()] == ["notes.md"]


def test_sweep_removes_only_temporary_files(tmp_path: Path) -> None:
    folder = made(tmp_path)
    store.write_cell(folder, CELL, "key", store.Done([], 0.0, 0.0))
    (folder / store.CELLS / f".{CELL.id}.json.99.tmp").write_text("half")
    (folder / ".manifest.json.99.tmp").write_text("half")
    store.sweep(folder)
    assert [p.name for p in (folder / store.CELLS).iterdir()] == [f"{CELL.id}.json"]
    assert not list(folder.glob(".*.tmp"))


def test_lock_is_exclusive_and_ends_with_its_holder(tmp_path: Path) -> None:
    (tmp_path / store.LOCK).write_text("1")  # what a dead process left behind holds nobody up
    with store.locked(tmp_path):
        with pytest.raises(BenchError, match=rf"another run \(process {os.getpid()}\) is writing there"), store.locked(tmp_path):
            pass
        with pytest.raises(BenchError), store.locked(tmp_path):
            pass
    with store.locked(tmp_path):
        pass
