"""Columns given row by row: put in packed order, and checked to agree within a trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import BatchError
from ..ids import Codes
from ..structure import Int
from .tensors import Array, is_torch, to_numpy


def order_rows(n: int, trajectory: Any, step: Any) -> tuple[Int, Int, tuple[Any, ...]]:
    """Trainer's row of each packed row, its trajectory (0, 1 … by first appearance) and their names."""
    if trajectory is None:
        if step is not None:
            raise BatchError("step orders the rows of a trajectory: give trajectory= as well, one name per row")
        index = np.arange(n, dtype=np.int64)
        return index, index, tuple(range(n))
    codes = _codes("trajectory", trajectory, n)
    if (codes.codes < 0).any():
        raise BatchError(f"trajectory[{int(np.argmax(codes.codes < 0))}] is None: every row needs the name of its trajectory")
    if step is None:
        if codes.n < n:
            twice = int(np.setdiff1d(np.arange(n), np.unique(codes.codes, return_index=True)[1])[0])
            raise BatchError(
                f"trajectory[{twice}] = {codes.name(twice)!r} has several rows: give step= (B,), their order in the "
                "trajectory (np.arange(B) if the rows were never shuffled)"
            )
        return np.arange(n, dtype=np.int64), codes.codes, codes.names
    place = to_numpy("step", step)
    if place.shape != (n,) or place.dtype.kind not in "iuf":
        raise BatchError(f"step has shape {place.shape}, but action has {n} rows: expected one number per row, shape ({n},)")
    order = np.lexsort((place, codes.codes))
    same = (np.diff(codes.codes[order]) == 0) & (np.diff(place[order]) == 0)
    if same.any():
        k = int(np.argmax(same))
        raise BatchError(
            f"step[{order[k]}] = step[{order[k + 1]}] = {place[order[k]]} in trajectory {codes.name(int(order[k]))!r}: "
            "the rows of a trajectory need different steps"
        )
    return order, codes.codes[order], codes.names


def per_row(name: str, value: Any, order: Int, rows_of: Int, kind: str) -> Any:
    """One value per trajectory from one per row; rows of a trajectory that disagree are named."""
    first = np.unique(rows_of, return_index=True)[1]
    if kind == "codes":
        codes = _codes(name, value, order.size)
        values: Array = codes.codes[order]
    else:
        array = to_numpy(name, value)
        if array.shape != (order.size,):
            raise BatchError(f"{name} has shape {array.shape}, but action has {order.size} rows: expected ({order.size},)")
        values = array[order]
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            k = int(np.argmax(~np.isfinite(values)))
            raise BatchError(f"{name}[{order[k]}] = {values[k]}: expected a finite number per row")
    differ = values != values[first][rows_of]
    if differ.any():
        k = int(np.argmax(differ))
        a, b = int(order[first[rows_of[k]]]), int(order[k])
        x, y = (codes.name(a), codes.name(b)) if kind == "codes" else (values[first[rows_of[k]]], values[k])
        raise BatchError(
            f"{name}[{a}] = {x} but {name}[{b}] = {y}, though both rows are of one trajectory: "
            f"{name} belongs to the whole trajectory (use turn_reward for what each turn earned)"
        )
    return codes.take(order[first]) if kind == "codes" else values[first]


def per_unit(name: str, value: Any, order: Int, count: Int, unit: str) -> Any:
    """Packed values from nested lists, from (B, K) filled from the left, or from (B,) where each row has one."""
    n = order.size
    if is_torch(value) or isinstance(value, np.ndarray):
        array = to_numpy(name, value)
        if array.ndim == 2:
            return _from_grid(name, array, order, count, unit)
        if array.shape == (n,) and array.dtype != object and (count == 1).all():
            return array[order]
        value = list(array)
    if len(value) != n:
        raise BatchError(f"{name} has {len(value)} entries, but action has {n} rows: expected one list of {unit}s per row")
    nested = [v if isinstance(v, (list, np.ndarray)) else [v] for v in value]
    packed: list[Any] = []
    for k, r in enumerate(order.tolist()):
        if len(nested[r]) != count[k]:
            raise BatchError(f"{name}[{r}] has {len(nested[r])} entries, but row {r} has {count[k]} {unit}s")
        packed.extend(nested[r])
    return packed


def _from_grid(name: str, array: Array, order: Int, count: Int, unit: str) -> Array:
    if array.shape[0] != order.size or array.shape[1] < count.max():
        raise BatchError(
            f"{name} has shape {array.shape}, expected ({order.size}, at least {count.max()}): "
            f"rows by {unit}s, filled from the left"
        )
    grid = array[order]
    used = np.arange(array.shape[1]) < count[:, None]
    if array.dtype.kind in "iuf":
        stray = ~used & (grid != 0) & ~np.isnan(grid.astype(np.float64))
        if stray.any() and name not in ("node", "parent"):
            k, c = np.argwhere(stray)[0]
            raise BatchError(f"{name}[{order[k]}, {c}] = {grid[k, c]}, but row {order[k]} has only {count[k]} {unit}s")
    return grid[used]


def states(value: Any, order: Int, count: Int, trajectory_rows: Int) -> list[Any]:
    """Keys per prefix: each row's, then the one after the last row of a trajectory (null if not given).

    A row gives a key per turn, or one more: the state it leads to, which must be the next row's first.
    """
    keys = value if isinstance(value, (list, tuple)) else list(to_numpy("state", value))
    n = order.size
    if len(keys) != n:
        raise BatchError(f"state has {len(keys)} entries, but action has {n} rows: expected one key (or list of keys) per row")
    nested = [k if isinstance(k, list) else [k] for k in keys]
    packed: list[Any] = []
    last = np.zeros(n, dtype=np.bool_)
    last[trajectory_rows[1:] - 1] = True
    for k, r in enumerate(order.tolist()):
        given, turns = nested[r], int(count[k])
        if len(given) not in (turns, turns + 1):
            raise BatchError(f"state[{r}] has {len(given)} keys, but row {r} has {turns} turns: expected {turns} or {turns + 1}")
        packed.extend(given[:turns])
        after = given[turns] if len(given) > turns else None
        if last[k]:
            packed.append(after)
        elif after is not None and after != nested[int(order[k + 1])][0]:
            s = int(order[k + 1])
            raise BatchError(
                f"state[{r}] ends in {after!r}, but state[{s}], the next row of the trajectory, begins with {nested[s][0]!r}"
            )
    return packed


def _codes(name: str, value: Any, n: int) -> Codes:
    try:
        codes = value if isinstance(value, Codes) else Codes.of(to_numpy(name, value) if is_torch(value) else value)
    except TypeError as error:
        raise BatchError(f"{name}: expected one hashable name per row ({error})") from None
    if len(codes) != n:
        raise BatchError(f"{name} has {len(codes)} entries, but action has {n} rows: expected one name per row")
    return codes
