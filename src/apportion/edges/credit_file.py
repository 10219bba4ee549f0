"""Credit tables in files: Parquet, or JSON lines and CSV for reading elsewhere; whole or not there."""

from __future__ import annotations

import json
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..batch import Batch
from ..credit import Credit
from ..errors import CreditError
from .atomic import atomic
from .credit_join import conform
from .credit_table import KEY, SCHEMA, credit_table, name_texts, schema

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow as pa  # type: ignore[import-untyped]

SUFFIXES = (".parquet", ".jsonl", ".csv")
ROWS = 1 << 18  # of a row group: rows wait in memory until there are so many


class CreditWriter:
    """Appends credit, a batch after another, to one file that appears when all of it is there.

    The suffix says the format: .parquet keeps everything; .jsonl and .csv hold the rows alone, not
    the configurations behind their hashes. A trajectory that comes twice with one configuration is
    refused, since no reader could tell its rows apart.

    >>> with CreditWriter("credit.parquet") as out:  # doctest: +SKIP
    ...     for batch in log.batches():
    ...         out.append(assign(batch, "rloo"))
    """

    def __init__(self, path: str | PathLike[str], *, rows: int = ROWS) -> None:
        self.path = Path(path)
        if self.path.suffix not in SUFFIXES:
            raise CreditError(f"{self.path}: a credit table ends in {', '.join(SUFFIXES)}")
        self.rows = 0
        self._most = rows
        self._waiting: list[pa.Table] = []
        self._configs: dict[str, Any] = {}
        self._seen: set[int] = set()

    def __enter__(self) -> CreditWriter:
        self._stack = ExitStack()
        self._file: BinaryIO = self._stack.enter_context(atomic(self.path))
        self._sink: Any = None
        return self

    def append(self, credit: Credit, **how: Any) -> pa.Table:
        """Add the rows of a credit (:func:`credit_table` takes the same keywords); returns them."""
        table = credit_table(credit, **how)
        self.append_table(table)
        return table

    def append_table(self, table: pa.Table) -> None:
        """Add the rows of a table, of one made elsewhere too."""
        table = conform(table)
        self._once(table)
        self._configs |= json.loads((table.schema.metadata or {}).get(KEY, b'{"configs": {}}'))["configs"]
        self._waiting.append(table.replace_schema_metadata(None))
        if sum(t.num_rows for t in self._waiting) >= self._most:
            self._flush()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        if kind is None:
            try:
                self._flush(last=True)
            except BaseException as failed:
                self._stack.__exit__(type(failed), failed, failed.__traceback__)
                raise
        elif self._sink is not None and hasattr(self._sink, "close"):
            self._sink.close()
        return self._stack.__exit__(kind, error, trace)

    def _once(self, table: pa.Table) -> None:
        import numpy as np

        from .credit_join import _codes

        keys = [_codes(table, name) for name in ("trajectory", "config", "source", "level")]
        mixed = np.zeros(table.num_rows, dtype=np.int64)
        for codes, names in keys:
            mixed = mixed * (len(names) + 1) + codes
        # Hashes, as the names of a long log would not fit in memory; two of 10^7 collide once in 10^5 logs.
        fresh: set[int] = set()
        for i in np.unique(mixed, return_index=True)[1]:
            key = tuple(names[codes[i]] for codes, names in keys)
            if hash(key) in self._seen:
                again = f"trajectory {key[0]!r} comes twice"
                raise CreditError(f"{again}: its rows could not be told apart; give trajectories names of their own")
            fresh.add(hash(key))
        self._seen |= fresh

    def _flush(self, last: bool = False) -> None:
        import pyarrow as pa

        empty = schema().empty_table()
        table = pa.concat_tables(self._waiting).unify_dictionaries() if self._waiting else empty
        self._waiting = []
        self.rows += table.num_rows
        if self.path.suffix == ".parquet":
            self._parquet(table, last)
        elif self.path.suffix == ".csv":
            self._csv(table, last)
        else:
            for rows in table.to_batches(max_chunksize=1 << 14):
                lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows.to_pylist())
                self._file.write("".join(f"{line}\n" for line in lines).encode())

    def _parquet(self, table: pa.Table, last: bool) -> None:
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        if self._sink is None:
            self._sink = pq.ParquetWriter(self._file, schema(), compression="zstd", write_page_checksum=True)
        if table.num_rows:
            self._sink.write_table(table, row_group_size=max(self._most, 1))
        if last:
            head = {"schema": SCHEMA, "configs": self._configs}
            self._sink.add_key_value_metadata({KEY: json.dumps(head, ensure_ascii=False)})
            self._sink.close()

    def _csv(self, table: pa.Table, last: bool) -> None:
        import pyarrow as pa
        import pyarrow.csv as csv  # type: ignore[import-untyped]

        flat = pa.schema([(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in schema()])
        if self._sink is None:
            self._sink = csv.CSVWriter(self._file, flat)
        if table.num_rows:
            self._sink.write_table(table.cast(flat))
        if last:
            self._sink.close()


def read_credit(path: str | PathLike[str], batch: Batch | None = None) -> pa.Table:
    """A credit table from a .parquet, .jsonl or .csv file, written by :class:`CreditWriter` or elsewhere.

    It needs columns trajectory, level, unit and value; ``Credit.from_table`` joins it onto a batch.
    batch: read the rows of its trajectories alone, in little memory from Parquet. Raises
    ``CreditError`` naming the file.
    """
    import pyarrow as pa

    where = Path(path)
    if where.suffix not in SUFFIXES:
        raise CreditError(f"{where}: a credit table ends in {', '.join(SUFFIXES)}")
    if not where.is_file():
        raise CreditError(f"{where}: no such file")
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl}
    names = None if batch is None else pa.array(name_texts("trajectory", batch.trajectory), pa.string())
    try:
        if where.suffix == ".parquet":
            return _read_parquet(where, names)
        return _only(conform(readers[where.suffix](where)), names)
    except CreditError as error:
        raise CreditError(f"{where}: {error}") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CreditError(f"{where}: not a readable credit table ({str(error).strip().splitlines()[0]})") from None


def _only(table: pa.Table, names: pa.Array | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    if names is None or not table.num_rows:
        return table
    column = table["trajectory"].combine_chunks()
    wanted = pc.is_in(column.dictionary, value_set=names)
    # A row without a trajectory stays, to be complained of.
    return table.filter(pc.fill_null(pc.take(wanted, column.indices), pa.scalar(True)))


def _read_parquet(path: Path, names: pa.Array | None) -> pa.Table:
    """The rows of these trajectories, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        parts = [_only(conform(file.read_row_group(g)), names) for g in range(file.num_row_groups)]
        text = (file.metadata.metadata or {}).get(KEY)
        table = conform(pa.concat_tables(parts)) if parts else conform(file.schema_arrow.empty_table())
    return table.replace_schema_metadata({KEY: text} if text else None)


def _types() -> dict[str, Any]:
    import pyarrow as pa

    return {f.name: pa.string() if pa.types.is_dictionary(f.type) else f.type for f in schema()}


def _read_csv(path: Path) -> pa.Table:
    import pyarrow.csv as csv

    options = csv.ConvertOptions(column_types=_types(), strings_can_be_null=True, quoted_strings_can_be_null=False)
    return csv.read_csv(path, convert_options=options)


def _read_jsonl(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.json as js  # type: ignore[import-untyped]

    # An empty file holds no rows; Arrow takes it for an error.
    if path.stat().st_size == 0:
        return schema().empty_table()
    fields = pa.schema(list(_types().items()))
    return js.read_json(path, parse_options=js.ParseOptions(explicit_schema=fields, unexpected_field_behavior="ignore"))
