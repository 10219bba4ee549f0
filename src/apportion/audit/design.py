"""Which units an audit asks about, and how its continuations are shared out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..batch import Batch
from ..bench.tabular import Int
from ..errors import BenchError
from ..words import Unit

#: A unit needs one continuation before it and one after it, in each of two halves.
LEAST = 4
#: Fewer units, or fewer rollouts they come from, give no interval that means anything.
UNITS, TRAJECTORIES = 16, 8
#: From so many prompts on they are what is resampled; below, rollouts are.
GROUPS = 10


@dataclass(frozen=True, eq=False)
class Design:
    """units (n,): indices on ``level``. each: continuations on one side of a unit in one half, so 4 each a unit.

    cluster (n,): 0 to clusters - 1; units of one cluster depend on each other. over: what a cluster is.
    """

    level: Unit
    units: Int
    each: int
    cluster: Int
    clusters: int
    over: str

    @property
    def continuations(self) -> int:
        return LEAST * self.each * self.units.size


def check(budget: int, per_unit: int) -> int:
    """How many units the budget is enough for; refuses what cannot be shared out."""
    if per_unit < LEAST or per_unit % LEAST:
        raise BenchError(f"--per-unit {per_unit}: expected a multiple of {LEAST}, before and after a unit in each of two halves")
    if budget < UNITS * per_unit:
        raise BenchError(
            f"--budget {budget}: {per_unit} continuations a unit make {budget // per_unit} units; expected at least {UNITS} "
            f"(a budget of {UNITS * per_unit}, or a smaller --per-unit, at least {LEAST})"
        )
    return budget // per_unit


def design(batch: Batch, level: Unit, budget: int, per_unit: int, rng: np.random.Generator) -> Design:
    """Units drawn evenly over trajectories, each unit of the batch equally likely.

    Units are put in a row, trajectory by trajectory, shuffled within each; every (U / n)-th is taken from a random start.
    So a trajectory gives as many as its share of all units says (rounded up or down), and no place in it is favoured.
    Where the batch has fewer units than the budget asks for, all are taken and each gets more continuations.
    Units after which nobody knows the value are left out, see :func:`endless`.
    """
    n = check(budget, per_unit)
    owner = batch.within(level, "trajectory")
    out = endless(batch, level)
    open_ = np.setdiff1d(np.flatnonzero(batch.action_count(level) > 0), out)
    why = f" ({out.size} left out: cut off there, without bootstrap)" if out.size else ""
    if np.unique(owner[open_]).size < TRAJECTORIES:
        raise BenchError(
            f"{np.unique(owner[open_]).size} trajectories{why}: expected at least {TRAJECTORIES}, since units of one "
            "trajectory depend on each other"
        )
    if open_.size < UNITS:
        raise BenchError(f"{open_.size} {level}s in all trajectories{why}: expected at least {UNITS}")
    row = open_[np.lexsort((rng.random(open_.size), owner[open_]))]
    n = min(n, row.size)
    at = (np.arange(n) + rng.random()) * (row.size / n)
    units = np.sort(row[np.minimum(at.astype(np.int64), row.size - 1)])
    cluster, over = _clusters(batch, level, units)
    clusters = int(cluster.max()) + 1
    if clusters < TRAJECTORIES:
        raise BenchError(
            f"the units come from {clusters} {over}: expected at least {TRAJECTORIES}; more rollouts, or a larger --budget"
        )
    return Design(level, units, budget // (LEAST * n), cluster, clusters, over)


def endless(batch: Batch, level: Unit) -> Int:
    """Last units of trajectories that were cut off, where the batch has no ``bootstrap``: what would have come is not known."""
    if batch.truncated is None or batch.bootstrap is not None:
        return np.empty(0, dtype=np.int64)
    owner = batch.within(level, "trajectory")
    last = np.flatnonzero(np.append(owner[1:] != owner[:-1], True))
    found: Int = last[batch.truncated[owner[last]] & (batch.action_count(level)[last] > 0)]
    return found


def _clusters(batch: Batch, level: Unit, units: Int) -> tuple[Int, str]:
    """Prompts where there are enough of them, else rollouts (a team's rollout is its episode)."""
    if batch.group is not None:
        found: Int = np.unique(batch.within(level, "group")[units], return_inverse=True)[1]
        if int(found.max()) + 1 >= GROUPS:
            return found, "prompts"
    own: Int = np.unique(batch.within(level, "episode")[units], return_inverse=True)[1]
    return own, "rollouts"
