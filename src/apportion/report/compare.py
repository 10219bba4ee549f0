"""Two runs side by side: what they share, what differs in how they were made, and who did better by how much.

Per measure and method: the interquartile mean over the tasks and seeds both runs hold, the difference B - A, and the
probability that a run of B beats one of A, with stratified bootstrap intervals; seeds are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..bench.aggregate import difference, improvement, overall_iqm
from ..errors import BenchError
from .read import Float, Run

#: What is compared: name -> (measure, seed values of a cell or None where not measured, whether more is better).
Reader = Callable[[Mapping[str, Float]], Float | None]


def _metric(name: str) -> Reader:
    return lambda cell: cell.get(name)


def _alignment(cell: Mapping[str, Float]) -> Float | None:
    if not {"inner", "norm2", "truth2"} <= set(cell):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(cell["inner"] / np.sqrt(cell["norm2"] * cell["truth2"]))


def _gain(cell: Mapping[str, Float]) -> Float | None:
    if not {"final", "start", "attainable"} <= set(cell):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((cell["final"] - cell["start"]) / (cell["attainable"] - cell["start"]))


MEASURES: dict[str, tuple[str, Reader, bool]] = {
    "gradient alignment": ("gradient", _alignment, True),
    "share of the gain learned": ("learning", _gain, True),
    "correlation with the advantage": ("identification", _metric("correlation"), True),
    "sign agreement": ("identification", _metric("sign"), True),
    "price of a rollout": ("cost", _metric("price"), False),
}


def compare(a: Run, b: Run) -> dict[str, Any]:
    """``{"shared": …, "differs": …, "rows": [...]}``; refuses runs that share no task, method or seed."""
    same = [t for t in a.tasks if t in b.tasks and a.tasks[t].get("sha256") == b.tasks[t].get("sha256")]
    changed = sorted(t for t in set(a.tasks) & set(b.tasks) if t not in same)
    methods = [m for m in a.methods() if m in b.methods()]
    seeds = [s for s in a.seeds if s in b.seeds]
    for what, found in (("task with the same definition", same), ("method", methods), ("seed", seeds)):
        if not found:
            raise BenchError(f"the two runs share no {what}: there is nothing to compare")
    columns = [np.array([run.seeds.index(s) for s in seeds]) for run in (a, b)]
    rows = []
    for title, (measure, reader, more) in MEASURES.items():
        for method in methods:
            x, y, tasks = _tables(a, b, measure, reader, method, same, columns)
            if tasks:
                rows.append(_row(title, method, x, y, tasks, more))
    return {
        "shared": {"tasks": same, "methods": methods, "seeds": seeds},
        "changed_tasks": changed,
        "differs": _differs(a.manifest, b.manifest),
        "rows": rows,
    }


def _tables(
    a: Run, b: Run, measure: str, reader: Reader, method: str, tasks: list[str], columns: list[Any]
) -> tuple[Float, Float, list[str]]:
    """(seeds, cells) of both runs, and the tasks they are of; what either lacks is left out."""
    found: list[tuple[Float, Float]] = []
    used: list[str] = []
    for key, cell in a.values.get(measure, {}).items():
        other = b.values.get(measure, {}).get(key)
        if key[0] != method or key[1] not in tasks or other is None:
            continue
        x, y = reader(cell), reader(other)
        if x is None or y is None:
            continue
        pair = x[columns[0]], y[columns[1]]
        if not np.isnan(np.concatenate(pair)).any():
            found.append(pair)
            used.append(key[1])
    if not found:
        return np.empty((0, 0)), np.empty((0, 0)), []
    return np.stack([x for x, _ in found], axis=1), np.stack([y for _, y in found], axis=1), used


def _row(title: str, method: str, x: Float, y: Float, tasks: list[str], more: bool) -> dict[str, Any]:
    a, b = float(overall_iqm(x)), float(overall_iqm(y))
    apart = difference(x, y, overall_iqm)
    better = improvement(y, x) if more else improvement(-y, -x)
    names = ("value", "low", "high")
    return {
        "measure": title, "method": method, "tasks": len(set(tasks)), "more_is_better": more, "a": a, "b": b,
        "difference": dict(zip(names, map(_plain, apart), strict=True)),
        "b_is_better": dict(zip(names, map(_plain, better), strict=True)),
    }  # fmt: skip


def _plain(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None


def _differs(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Top-level parts of the manifests that are not equal; long ones by name only."""
    found = {}
    for name in sorted(set(a) | set(b) - {"command"}):
        if a.get(name) != b.get(name) and name not in ("command", "tasks", "entrants", "cells", "seeds"):
            both = [a.get(name), b.get(name)]
            found[name] = both if all(len(str(x)) < 200 for x in both) else ["differs", "differs"]
    return found
