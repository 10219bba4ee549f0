"""A batch as a header and per-trajectory parts: what both file formats hold.

The header has what belongs to the whole batch (schema, limit, spans, meta, the names behind codes);
``SHAPE`` and the columns are flat arrays, cut into one list per trajectory by ``cuts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..batch import Batch, Spans
from ..errors import BatchError
from ..ids import Codes
from ..structure import Int
from .plain import plain, python
from .turns import offsets_of

SCHEMA = 1

#: Structural arrays every file has: lengths of turns, turns of rows, and the action mask.
SHAPE: dict[str, str] = {"turn_tokens": "turn", "row_turns": "row", "action": "token"}

#: Names of each trajectory, kept like the optional code columns.
NAMES: tuple[str, ...] = ("trajectory", "episode", "group")


def header(batch: Batch) -> dict[str, Any]:
    """Everything that is not per trajectory, as JSON values."""
    return {
        "apportion": SCHEMA,
        "trajectories": batch.n_trajectories,
        "columns": sorted(columns(batch)),
        "limit": None if batch.limit is None else int(batch.limit),
        "spans": {n: [t.start.tolist(), t.end.tolist(), list(t.label)] for n, t in batch.spans.items()},
        "meta": plain(dict(batch.meta), "meta"),
    }


def axes() -> dict[str, tuple[str, str]]:
    """Name -> (axis, kind) of every array a file may hold."""
    found = {n: (axis, "bool" if n == "action" else "int") for n, axis in SHAPE.items()}
    found["step_tokens"] = ("step", "int")
    found |= dict.fromkeys(NAMES, ("trajectory", "codes"))
    return found | {n: (meta["axis"], meta["kind"]) for n, meta in Batch.columns().items()}


def columns(batch: Batch) -> dict[str, Any]:
    """The arrays this batch has, by name."""
    found: dict[str, Any] = {
        "turn_tokens": np.diff(batch.turn_offsets),
        "row_turns": np.diff(batch.row_turns),
        "action": batch.action,
    }
    if batch.step_offsets is not None:
        found["step_tokens"] = np.diff(batch.step_offsets)
    for name in (*NAMES, *batch.columns()):
        if getattr(batch, name) is not None:
            found[name] = getattr(batch, name)
    return found


def cuts(batch: Batch, axis: str) -> Int:
    """Offsets of the trajectories on an axis, shape (N + 1,)."""
    if axis == "prefix":
        return batch.prefix_offsets
    if axis == "turn":
        return batch.trajectory_turns
    if axis == "row":
        return batch.trajectory_rows
    if axis == "trajectory":
        return np.arange(batch.n_trajectories + 1, dtype=np.int64)
    tokens = batch.offsets("trajectory")
    if axis == "token" or batch.step_offsets is None:
        return tokens if axis == "token" else batch.trajectory_turns
    found: Int = np.searchsorted(batch.step_offsets, tokens)
    return found


def code_names(name: str, codes: Codes) -> list[Any]:
    """The names behind codes as JSON values, so that a name no file can hold is refused before writing."""
    return [plain(v, f"{name} name {v!r}") for v in codes.names]


def check_header(head: Any, where: str) -> dict[str, Any]:
    """The header, or an error that says what is wrong with it."""
    if not isinstance(head, dict) or "apportion" not in head:
        raise BatchError(f"{where}: this is no file of a batch (its header lacks 'apportion')")
    if head["apportion"] != SCHEMA:
        raise BatchError(f"{where}: schema version {head['apportion']!r}, but this apportion reads version {SCHEMA}: upgrade it")
    wanted = {"trajectories": int, "columns": list, "spans": dict, "meta": dict}
    for name, kind in wanted.items():
        if not isinstance(head.get(name), kind):
            raise BatchError(f"{where}: the header's '{name}' is missing or no {kind.__name__}")
    if not isinstance(head.get("names", {}), dict):
        raise BatchError(f"{where}: the header's 'names' is no dict")
    known = axes()
    unknown = [n for n in head["columns"] if not isinstance(n, str) or n not in known]
    if unknown:
        raise BatchError(f"{where}: unknown column {unknown[0]!r} in the header")
    missing = [n for n in (*SHAPE, "trajectory") if n not in head["columns"]]
    if missing:
        raise BatchError(f"{where}: the header lacks column '{missing[0]}'")
    return head


def build(head: Mapping[str, Any], flat: Mapping[str, Any], rows: Any, where: str) -> Batch:
    """The batch from its header and flat columns; ``rows`` counts the rows of each trajectory."""
    own = {n: v for n, v in flat.items() if n not in (*SHAPE, "step_tokens")}
    if "step_tokens" in flat:
        own["step_offsets"] = offsets_of(flat["step_tokens"])
    try:
        spans = {n: Spans(np.asarray(s), np.asarray(e), tuple(label)) for n, (s, e, label) in head["spans"].items()}
        return Batch(
            turn_offsets=offsets_of(flat["turn_tokens"]),
            row_turns=offsets_of(flat["row_turns"]),
            trajectory_rows=offsets_of(rows),
            action=flat["action"],
            limit=head.get("limit"),
            spans=spans,
            meta=python(head["meta"]),
            **own,
        )
    except (BatchError, ValueError, TypeError, OverflowError) as error:
        raise BatchError(f"{where}: {error}") from None
