"""Credit as strips of cells: one cell a unit, or the strongest of several where there is no room."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..credit import Credit
from ..structure import Float, Int


@dataclass(frozen=True)
class Strip:
    """One trajectory: value of each cell, whether it is null or dropped, and the units it stands for."""

    trajectory: Any
    reward: float
    value: Float
    null: NDArray[np.bool_]
    dropped: NDArray[np.bool_]
    unit: Int
    size: Int


def strips(credit: Credit, *, most: int, cells: int) -> list[Strip]:
    """Strips of the first ``most`` trajectories, each at most ``cells`` wide."""
    batch = credit.batch
    if credit.level == "segment":
        table = batch.spans[credit.segment or ""]
        owner = batch.within("token", "trajectory")[table.start]
        order = np.argsort(owner, kind="stable")
        cut = np.searchsorted(owner[order], np.arange(batch.n_trajectories + 1))
    else:
        units = batch.within(credit.level, "trajectory")
        cut = np.searchsorted(units, np.arange(batch.n_trajectories + 1))
        order = np.arange(units.size)
    dropped = _dropped(credit)
    null = np.zeros(credit.unit.size, dtype=np.bool_) if credit.scored is None else ~credit.scored
    found = []
    for i in range(min(most, batch.n_trajectories)):
        unit = order[cut[i] : cut[i + 1]]
        if not unit.size:
            continue
        edges = np.unique(np.linspace(0, unit.size, min(cells, unit.size) + 1).astype(np.int64))
        # The strongest unit stands for its cell: a mean would hide a lone fork among routine units.
        cell = [int(a + np.argmax(np.abs(credit.unit[unit[a:b]]))) for a, b in pairwise(edges)]
        shown = unit[cell]
        found.append(
            Strip(
                batch.trajectory.name(i),
                float(batch.reward[i]),
                credit.unit[shown],
                np.logical_and.reduceat(null[unit], edges[:-1]),
                np.logical_and.reduceat(dropped[unit], edges[:-1]),
                shown,
                np.diff(edges),
            )
        )
    return found


def _dropped(credit: Credit) -> NDArray[np.bool_]:
    """Units none of whose policy tokens enter the loss."""
    if credit.keep is None:
        return np.zeros(credit.unit.size, dtype=np.bool_)
    total = np.concatenate(([0], np.cumsum(credit.kept, dtype=np.int64)))
    if credit.level == "segment":
        table = credit.batch.spans[credit.segment or ""]
        return np.asarray(total[table.end] == total[table.start])
    if credit.level == "token":
        return np.asarray(~credit.kept & credit.batch.action)
    return np.asarray(np.diff(total[credit.batch.offsets(credit.level)]) == 0)


def bars(values: Float, bins: int = 12) -> str:
    """A histogram in one line of block characters."""
    counts = np.histogram(values, bins=bins)[0]
    top = max(int(counts.max()), 1)
    return "".join(" ▁▂▃▄▅▆▇█"[int(np.ceil(8 * c / top))] for c in counts)
