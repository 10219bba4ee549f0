"""JSON lines: a header, then one trajectory a line; for people, logs and other languages.

Line 1 holds schema, column names, limit, spans and meta. Every other line has ``row_turns``
(turns of each row), ``turn_tokens`` (tokens of each turn), ``action`` (0 or 1 per token) and a list
per column (one value where it belongs to the trajectory); names stand for codes, null for nothing.
"""

from __future__ import annotations

import json
from os import PathLike
from typing import Any

import numpy as np

from ..batch import Batch
from ..errors import BatchError
from ..ids import Codes
from .atomic import atomic
from .plain import python
from .tables import axes, build, check_header, code_names, columns, cuts, header

Path = str | PathLike[str]


def to_jsonl(batch: Batch, path: Path) -> None:
    """Write a batch; the same batch gives the same bytes. A layout is not kept."""
    head = header(batch)
    parts: dict[str, tuple[Any, list[int], bool]] = {}
    orders = {}
    for name, values in columns(batch).items():
        axis = axes()[name][0]
        if isinstance(values, Codes):
            names = code_names(name, values)
            values = np.array([*names, None], dtype=object)[values.codes]
            if not _by_appearance(getattr(batch, name)):
                orders[name] = names
        elif isinstance(values, np.ndarray) and values.dtype == np.bool_:
            values = values.astype(np.int64)
        elif isinstance(values, np.ndarray) and np.isnan(values).any():
            values = _nulls(values)
        parts[name] = (values, cuts(batch, axis).tolist(), axis == "trajectory")
    if orders:
        head["names"] = orders
    with atomic(path) as file:
        file.write(_line(head))
        for i in range(batch.n_trajectories):
            row = {}
            for name, (values, cut, single) in parts.items():
                part = values[cut[i] : cut[i + 1]]
                listed = part.tolist() if isinstance(part, np.ndarray) else list(part)
                row[name] = listed[0] if single else listed
            file.write(_line(row))


def _nulls(values: Any) -> Any:
    held = values.astype(object)
    held[np.isnan(values)] = None
    return held


def _line(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _by_appearance(codes: Codes) -> bool:
    return codes.names == Codes.of(codes.to_list()).names


def from_jsonl(path: Path) -> Batch:
    """Read a batch written by :func:`to_jsonl`; a broken line is named by its number."""
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    if lines and lines[-1] == b"":
        lines.pop()
    if not lines:
        raise BatchError(f"{path}, line 1: the file is empty")
    head = check_header(_json(lines[0], f"{path}, line 1"), f"{path}, line 1")
    if len(lines) - 1 != head["trajectories"]:
        raise BatchError(
            f"{path}, line {len(lines)}: the file ends after {len(lines) - 1} trajectories, "
            f"but its header promises {head['trajectories']}"
        )
    parsed = [
        _checked(_json(line, f"{path}, line {k}"), head["columns"], f"{path}, line {k}") for k, line in enumerate(lines[1:], 2)
    ]
    try:
        return _build(head, parsed, str(path))
    except BatchError:
        for k, row in enumerate(parsed, 2):  # say which line it was, where one line alone is wrong
            _build({**head, "spans": {}}, [row], f"{path}, line {k}")
        raise


def _build(head: dict[str, Any], rows: list[dict[str, list[Any]]], where: str) -> Batch:
    flat = {n: _column(n, [v for row in rows for v in row[n]], head, where) for n in head["columns"]}
    return build(head, flat, [len(row["row_turns"]) for row in rows], where)


def _json(line: bytes, where: str) -> Any:
    try:
        return json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BatchError(f"{where}: not valid JSON ({error})") from None


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _checked(row: Any, names: list[str], where: str) -> dict[str, list[Any]]:
    """A line's columns as lists whose lengths and types agree with its turns."""
    if not isinstance(row, dict):
        raise BatchError(f"{where}: expected an object, got {type(row).__name__}")
    stray = sorted(set(row) ^ set(names))
    if stray:
        raise BatchError(f"{where}: column '{stray[0]}' is {'not in the header' if stray[0] in row else 'missing'}")
    found: dict[str, list[Any]] = {}
    for name in names:
        axis, kind = axes()[name]
        value = [row[name]] if axis == "trajectory" else row[name]
        if not isinstance(value, list):
            raise BatchError(f"{where}: {name} is {type(value).__name__}, expected a list with one entry per {axis}")
        if not _fits(value, kind, name):
            bad = next(i for i, v in enumerate(value) if not _fits([v], kind, name))
            raise BatchError(f"{where}: {name}[{bad}] = {json.dumps(value[bad])[:40]}, expected {kind}")
        found[name] = value
    _lengths(found, where)
    return found


def _lengths(row: dict[str, list[Any]], where: str) -> None:
    for name in {"row_turns", "turn_tokens", "step_tokens"} & set(row):
        if not row[name] or min(row[name]) < 1:
            raise BatchError(f"{where}: {name} = {row[name][:6]}: expected lengths of at least 1")
    turns, tokens = sum(row["row_turns"]), sum(row["turn_tokens"])
    steps = len(row["step_tokens"]) if "step_tokens" in row else turns
    expected = {"turn": turns, "token": tokens, "step": steps, "prefix": turns + 1}
    for name, value in row.items():
        axis = axes()[name][0]
        if axis in expected and len(value) != expected[axis]:
            raise BatchError(f"{where}: {name} has {len(value)} entries, expected {expected[axis]}: one per {axis}")
    if "step_tokens" in row and sum(row["step_tokens"]) != tokens:
        raise BatchError(f"{where}: step_tokens add up to {sum(row['step_tokens'])}, turn_tokens to {tokens}")


_TYPES: dict[str, set[type]] = {"float": {float, int}, "int": {int}, "bool": {int, bool}, "text": {str, type(None)}}


def _fits(values: list[Any], kind: str, name: str) -> bool:
    if kind == "codes":
        return True
    allowed = _TYPES[kind] | ({type(None)} if name == "process" else set())
    return set(map(type, values)) <= allowed and (kind != "bool" or set(values) <= {0, 1})


def _column(name: str, values: list[Any], head: dict[str, Any], where: str) -> Any:
    kind = axes()[name][1]
    if kind == "codes":
        try:
            codes = Codes.of(python(v) for v in values)
            if name in head.get("names", {}):
                names = tuple(python(v) for v in head["names"][name])
                rank = {v: i for i, v in enumerate(names)}
                codes = Codes(np.asarray([-1 if v is None else rank[python(v)] for v in values], dtype=np.int64), names)
        except (KeyError, TypeError, ValueError) as error:
            raise BatchError(f"{where}: {name}: not a name ({error})") from None
        return codes
    if kind == "text":
        return tuple(values)
    dtype = {"float": np.float64, "int": np.int64, "bool": np.int64}[kind]
    try:
        return np.asarray(values, dtype=dtype)
    except OverflowError as error:
        raise BatchError(f"{where}: {name}: {error}") from None
