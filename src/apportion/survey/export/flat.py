"""One row a paper: the labels to go by, what each source says of them, and everything else in one cell a field."""

from __future__ import annotations

from typing import Any, get_args

from ..coded import Coded
from ..derived import by_origin, differ
from ..query import LABELLED, registered, values
from ..records import Record, Result
from ..terms import DIAGNOSTICS, ITEMS, Origin

#: What a cell can hold; "unknown" is a word, None is "nothing said" or "there is none".
Cell = str | int | bool | list[str] | None
Row = dict[str, Cell]

_FACTS = {"role": str, "comparator": str, "benchmarks": int, "seeds": int, "interval": bool}

_TEXT = ("id", "name", "title", "authors", "date", "arxiv", "arxiv_note", "snapshot", "status")
_CODED = ("venue", "peer_reviewed", "code", "licence", "baseline_family", "needs", "cost", "base_models", "benchmarks")


def _columns() -> dict[str, type]:
    """Column -> type of its cells, in order."""
    said: dict[str, type] = {"id": str, "name": str, "aliases": list}
    said |= dict.fromkeys(("title", "authors", "date", "arxiv", "arxiv_note", "venue"), str)
    said |= {"peer_reviewed": bool, "code": str, "licence": str, "snapshot": str}
    for field in LABELLED:
        said |= {field: list, **{f"{field}_{origin}": list for origin in get_args(Origin)}}
    said |= {"sources_differ_on": list, "baseline_family": list, "evidence": str}
    said |= {f"facts_{name}": kind for name, kind in _FACTS.items()}
    said |= {"needs": list, "needs_nothing_extra": bool, "cost": str}
    said |= {"base_models": list, "benchmarks": list, "results": list}
    said |= {f"checklist_{item}": str for item in ITEMS} | {f"diagnostic_{code}": str for code in DIAGNOSTICS}
    return said | {"notes": list, "status": str, "implemented": bool}


COLUMNS = _columns()


def row(found: Record) -> Row:
    """The record by the names of :data:`COLUMNS`."""
    said: Row = {name: getattr(found, name) for name in _TEXT}
    said |= {name: _list(getattr(found, name)) for name in ("aliases", "notes")}
    said |= {name: _cell(getattr(found, name)) for name in _CODED}
    for field in LABELLED:
        said[field] = list(found.labels(field)) or "unknown"
        said |= {f"{field}_{origin}": by_origin(found, field).get(origin) for origin in get_args(Origin)}
    said |= {f"facts_{name}": _cell(getattr(found.facts, name)) for name in _FACTS}
    said |= {f"checklist_{item}": _cell(c) for item, c in found.checklist.items()}
    said |= {f"diagnostic_{code}": _cell(c) for code, c in found.diagnostics.items()}
    said["results"] = [_result(r) for r in found.results]
    said["sources_differ_on"] = differ(found)
    said["evidence"] = found.evidence
    said["needs_nothing_extra"] = "none" in values(found, "needs") if found.needs.known else "unknown"
    said["implemented"] = found.id in registered()
    return {name: said[name] for name in COLUMNS}


def _cell(said: Coded[Any]) -> Cell:
    return _list(said.is_) if isinstance(said.is_, tuple) else said.is_


def _list(value: tuple[str, ...]) -> list[str]:
    return list(value)


def _result(said: Result) -> str:
    return f"{said.says} (against {said.against.is_}, base model {said.base_model.is_}; {said.from_})"
