"""What a batch must satisfy; every message names the field, the index and the cure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import BatchError
from .ids import Codes
from .structure import Bool, Float, Int

if TYPE_CHECKING:
    from .batch import Batch

#: A batch whose meta says so has turn rewards besides outcomes, even where they add up to those.
BOTH = "both_count"

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
    _nested(batch)
    if np.unique(batch.trajectory.codes).size != batch.n_trajectories:
        codes, first = np.unique(batch.trajectory.codes, return_index=True)
        dup = int(np.setdiff1d(np.arange(batch.n_trajectories), first)[0])
        raise BatchError(f"trajectory[{dup}] = {batch.trajectory.name(dup)!r} is used twice: trajectory ids must be distinct")
    _rewards(batch)
    _spans(batch)
    if batch.limit is None:
        return
    if not isinstance(batch.limit, (int, np.integer)) or isinstance(batch.limit, bool):
        raise BatchError(f"limit = {batch.limit!r}: expected one int, the generation limit in tokens")
    if batch.limit < 1:
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
        if array.dtype == _DTYPES[kind] and array.ndim == 1 and array.flags.owndata and not array.flags.writeable:
            return array  # frozen already, by another batch or by who made it for this one
        if array.dtype.kind not in "biufO":
            raise ValueError(f"got {array.dtype.name}s")
        if kind == "int" and array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
            raise ValueError("not whole numbers")
        if kind == "bool" and array.dtype.kind != "b" and not ((array == 0) | (array == 1)).all():
            raise ValueError("not all 0 or 1")
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
        texts = (value,) if isinstance(value, str) else tuple(value)
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
    try:
        codes = value if isinstance(value, Codes) else Codes.of(value)
    except TypeError as error:
        raise BatchError(f"{name}: expected one hashable name per {axis} ({error})") from None
    _length(name, len(codes), n, axis)
    wild = (codes.codes < -1) | (codes.codes >= codes.n)
    if wild.any():
        i = int(np.argmax(wild))
        raise BatchError(f"{name}.codes[{i}] = {codes.codes[i]}: there are names 0 to {codes.n - 1}, and -1 for null")
    if not nullable and (codes.codes < 0).any():
        raise BatchError(f"{name}[{int(np.argmax(codes.codes < 0))}] is None: every {axis} needs one")
    if not nullable and np.unique(codes.codes).size < codes.n:
        codes = codes.take(np.arange(n))  # names nobody bears would count as empty groups
    codes.codes.setflags(write=False)
    return codes


def _nested(batch: Batch) -> None:
    if batch.episode is None or batch.group is None:
        return
    first = np.unique(batch.episode.codes, return_index=True)[1]
    home = np.zeros(batch.episode.n, dtype=np.int64)
    home[batch.episode.codes[first]] = batch.group.codes[first]
    stray = batch.group.codes != home[batch.episode.codes]
    if stray.any():
        i = int(np.argmax(stray))
        raise BatchError(
            f"group[{i}] = {batch.group.name(i)!r}, but episode {batch.episode.name(i)!r} began in group "
            f"{batch.group.names[home[batch.episode.codes[i]]]!r}: the trajectories of an episode share one group"
        )


def _rewards(batch: Batch) -> None:
    if batch.outcome is None or batch.turn_reward is None or batch.meta.get(BOTH):
        return
    if said_twice(batch.outcome, batch.turn_reward, batch.trajectory_turns):
        raise BatchError(
            "outcome equals the sum of turn_reward in every trajectory, so each reward would count twice: "
            "turn_reward holds what is earned *besides* the outcome. Pass one of the two, "
            f"or meta={{'{BOTH}': True}} where they are two rewards that agree by chance"
        )


def said_twice(outcome: Float, turn_reward: Float, turns: Int) -> bool:
    """Whether turn rewards add up to the outcome of every trajectory. turns: (N + 1,), where its turns begin."""
    sums = np.add.reduceat(turn_reward, turns[:-1])
    return bool(np.any(sums != 0) and np.allclose(sums, outcome, rtol=1e-9, atol=1e-12))


def _spans(batch: Batch) -> None:
    tables = {}
    for name, table in batch.spans.items():
        start = _array(f"spans[{name!r}].start", table.start, "int")
        end = _array(f"spans[{name!r}].end", table.end, "int")
        if start.shape != end.shape:
            raise BatchError(f"spans[{name!r}]: start has shape {start.shape}, end {end.shape}; expected equal 1-D arrays")
        if len(table.label) not in (0, start.size):
            raise BatchError(f"spans[{name!r}].label has {len(table.label)} entries, expected {start.size} (or none)")
        bad: Bool = (start < 0) | (end <= start) | (end > batch.n_tokens)
        if bad.any():
            i = int(np.argmax(bad))
            raise BatchError(f"spans[{name!r}][{i}] = [{start[i]}, {end[i]}): expected 0 <= start < end <= {batch.n_tokens}")
        tables[name] = replace(table, start=start, end=end, label=tuple(table.label))
    _set(batch, "spans", tables)


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
