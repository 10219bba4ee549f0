"""A batch from nested lists of turn lengths: for tests, examples and small logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

import numpy as np

from ..batch import Batch
from ..errors import BatchError
from ..ids import Codes

_FIELDS = {f.name for f in fields(Batch) if f.init}
_LISTS: tuple[type, ...] = (list, tuple, np.ndarray)
_NESTS: dict[str, tuple[type, ...]] = {"state": (list,)}  # a tuple or an array may be one state key


def known_columns(columns: Mapping[str, Any]) -> None:
    """Refuse names that are no column, with the nearest ones."""
    for name in columns:
        if name not in _FIELDS:
            near = get_close_matches(name, _FIELDS, n=3) or sorted(Batch.columns())
            raise BatchError(f"a batch has no column '{name}'; did you mean {', '.join(near)}?")


def from_turns(
    lengths: Sequence[Sequence[int]],
    *,
    action: Any = None,
    rows: str = "trajectory",
    trajectory: Any = None,
    steps: Sequence[Sequence[int]] | None = None,
    **columns: Any,
) -> Batch:
    """A batch whose trajectory i has turns of ``lengths[i]`` tokens.

    action: flat mask over all tokens (default: the policy wrote them all). rows: "trajectory" (one
    row each) or "turn" (one row per turn). steps: nested step lengths, likewise. Other columns
    are flat, or nested lists of one level, and are concatenated.
    """
    known_columns(columns)
    if not len(lengths):
        raise BatchError("lengths is empty: a batch needs at least one trajectory")
    for i, turns in enumerate(lengths):
        if not len(turns) or min(turns) < 1:
            raise BatchError(f"lengths[{i}] = {list(turns)}: every trajectory needs turns of at least one token")
    flat = np.concatenate([np.asarray(t, dtype=np.int64) for t in lengths])
    per = np.asarray([len(t) for t in lengths], dtype=np.int64)
    if rows not in ("trajectory", "turn"):
        raise BatchError(f"rows = {rows!r}: expected 'trajectory' or 'turn'")
    by_turn = rows == "turn"
    if steps is not None:
        columns["step_offsets"] = offsets_of(np.concatenate([np.asarray(s, dtype=np.int64) for s in steps]))
    for name in ("group", "episode"):
        if columns.get(name) is not None and not isinstance(columns[name], Codes):
            columns[name] = Codes.of(columns[name])
    return Batch(
        turn_offsets=offsets_of(flat),
        row_turns=np.arange(flat.size + 1) if by_turn else offsets_of(per),
        trajectory_rows=offsets_of(per) if by_turn else np.arange(per.size + 1),
        action=np.ones(int(flat.sum()), dtype=np.bool_) if action is None else _flat(action),
        trajectory=Codes.of(np.arange(per.size) if trajectory is None else trajectory),
        **{n: v if n in ("limit", "spans", "meta") else _flat(v, _NESTS.get(n, _LISTS)) for n, v in columns.items()},
    )


def offsets_of(lengths: Any) -> Any:
    """[2, 3] -> [0, 2, 5]."""
    return np.concatenate(([0], np.cumsum(np.asarray(lengths, dtype=np.int64))))


def _flat(value: Any, nests: tuple[type, ...] = _LISTS) -> Any:
    nested = isinstance(value, (list, tuple)) and len(value) and isinstance(value[0], nests)
    return [x for part in value for x in part] if nested else value
