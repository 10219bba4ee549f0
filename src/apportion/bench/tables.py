"""The tables of a run folder, written a part at a time: memory does not grow with the suite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from .records import Row
from .store import RESULTS, TIMINGS, write_atomic

#: Rows a part (a row group of the file) holds; part of the format, since other parts make other bytes.
PART = 1 << 16


def write_results(folder: Path, rows: Iterable[Row]) -> None:
    """The tidy result file, from rows in :func:`store.order`: fixed schema, no dates; equal rows give equal bytes."""
    import pyarrow as pa  # type: ignore[import-untyped]

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    kinds = dict(zip(Row._fields, (text, text, whole, text, text, whole, real, real), strict=True))
    _write(folder / RESULTS, kinds, rows)


def write_timings(folder: Path, times: Iterable[tuple[str, float, float]]) -> None:
    """Cell, seconds and start (seconds since 1970, UTC)."""
    import pyarrow as pa

    kinds = {"cell": pa.string(), "seconds": pa.float64(), "started": pa.timestamp("us", tz="UTC")}
    _write(folder / TIMINGS, kinds, sorted((cell, seconds, int(started * 1e6)) for cell, seconds, started in times))


def _write(path: Path, kinds: dict[str, Any], records: Iterable[tuple[Any, ...]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])

    def write(file: IO[bytes]) -> None:
        with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for part in _parts(iter(records)):
                arrays = [pa.array([record[i] for record in part], type=kind) for i, kind in enumerate(kinds.values())]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

    write_atomic(path, write)


def _parts(records: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Lists of PART records; one empty list where there are none, so that the file has its schema."""
    yield list(islice(records, PART))
    while part := list(islice(records, PART)):
        yield part
