"""The inventory in other people's formats: full in JSON and YAML, one row a paper elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from ..query import checked_word
from ..records import Record

Format = Literal["csv", "json", "yaml", "bibtex", "parquet", "md"]
FORMATS: tuple[str, ...] = get_args(Format)

#: Endings of files by which a format is known.
ENDINGS: Mapping[str, str] = {
    "csv": "csv",
    "json": "json",
    "yaml": "yaml",
    "yml": "yaml",
    "bib": "bibtex",
    "parquet": "parquet",
    "md": "md",
}


def export(found: Sequence[Record], format: str) -> bytes:
    """The records as a file of this format, UTF-8 where it is text.

    csv: one row a paper, cells that a spreadsheet would run begin with an apostrophe. parquet: the same
    columns, typed, null where csv says unknown. md: a table to read. bibtex: one entry a paper.
    json, yaml: everything, in the form :func:`apportion.survey.validate.validate` reads again. Raises
    ``QueryError`` for an unknown format.
    """
    return _writer(checked_word("format", format, FORMATS))(found)


def _writer(format: str) -> Callable[[Sequence[Record]], bytes]:
    if format in ("json", "yaml"):
        from . import whole

        return whole.json if format == "json" else whole.yaml
    if format == "bibtex":
        from .bibtex import bibtex

        return bibtex
    from . import tables

    return {"csv": tables.csv, "parquet": tables.parquet, "md": tables.markdown}[format]
