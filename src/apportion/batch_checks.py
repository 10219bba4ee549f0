"""What a batch must satisfy; every message names the field, the index and the cure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import BatchError
from .ids import Codes
from .structure import Bool, Int

if TYPE_CHECKING:
    from .batch import Batch

_DTYPES = {"float": np.float64, "int": np.int64, "bool": np.bool_}


def check(batch: Batch) -> None:
    """Normalise dtypes, freeze the arrays and refuse what is inconsistent."""
    _set(batch, "action", _array("action", batch.action, "bool"))
    _structure(batch)
    for name, meta in batch.columns().items():
        value = getattr(batch, name)
        if value is not None:
            _set(batch, name, _column(batch, name, value, meta))
    for name in ("trajectory", "episode", "group"):
        codes = getattr(batch, name)
        if codes is not None:
            _set(batch, name, _codes(name, codes, batch.n_trajectories, nullable=False))
    if np.unique(batch.trajectory.codes).size != batch.n_trajectories:
        codes, first = np.unique(batch.trajectory.codes, return_index=True)
        dup = int(np.setdiff1d(np.arange(batch.n_trajectories), first)[0])
        raise BatchError(f"trajectory[{dup}] = {batch.trajectory.name(dup)!r} is used twice: trajectory ids must be distinct")
    _rewards(batch)
    _spans(batch)
    if batch.limit is not None and batch.limit < 1:
        raise BatchError(f"limit = {batch.limit}: the generation limit must be at least 1 token")


def _set(batch: Batch, name: str, value: Any) -> None:
    object.__setattr__(batch, name, value)


def unchecked(batch: Batch, changes: Mapping[str, Any]) -> Batch:
    """A copy with ``changes``, sharing arrays and index maps; for dropping columns only."""
    new = object.__new__(type(batch))
    new.__dict__.update({k: v for k, v in batch.__dict__.items() if k not in ("reward",)})
    new.__dict__.update(changes)
    if "step_offsets" in changes and batch.step_offsets is not None:
        new.__dict__["_maps"] = {}
    if "group" in changes:
        new.__dict__["_maps"] = {k: v for k, v in new.__dict__["_maps"].items() if k[1] != "group"}
    return new


def _array(name: str, value: Any, kind: str) -> Any:
    try:
        array = np.asarray(value)
        if kind == "int" and array.dtype.kind == "f" and not np.array_equal(array, np.floor(array)):
            raise ValueError("not whole numbers")
        array = array.astype(_DTYPES[kind])
    except (TypeError, ValueError) as error:
        raise BatchError(f"{name}: expected a 1-D array of {kind}s ({error})") from None
    if array.ndim != 1:
        raise BatchError(f"{name}: expected a 1-D array of {kind}s, got shape {array.shape}")
    array.setflags(write=False)
    return array


def _offsets(name: str, value: Any, last: int, of: str) -> Int:
    offsets: Int = _array(name, value, "int")
    if offsets.size < 2:
        raise BatchError(f"{name} is empty: a batch needs at least one trajectory with one turn")
    if offsets[0] != 0:
        raise BatchError(f"{name}[0] = {offsets[0]}: offsets start at 0")
    steps = np.diff(offsets)
    if (steps <= 0).any():
        i = int(np.argmax(steps <= 0))
        what = "go backwards" if steps[i] < 0 else "hold nothing"
        raise BatchError(f"{name}[{i}:{i + 2}] = {offsets[i : i + 2].tolist()} {what}: offsets must rise")
    if offsets[-1] != last:
        raise BatchError(f"{name}[-1] = {offsets[-1]}, but there are {last} {of}")
    return offsets


def _structure(batch: Batch) -> None:
    _set(batch, "turn_offsets", _offsets("turn_offsets", batch.turn_offsets, batch.action.size, "tokens"))
    _set(batch, "row_turns", _offsets("row_turns", batch.row_turns, batch.turn_offsets.size - 1, "turns"))
    _set(batch, "trajectory_rows", _offsets("trajectory_rows", batch.trajectory_rows, batch.row_turns.size - 1, "rows"))
    empty = batch.action_count("turn") == 0
    if empty.any():
        u = int(np.argmax(empty))
        i = int(batch.within("turn", "trajectory")[u])
        raise BatchError(
            f"turn {u} (turn {u - int(batch.trajectory_turns[i])} of trajectory {i}) has no action token: "
            "merge it with a neighbour or fix the action mask"
        )
    if batch.step_offsets is not None:
        steps = _offsets("step_offsets", batch.step_offsets, batch.action.size, "tokens")
        missing = np.setdiff1d(batch.turn_offsets, steps)
        if missing.size:
            raise BatchError(f"step_offsets lack {int(missing[0])}, where a turn starts: steps must refine turns")
        _set(batch, "step_offsets", steps)
        bare = batch.action_count("step") == 0
        if bare.any():
            raise BatchError(f"step {int(np.argmax(bare))} has no action token: merge it with a neighbour")


def _column(batch: Batch, name: str, value: Any, meta: Mapping[str, Any]) -> Any:
    n = batch.count(meta["axis"])
    if meta["kind"] == "codes":
        return _codes(name, value, n, nullable=True, axis=meta["axis"])
    if meta["kind"] == "text":
        texts = tuple(value)
        _length(name, len(texts), n, meta["axis"])
        bad = next((i for i, t in enumerate(texts) if t is not None and not isinstance(t, str)), None)
        if bad is not None:
            raise BatchError(f"{name}[{bad}] is {type(texts[bad]).__name__}: expected a string or None")
        return texts
    array = _array(name, value, meta["kind"])
    _length(name, array.size, n, meta["axis"])
    if meta["kind"] == "float":
        _finite(name, array, meta)
    return array


def _length(name: str, got: int, expected: int, axis: str) -> None:
    if got != expected:
        hint = " (turns + 1 a trajectory)" if axis == "prefix" else ""
        raise BatchError(f"{name} has {got} entries, expected {expected}: one per {axis}{hint}")


def _finite(name: str, array: Any, meta: Mapping[str, Any]) -> None:
    bad = np.isinf(array) if meta.get("nullable") else ~np.isfinite(array)
    if bad.any():
        i = int(np.argmax(bad))
        raise BatchError(f"{name}[{i}] = {array[i]}: expected a finite number per {meta['axis']}")
    for bound, test in (("high", np.greater), ("low", np.less)):
        if bound in meta and (out := test(array, meta[bound])).any():
            i = int(np.argmax(out))
            side = "at most 0" if bound == "high" else "at least 0"
            raise BatchError(f"{name}[{i}] = {array[i]:g}: expected {side} ({meta['give']})")


def _codes(name: str, value: Any, n: int, *, nullable: bool, axis: str = "trajectory") -> Codes:
    codes = value if isinstance(value, Codes) else Codes.of(value)
    _length(name, len(codes), n, axis)
    if not nullable and (codes.codes < 0).any():
        raise BatchError(f"{name}[{int(np.argmax(codes.codes < 0))}] is None: every {axis} needs one")
    codes.codes.setflags(write=False)
    return codes


def _rewards(batch: Batch) -> None:
    if batch.outcome is None or batch.turn_reward is None:
        return
    turns = np.bincount(batch.within("turn", "trajectory"), weights=batch.turn_reward, minlength=batch.n_trajectories)
    if np.any(turns != 0) and np.allclose(turns, batch.outcome, rtol=1e-9, atol=1e-12):
        raise BatchError(
            "outcome equals the sum of turn_reward in every trajectory, so each reward would count twice: "
            "turn_reward holds what is earned *besides* the outcome. Pass one of the two"
        )


def _spans(batch: Batch) -> None:
    for name, table in batch.spans.items():
        start, end = np.asarray(table.start), np.asarray(table.end)
        if start.shape != end.shape or start.ndim != 1:
            raise BatchError(f"spans[{name!r}]: start has shape {start.shape}, end {end.shape}; expected equal 1-D arrays")
        bad: Bool = (start < 0) | (end <= start) | (end > batch.n_tokens)
        if bad.any():
            i = int(np.argmax(bad))
            raise BatchError(f"spans[{name!r}][{i}] = [{start[i]}, {end[i]}): expected 0 <= start < end <= {batch.n_tokens}")


def same(a: Batch, b: Batch) -> bool:
    """Column-by-column equality (NaN equals NaN)."""
    names = ["turn_offsets", "row_turns", "trajectory_rows", "action", "trajectory", "episode", "group", "step_offsets"]
    for name in [*names, *a.columns()]:
        x, y = getattr(a, name), getattr(b, name)
        if (x is None) != (y is None):
            return False
        if isinstance(x, Codes):
            if not x.same(y):
                return False
        elif isinstance(x, np.ndarray):
            if not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
                return False
        elif x != y:
            return False
    spans = a.spans.keys() == b.spans.keys() and all(
        np.array_equal(t.start, b.spans[n].start) and np.array_equal(t.end, b.spans[n].end) and t.label == b.spans[n].label
        for n, t in a.spans.items()
    )
    return spans and a.limit == b.limit and dict(a.meta) == dict(b.meta)
