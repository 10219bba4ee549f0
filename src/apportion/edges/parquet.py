"""Parquet: one row per trajectory, one list column per batch column; list offsets *are* the batch's.

Names are int32 codes, their table lies with schema version, limit, spans and meta in the file's
metadata (key ``apportion``, with a checksum). Pages carry checksums too, so that no flipped bit
passes for data.
"""

from __future__ import annotations

import json
import zlib
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from ..batch import Batch
from ..errors import BatchError
from ..ids import Codes
from ..structure import Int
from .atomic import atomic
from .plain import python
from .tables import axes, build, check_header, code_names, columns, cuts, header
from .turns import offsets_of

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

Path = str | PathLike[str]
_KEY = b"apportion"
_SUM = b"apportion.crc32"


def to_parquet(batch: Batch, path: Path) -> None:
    """Write a batch; the same batch and library versions give the same bytes. A layout is not kept."""
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    head = header(batch)
    head["names"] = {}
    arrays = {}
    for name, values in columns(batch).items():
        if isinstance(values, Codes):
            head["names"][name] = code_names(name, values)
        arrays[name] = _write(name, values, cuts(batch, axes()[name][0]), axes()[name][0])
    text = json.dumps(head, allow_nan=False, separators=(",", ":")).encode()
    table = pa.table(arrays).replace_schema_metadata({_KEY: text, _SUM: str(zlib.crc32(text)).encode()})
    with atomic(path) as file:
        pq.write_table(table, file, compression="zstd", row_group_size=4096, write_page_checksum=True)


def _write(name: str, values: Any, cut: Int, axis: str) -> pa.Array:
    import pyarrow as pa

    mask = None
    if isinstance(values, Codes):
        array = values.codes.astype(np.int32)
        mask = array < 0
    elif isinstance(values, tuple):
        try:
            flat = pa.array(values, pa.large_string())
        except UnicodeEncodeError as error:
            raise BatchError(f"{name}: a text is not valid Unicode ({error})") from None
        return flat if axis == "trajectory" else pa.LargeListArray.from_arrays(cut, flat)
    else:
        array = values
        mask = np.isnan(array) if array.dtype.kind == "f" else None
    flat = pa.array(array, mask=mask if mask is not None and mask.any() else None)
    return flat if axis == "trajectory" else pa.LargeListArray.from_arrays(cut, flat)


def from_parquet(path: Path) -> Batch:
    """Read a batch written by :func:`to_parquet`; a broken file is named with the row group and reason."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    corrupt = (pa.ArrowException, OSError, ValueError, LookupError, OverflowError, MemoryError)
    with open(path, "rb") as source:
        try:
            file = pq.ParquetFile(source, page_checksum_verification=True)
            stored = file.schema_arrow.metadata or {}
        except corrupt as error:
            raise BatchError(f"{path}: not a readable Parquet file, perhaps cut short ({_first(error)})") from None
        head = _header(stored, str(path))
        groups = []
        for g in range(file.num_row_groups):
            try:
                groups.append(file.read_row_group(g))
                groups[-1].validate(full=True)
            except corrupt as error:
                raise BatchError(f"{path}: row group {g} is corrupt ({_first(error)})") from None
    table = pa.concat_tables(groups) if groups else None
    if table is None or table.num_rows != head["trajectories"]:
        got = 0 if table is None else table.num_rows
        raise BatchError(f"{path}: {got} trajectories, but its header promises {head['trajectories']}")
    flat: dict[str, Any] = {}
    lists: dict[str, Int] = {}
    for name in head["columns"]:
        if name not in table.column_names:
            raise BatchError(f"{path}: column '{name}' is missing")
        flat[name], lists[name] = _read(name, table[name].combine_chunks(), head, str(path))
    _agree(flat, lists, str(path))
    return build(head, flat, np.diff(lists["row_turns"]), str(path))


def _header(stored: dict[bytes, bytes], path: str) -> dict[str, Any]:
    text = stored.get(_KEY)
    if text is None:
        raise BatchError(f"{path}: this Parquet file holds no batch (its metadata lacks 'apportion')")
    if stored.get(_SUM) != str(zlib.crc32(text)).encode():
        raise BatchError(f"{path}: the metadata is corrupt (its checksum disagrees)")
    return check_header(json.loads(text), path)


def _read(name: str, column: pa.Array, head: dict[str, Any], path: str) -> tuple[Any, Int]:
    """Flat values and the list offsets of the trajectories."""
    axis, kind = axes()[name]
    if axis == "trajectory":
        offsets = np.arange(len(column) + 1, dtype=np.int64)
    else:
        if not str(column.type).startswith(("list<", "large_list<")) or column.null_count:
            raise BatchError(f"{path}: {name} is {column.type}, expected lists with one entry per {axis}")
        offsets = np.asarray(column.offsets, dtype=np.int64)
        offsets = offsets - offsets[0]
        column = column.flatten()
    expected = {"float": ("double",), "int": ("int64",), "bool": ("bool",), "codes": ("int32",)}
    if str(column.type) not in expected.get(kind, ("string", "large_string")):
        raise BatchError(f"{path}: {name} holds {column.type}, expected {kind}")
    if kind == "text":
        return tuple(column.to_pylist()), offsets
    if kind == "codes":
        codes = np.asarray(column.fill_null(-1), dtype=np.int64)
        return Codes(codes, tuple(python(v) for v in head["names"].get(name, []))), offsets
    if kind != "float" and column.null_count:
        raise BatchError(f"{path}: {name} has nulls, which it cannot have")
    return column.to_numpy(zero_copy_only=False), offsets


def _agree(flat: dict[str, Any], lists: dict[str, Int], path: str) -> None:
    """Refuse lists whose lengths disagree with the turns of their trajectory."""
    size = {n: np.diff(o) for n, o in lists.items()}
    turns, tokens = size["turn_tokens"], size["action"]
    expected = {"turn": turns, "token": tokens, "step": size.get("step_tokens", turns), "prefix": turns + 1}
    for name in size:
        axis = axes()[name][0]
        _equal(f"{path}: {name}", "entries", size[name], expected.get(axis, size[name]), f"one per {axis}")
    for name, total in (("row_turns", turns), ("turn_tokens", tokens), ("step_tokens", tokens)):
        if name in lists:
            summed = np.diff(offsets_of(flat[name])[lists[name]])
            _equal(f"{path}: {name}", "in total", summed, total, "as many as the trajectory has")


def _equal(what: str, unit: str, got: Int, expected: Int, why: str) -> None:
    wrong = got != expected
    if wrong.any():
        i = int(np.argmax(wrong))
        raise BatchError(f"{what} of trajectory {i} has {got[i]} {unit}, expected {expected[i]}: {why}")


def _first(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
