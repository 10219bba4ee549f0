"""Batches in files: nothing lost, the same bytes for the same batch, all or nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion import Batch
from apportion.edges.files import from_jsonl, from_parquet, to_jsonl, to_parquet
from apportion.errors import BatchError
from apportion.ids import Codes

from .batches import random_batch

Write = Callable[[Batch, Path], None]
Read = Callable[[Path], Batch]
FORMATS: list[tuple[Write, Read]] = [(to_parquet, from_parquet), (to_jsonl, from_jsonl)]
formats = pytest.mark.parametrize(("write", "read"), FORMATS, ids=["parquet", "jsonl"])
fixture_ok = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@formats
@fixture_ok
@given(seed=st.integers(0, 10_000), rows=st.sampled_from(["trajectory", "turn"]), columns=st.booleans())
def test_every_column_comes_back(tmp_path: Path, write: Write, read: Read, seed: int, rows: str, columns: bool) -> None:
    batch = random_batch(seed, rows=rows, columns=columns)
    write(batch, tmp_path / "b")
    back = read(tmp_path / "b")
    assert back.same(batch)
    if columns:
        assert back.need("state").names == batch.need("state").names
        assert [type(n) for n in back.need("state").names] == [type(n) for n in batch.need("state").names]
        assert back.meta["nested"]["pair"] == (1, 2.5)
        assert isinstance(back.limit, int)


@formats
def test_the_same_batch_gives_the_same_bytes_and_no_draft_stays(tmp_path: Path, write: Write, read: Read) -> None:
    write(random_batch(7), tmp_path / "a")
    write(random_batch(7), tmp_path / "b")
    write(read(tmp_path / "a"), tmp_path / "c")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


@formats
def test_names_numbered_in_another_order_keep_their_numbers(tmp_path: Path, write: Write, read: Read) -> None:
    batch = Batch.from_turns([[1], [1]], agent=Codes(np.array([1, 0]), ("late", ("early", 1))))
    write(batch, tmp_path / "b")
    assert read(tmp_path / "b").same(batch)


@formats
def test_a_name_no_file_can_hold_leaves_the_old_file_alone(tmp_path: Path, write: Write, read: Read) -> None:
    write(random_batch(1), tmp_path / "b")
    before = (tmp_path / "b").read_bytes()
    with pytest.raises(BatchError, match="group name"):
        write(Batch.from_turns([[1]], group=[frozenset("a")]), tmp_path / "b")
    with pytest.raises(BatchError, match=r"meta\['f'\] is object"):
        write(Batch.from_turns([[1]], meta={"f": object()}), tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


@formats
def test_a_write_that_fails_half_way_leaves_nothing(
    tmp_path: Path, write: Write, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: str) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write(random_batch(1), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


@formats
def test_a_missing_file_is_an_ordinary_error(tmp_path: Path, write: Write, read: Read) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing")


@formats
@fixture_ok
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_short_is_never_read(tmp_path: Path, write: Write, read: Read, cut: float) -> None:
    write(random_batch(3), tmp_path / "b")
    whole = (tmp_path / "b").read_bytes()
    (tmp_path / "b").write_bytes(whole[: int(cut * (len(whole) - 1))])
    with pytest.raises(BatchError, match=r"line \d+" if read is from_jsonl else "Parquet"):
        read(tmp_path / "b")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_parquet_is_refused_or_harmless(tmp_path: Path, at: float, bit: int) -> None:
    batch = random_batch(3)
    to_parquet(batch, tmp_path / "b")
    data = bytearray((tmp_path / "b").read_bytes())
    data[int(at * len(data))] ^= 1 << bit
    (tmp_path / "b").write_bytes(data)
    try:
        back = from_parquet(tmp_path / "b")
    except BatchError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017
    else:
        assert back.same(batch)


def lines(tmp_path: Path) -> list[Any]:
    to_jsonl(random_batch(3), tmp_path / "b")
    return [json.loads(x) for x in (tmp_path / "b").read_text().splitlines()]


def _set(name: str, value: Any) -> Callable[[Any], Any]:
    return lambda row: {**row, name: value}


SPOILT: list[tuple[int, Callable[[Any], Any], str]] = [
    (3, _set("logp", "x"), "line 3: logp is str"),
    (3, lambda row: {**row, "logp": row["logp"][:-1]}, "line 3: logp has .* entries, expected"),
    (2, lambda row: {**row, "logp": [None, *row["logp"][1:]]}, r"line 2: logp\[0\] = null, expected float"),
    (2, lambda row: {**row, "logp": [3.0, *row["logp"][1:]]}, r"line 2: logp\[0\] = 3: expected at most 0"),
    (2, lambda row: {**row, "action": [2, *row["action"][1:]]}, r"line 2: action\[0\] = 2"),
    (4, lambda row: {**row, "ids": [2**70, *row["ids"][1:]]}, "line 4: ids"),
    (4, lambda row: {**row, "action": [0] * len(row["action"])}, "line 4: .*no action token"),
    (4, lambda row: {k: v for k, v in row.items() if k != "state"}, "line 4: column 'state' is missing"),
    (4, _set("extra", 1), "line 4: column 'extra' is not in the header"),
    (4, _set("trajectory", [1]), "line 4: trajectory: not a name"),
    (4, _set("trajectory", "t0"), r"trajectory\[2\] = 't0' is used twice"),
    (4, _set("row_turns", []), "line 4: row_turns"),
    (4, _set("step_tokens", [1]), "line 4: "),
    (4, lambda row: [row], "line 4: expected an object"),
    (1, _set("apportion", 99), "line 1: schema version 99"),
    (1, lambda row: {}, "line 1: this is no file of a batch"),
    (1, _set("columns", ["secret"]), "line 1: unknown column 'secret'"),
    (1, _set("columns", ["action"]), "line 1: the header lacks column 'turn_tokens'"),
    (1, _set("trajectories", 4), "ends after 5 trajectories, but its header promises 4"),
    (1, _set("spans", {"a": [[0], [0], []]}), r"spans\['a'\]\[0\]"),
    (1, _set("spans", {"a": 3}), "b: "),
    (1, _set("limit", 0), "limit = 0"),
]


@pytest.mark.parametrize(("number", "change", "message"), SPOILT)
def test_a_spoilt_line_is_named(tmp_path: Path, number: int, change: Callable[[Any], Any], message: str) -> None:
    found = lines(tmp_path)
    found[number - 1] = change(found[number - 1])
    (tmp_path / "b").write_text("".join(json.dumps(x) + "\n" for x in found))
    with pytest.raises(BatchError, match=message):
        from_jsonl(tmp_path / "b")


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    lines(tmp_path)
    text = (tmp_path / "b").read_text().splitlines()
    for bad in ("{", "", '{"a": NaN}', "\x00"):
        (tmp_path / "b").write_text("\n".join([*text[:3], bad, *text[4:]]))
        with pytest.raises(BatchError, match="line 4: not valid JSON"):
            from_jsonl(tmp_path / "b")


def test_a_parquet_file_of_something_else_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    pq.write_table(pa.table({"a": [1]}), tmp_path / "b")
    with pytest.raises(BatchError, match="holds no batch"):
        from_parquet(tmp_path / "b")


@formats
def test_a_million_tokens_and_thousands_of_trajectories_come_back(tmp_path: Path, write: Write, read: Read) -> None:
    rng = np.random.default_rng(0)
    n = 1_000_000
    long = Batch.from_turns([[n // 100] * 100], outcome=[1.0], ids=rng.integers(0, 50_000, n), logp=-rng.random(n))
    many = Batch.from_turns([[1]] * 4096, outcome=rng.random(4096), group=[i // 8 for i in range(4096)])
    for batch in (long, many):
        write(batch, tmp_path / "b")
        assert read(tmp_path / "b").same(batch)
