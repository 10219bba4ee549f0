"""Rows of Parquet files and of Hugging Face datasets on disk, a few at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BatchError
from .sources import Chain, Piece

#: Rows turned into Python values together.
_ROWS = 32


@dataclass(frozen=True)
class Parquet:
    """Rows of a Parquet file."""

    path: Path
    total: int
    unit: str = "row"

    def scan(self) -> Iterator[Piece]:
        row = 0
        for part in self._batches(None):
            size = part.nbytes // max(part.num_rows, 1)
            for value in part.to_pylist():
                row += 1
                yield Piece(row - 1, size, row, _named(value))

    def _batches(self, groups: list[int] | None) -> Iterator[Any]:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        try:
            with pq.ParquetFile(self.path) as file:
                yield from file.iter_batches(batch_size=_ROWS, row_groups=groups, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise BatchError(f"{self.path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None

    def read(self, address: Sequence[int], size: Sequence[int]) -> Iterator[Any]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            rows = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        first, k = 0, 0
        for group, n in enumerate(rows):
            wanted = []
            while k < len(address) and address[k] < first + n:
                wanted.append(address[k] - first)
                k += 1
            if wanted:
                yield from _pick(self._batches([group]), wanted)
            first += n

    def where(self, line: int) -> str:
        return f"{self.path}, row {line - 1}"

    def name(self, line: int) -> Any:
        return line - 1


def _pick(batches: Iterator[Any], wanted: list[int]) -> Iterator[Any]:
    """Values of the rows ``wanted`` (rising) of record batches that follow one another."""
    first, k = 0, 0
    for part in batches:
        here = []
        while k < len(wanted) and wanted[k] < first + part.num_rows:
            here.append(wanted[k] - first)
            k += 1
        if here:
            yield from map(_named, part.take(here).to_pylist())
        if k == len(wanted):
            return
        first += part.num_rows


@dataclass(frozen=True)
class Arrow:
    """Rows of an Arrow file (stream or random access), mapped into memory and not read before they are used."""

    path: Path
    total: int
    unit: str = "row"

    def _batches(self) -> Iterator[Any]:
        import pyarrow as pa

        try:
            with pa.memory_map(str(self.path)) as file:
                try:
                    yield from pa.ipc.open_stream(file)
                except pa.ArrowInvalid:
                    file.seek(0)
                    reader = pa.ipc.open_file(file)
                    yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
        except (pa.ArrowException, OSError) as error:
            raise BatchError(f"{self.path}: not a readable Arrow file ({str(error).splitlines()[0]})") from None

    def _small(self) -> Iterator[Any]:
        for part in self._batches():
            for k in range(0, part.num_rows, _ROWS):
                yield part.slice(k, _ROWS)

    def scan(self) -> Iterator[Piece]:
        row = 0
        for part in self._small():
            size = part.nbytes // max(part.num_rows, 1)
            for value in part.to_pylist():
                row += 1
                yield Piece(row - 1, size, row, _named(value))

    def read(self, address: Sequence[int], size: Sequence[int]) -> Iterator[Any]:
        return _pick(self._small(), list(address))

    def where(self, line: int) -> str:
        return f"{self.path}, row {line - 1}"

    def name(self, line: int) -> Any:
        return line - 1


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """A row without nulls: a table has every key in every row, whether there is something or not."""
    return {k: _filled(v) for k, v in row.items() if v is not None}


def _filled(value: Any) -> Any:
    # A struct column gives every message every key: those that are null were not there.
    if isinstance(value, dict):
        return {k: _filled(v) for k, v in value.items() if v is not None}
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        return [_filled(v) for v in value]
    return value


def saved_dataset(folder: Path) -> Chain:
    """A folder written by ``Dataset.save_to_disk``; one written by ``DatasetDict`` must name its split."""
    if (folder / "dataset_dict.json").exists():
        splits = json.loads((folder / "dataset_dict.json").read_text())["splits"]
        ways = ", ".join(str(folder / s) for s in splits)
        raise BatchError(f"{folder} holds several data sets: choose one of its splits: {ways}")
    state = json.loads((folder / "state.json").read_text())
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise BatchError(f"{folder}: rows were selected but not written out: save it again after dataset.flatten_indices()")
    paths = tuple(folder / f["filename"] for f in state["_data_files"])
    return Chain(folder, tuple(Arrow(p, p.stat().st_size) for p in paths), paths)
