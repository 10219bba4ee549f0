"""What a file is, found out from its bytes; every way of storing records reads the same."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

import apportion as ap
from apportion.errors import BatchError
from apportion.logs import Log, open_log

from .test_logs_chat import ASK, LOOK, SAY, SEEN, lines

#: Chats of different lengths in three scattered groups; a text with brackets and quotes in it.
ROWS: list[dict[str, Any]] = [
    {"messages": [ASK, *[LOOK, SEEN] * (i % 4), {**SAY, "content": f'say "{i}" {{[\\'}], "group": f"g{i % 3}", "reward": i / 4}
    for i in range(23)
]


def contents(log: Log) -> list[Any]:
    """What is read, piece by piece."""
    return [(b.reward.tolist(), b.need("text")) for b in log.batches("group", 1)]


def stored(path: Path, kind: str) -> Path:
    text = "\n".join(map(json.dumps, ROWS))
    if kind == "jsonl":
        path.write_text(text + "\n")
    elif kind == "blank lines":
        path.write_text("\n" + text.replace("\n", "\n\n") + "\n\n")
    elif kind in ("array", "indented array"):
        path.write_text(json.dumps(ROWS, indent=2 if kind == "indented array" else None))
    elif kind == "indented documents":
        path.write_text("\n".join(json.dumps(r, indent=2) for r in ROWS))
    elif kind == "gzip":
        path.write_bytes(gzip.compress(text.encode()))
    elif kind == "bz2":
        path.write_bytes(bz2.compress(json.dumps(ROWS).encode()))
    elif kind == "zstd":
        with pa.output_stream(str(path), compression="zstd") as file:
            file.write(text.encode())
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=5)
    elif kind in ("arrow stream", "arrow file"):
        table = pa.Table.from_pylist(ROWS)
        with (pa.ipc.new_stream if kind == "arrow stream" else pa.ipc.new_file)(str(path), table.schema) as file:
            file.write_table(table, max_chunksize=7)
    elif kind == "saved data set":
        path.mkdir()
        files = []
        for k, part in enumerate((ROWS[:9], ROWS[9:])):
            files.append(stored_part(path / f"data-{k:05d}-of-00002.arrow", part))
        (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": f} for f in files], "_indices_files": None}))
        (path / "dataset_info.json").write_text("{}")
    elif kind == "folder of lines":
        path.mkdir()
        for k, part in enumerate((ROWS[:4], ROWS[4:11], ROWS[11:])):
            lines(path / f"{(2, 9, 10)[k]}.jsonl", *part)
    elif kind == "folder of documents":
        path.mkdir()
        for i, row in enumerate(ROWS):
            (path / f"{i}.json").write_text(json.dumps(row, indent=1))
    return path


def stored_part(path: Path, rows: list[dict[str, Any]]) -> str:
    table = pa.Table.from_pylist(rows, schema=pa.Table.from_pylist(ROWS).schema)
    with pa.ipc.new_stream(str(path), table.schema) as file:
        file.write_table(table, max_chunksize=4)
    return path.name


KINDS = (
    "jsonl", "blank lines", "array", "indented array", "indented documents", "gzip", "bz2", "zstd", "parquet", "arrow stream",
    "arrow file", "saved data set", "folder of lines", "folder of documents",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_of_storing_records_reads_the_same(tmp_path: Path, kind: str) -> None:
    log = open_log(stored(tmp_path / "log", kind))
    assert (log.format, log.trajectories, log.groups) == ("chat", 23, 3)
    assert contents(log) == contents(open_log(lines(tmp_path / "plain", *ROWS)))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("jsonl", (1, 23)), ("blank lines", (2, 46)), ("array", (1, 23)), ("parquet", (0, 22)),
        ("saved data set", ("data-00000-of-00002.arrow:0", "data-00001-of-00002.arrow:13")),
        ("folder of lines", ("2.jsonl:1", "10.jsonl:12")), ("folder of documents", ("0.json:1", "22.json:1")),
    ],
)  # fmt: skip
def test_trajectories_are_named_by_where_they_lie(tmp_path: Path, kind: str, names: tuple[Any, Any]) -> None:
    trajectory = open_log(stored(tmp_path / "log", kind)).batch().trajectory
    assert (trajectory.name(0), trajectory.name(22)) == names


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_cannot_be_used_is_named_where_it_lies(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [*ROWS[:12], {**ROWS[12], "messages": [{**ASK, "role": "critic"}]}, *ROWS[13:]]
    monkeypatch.setattr("tests.test_logs_sources.ROWS", broken)
    place = {
        "jsonl": "log, line 13", "blank lines": "log, line 26", "array": "log, element 13", "indented array": "log, element 13",
        "indented documents": "log, document 13", "gzip": "log, line 13", "bz2": "log, element 13", "zstd": "log, line 13",
        "parquet": "log, row 12", "arrow stream": "log, row 12", "arrow file": "log, row 12",
        "saved data set": "log/data-00001-of-00002.arrow, row 3", "folder of lines": "log/10.jsonl, line 2",
        "folder of documents": "log/12.json, document 1",
    }[kind]  # fmt: skip
    with pytest.raises(BatchError) as caught:
        open_log(stored(tmp_path / "log", kind))
    assert f"{place}: message 0: role = 'critic'" in str(caught.value)


def test_one_chat_over_several_lines_is_one_record(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(json.dumps(ROWS[3]["messages"], indent=2))
    assert open_log(tmp_path / "a").trajectories == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty. Formats: verifiers:"),
        (b"\n \n", "the file is empty"),
        (b"prompt,reward\n", "line 1: no JSON, Parquet, Arrow or tensor file; it begins 'prompt,reward'"),
        (b'{"a": 1}\n', "line 1: an object with the keys a, which is no format of a log. Formats: verifiers:"),
        (b"[1, 2]", "no record in it"),
        (b'[["x"]]', "element 1: a list of str, which is no format"),
        (b'{"messages": [}\n{"messages": []}\n', "line 1: not valid JSON"),
        (b'[\n{"messages": [{"role"', r"ends inside a value \(4 brackets are open\)"),
        (b"\x80\x04\x95", "Python pickle, which can run code"),
        (b"\x93NUMPY", "one array without a name"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"PAR1 no", "not a readable Parquet file"),
        (b"\xff\xff\xff\xffx", "not a readable Arrow file"),
        (b"PK\x03\x04 no", "not readable as named arrays"),
        (b"\x1f\x8b no", "looks like gzip, but does not unpack"),
    ],
)
def test_what_cannot_be_read_says_what_it_looks_like(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(BatchError, match=message):
        open_log(tmp_path / "log")


def test_what_is_not_there_and_what_holds_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="no such file"):
        open_log(tmp_path / "none")
    with pytest.raises(BatchError, match=r"no \.jsonl.* file in this folder"):
        open_log(tmp_path)


def test_a_line_cut_short_is_named(tmp_path: Path) -> None:
    path = lines(tmp_path / "a", *ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BatchError, match="a, line 23: not valid JSON"):
        open_log(path)


def test_several_splits_ask_for_one(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(BatchError, match=r"choose one of its splits: .*/train, .*/test"):
        open_log(tmp_path)


def test_rows_selected_but_not_written_are_refused(tmp_path: Path) -> None:
    folder = stored(tmp_path / "log", "saved data set")
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "_indices_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(BatchError, match="flatten_indices"):
        open_log(folder)


def test_a_dump_among_records_is_asked_for_by_itself(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", *ROWS)
    ap.example("agent").to_jsonl(tmp_path / "b.jsonl")
    with pytest.raises(BatchError, match=r"b\.jsonl is a file to be read by itself"):
        open_log(tmp_path)


def test_nulls_of_a_table_are_keys_that_are_not_there(tmp_path: Path) -> None:
    rows = [{"messages": [ASK, LOOK, SEEN, SAY], "reward": 1.0, "uid": "p"}, {"messages": [ASK, SAY], "uid": "p"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log")
    with pytest.raises(BatchError, match="log, row 1: no reward"):
        open_log(tmp_path / "log")
    assert (
        open_log(tmp_path / "log", unscored="drop").batch().need("text")[1] == "tool: The box is empty.\nassistant: It is gone."
    )


def test_a_key_that_is_null_in_a_row_of_tokens_is_not_there(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"completion_ids": [1, 2], "turn_ids": [0, 1]}, {"completion_ids": [3, 4], "turn_ids": None}]
    pq.write_table(pa.Table.from_pylist([{**row, "response_mask": [1, 1]} for row in rows]), tmp_path / "ids")
    assert open_log(tmp_path / "ids").batch().turn_offsets.tolist() == [0, 1, 2, 4]


def test_a_format_may_be_insisted_on(tmp_path: Path) -> None:
    path = lines(tmp_path / "a", *ROWS)
    assert open_log(path, format="chat").trajectories == 23
    with pytest.raises(BatchError, match="a, line 1: "):
        open_log(path, format="atif")
    np.savez(tmp_path / "b.npz", response_mask=np.ones((2, 2)))
    with pytest.raises(BatchError, match=r"no log of format 'chat': it was taken for 'padded'"):
        open_log(tmp_path / "b.npz", format="chat")
