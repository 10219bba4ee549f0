"""Records and exports that someone wrote: everything that is wrong with them, each with its line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..edges.yaml_lines import NotYaml, parse, place
from .derived import links
from .export.whole import VERSION
from .query import spelling
from .records import Record, RecordError, checked, records, text

#: Endings of exports that leave out what a record is made of; they are not read again.
_ONE_WAY = frozenset((".csv", ".parquet", ".md", ".bib"))


@dataclass(frozen=True)
class Validated:
    """errors: what must be mended, ``file:line: field: reason``. notes: what is odd but may be right. count: records read."""

    errors: tuple[str, ...]
    notes: tuple[str, ...]
    count: int


def validate(path: Path) -> Validated:
    """Examine a file: one record (its id is the file's name), a list of records, or an export (JSON or YAML)."""
    if path.suffix.lower() in _ONE_WAY:
        return Validated((f"{path.name}: {path.suffix} is only written: give YAML, or an export as JSON or YAML",), (), 0)
    try:
        data = _parsed(path)
        errors, found = _examined(path, data)
        if errors and not hasattr(data, "lc"):  # quick JSON knows no lines: it is read again, as the YAML it is
            errors, found = _examined(path, parse(text(path)))
    except RecordError as error:
        return Validated((str(error),), (), 0)
    except NotYaml as error:
        return Validated((f"{path.name}:{error.place.line}: column {error.place.column}: {error.says}",), (), 0)
    except OSError as error:
        return Validated((f"{path}: {error.strerror or error}",), (), 0)
    notes = [f"{path.name}: {r.id}: {note}" for r in found for note in _notes(r)]
    return Validated(tuple(errors), tuple(notes), len(found))


def _parsed(path: Path) -> Any:
    written = text(path)
    if path.suffix.lower() == ".json":
        try:
            return json.loads(written, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            pass  # the YAML reader says where it is wrong
    return parse(written)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({k for k, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _examined(path: Path, data: Any) -> tuple[list[str], list[Record]]:
    errors: list[str] = []
    if isinstance(data, Mapping) and "inventory" in data:
        if data["inventory"] != VERSION:
            line = place(data, ("inventory",)).line
            said = f"inventory = {data['inventory']!r}: this version of apportion reads form {VERSION}"
            return [f"{path.name}:{line}: {said}"], []
        for name in data:
            if name not in ("inventory", "records", "derived"):
                errors.append(f"{path.name}:{place(data, (name,)).line}: {name}: an export has inventory, records and derived")
        pairs = _several(path, data, data.get("records"), ("records",))
    elif isinstance(data, Sequence) and not isinstance(data, str):
        pairs = _several(path, data, data, ())
    else:
        pairs = [checked(path.name, data, data, (), path.stem)]
    found = [record for record, _ in pairs if record is not None]
    errors += [line for _, lines in pairs for line in lines]
    errors += _twice(path, found)
    if isinstance(data, Mapping) and "inventory" in data:
        errors += _levels(path, data, found)
    return errors, found


def _several(path: Path, whole: Any, listed: Any, at: tuple[Any, ...]) -> list[tuple[Record | None, list[str]]]:
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        return [(None, [f"{path.name}:{place(whole, at).line}: records: expected a list of records"])]
    return [checked(path.name, data, whole, (*at, i)) for i, data in enumerate(listed)]


def _twice(path: Path, found: Sequence[Record]) -> list[str]:
    ids = [r.id for r in found]
    return [f"{path.name}: id = {id_!r} stands {ids.count(id_)} times" for id_ in dict.fromkeys(ids) if ids.count(id_) > 1]


def _levels(path: Path, data: Mapping[str, Any], found: Sequence[Record]) -> list[str]:
    """An evidence level is derived, never typed in: one that does not follow from the facts is an error."""
    said, errors = data.get("derived"), []
    for record in found:
        more = said.get(record.id) if isinstance(said, Mapping) else None
        level = more.get("evidence") if isinstance(more, Mapping) else None
        if level is not None and level != record.evidence:
            line = place(data, ("derived", record.id, "evidence")).line
            errors.append(f"{path.name}:{line}: derived.{record.id}.evidence = {level!r}: the facts give {record.evidence!r}")
    return errors


def _notes(found: Record) -> list[str]:
    """What is odd, but may be right."""
    notes = []
    others = [r for r in records().values() if r.id != found.id]
    if found.arxiv:
        notes += [f"arXiv {found.arxiv} is also the paper of '{r.id}'" for r in others if r.arxiv == found.arxiv]
        month = f"20{found.arxiv[:2]}-{found.arxiv[2:4]}"
        if len(found.date) > 4 and found.date != month:
            notes.append(f"date is {found.date}, but arXiv {found.arxiv} is of {month}")
    names = {spelling(n) for n in (found.name, *found.aliases)}
    notes += [f"'{r.id}' bears the same name" for r in others if names & {spelling(n) for n in (r.id, r.name, *r.aliases)}]
    if found.code.known and "code" not in links(found):
        notes.append(f"code = {found.code.value!r} is neither owner/name nor an https address: it gets no link")
    return notes
