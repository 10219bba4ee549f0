"""The rows of :mod:`.flat` as CSV, as Parquet, and as a table to read in Markdown."""

from __future__ import annotations

import csv as _csv
import io
from collections.abc import Sequence

from ...edges import escape
from ..coded import UNKNOWN
from ..derived import by_origin, differ, links
from ..query import LABELLED, registered
from ..records import Record
from ..show import words
from .flat import COLUMNS, Cell, row


def csv(found: Sequence[Record]) -> bytes:
    """Several words in a cell are separated by ``; ``; ``none`` is a list known to be empty, nothing is "not said"."""
    file = io.StringIO(newline="")
    writer = _csv.writer(file)  # lines end as RFC 4180 says, and a lone carriage return in a cell is quoted
    writer.writerow(COLUMNS)
    writer.writerows([escape.cell(_text(c)) for c in row(r).values()] for r in found)
    return file.getvalue().encode()


def _text(cell: Cell) -> str:
    if isinstance(cell, list):
        return "; ".join(cell) or "none"
    return "" if cell is None else words(cell)


def parquet(found: Sequence[Record]) -> bytes:
    """Typed columns: lists are lists, null is "unknown" or "not said"."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    kinds = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), list: pa.list_(pa.string())}
    schema = pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    rows = [{name: None if cell == UNKNOWN else cell for name, cell in row(r).items()} for r in found]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
    return file.getvalue()


_HEADS = ("name", "date", *LABELLED, "compares with", "evidence", "needs", "here")


def markdown(found: Sequence[Record]) -> bytes:
    """Where sources differ on a label, the others' stand in brackets."""
    here = registered()
    lines = [_line(_HEADS), _line(["---"] * len(_HEADS))]
    for r in found:
        name, to = escape.markdown(r.name), links(r)
        cells = [f"[{name}]({to['arxiv']})" if "arxiv" in to else name, r.date]
        cells += [escape.markdown(_label(r, field)) for field in LABELLED]
        cells += [escape.markdown(words(said)) for said in (r.baseline_family.is_, r.evidence, r.needs.is_)]
        lines.append(_line([*cells, "yes" if r.id in here else ""]))
    return ("\n".join(lines) + "\n").encode()


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _label(found: Record, field: str) -> str:
    believed = words(found.labels(field) or "unknown")
    if field not in differ(found):
        return believed
    others = {origin: said for origin, said in by_origin(found, field).items() if set(said) != set(found.labels(field))}
    return f"{believed} ({'; '.join(f'{origin}: {words(said)}' for origin, said in others.items())})"
