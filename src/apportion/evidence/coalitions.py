"""Shapley values of the steps of each trajectory, from any function that values part of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..ops.shapley import PLAYERS, shapley
from ..structure import Bool, Float, Int

#: v(S) of every trajectory at once, shape (N,): the argument says which steps are in S, shape (steps,).
Worth = Callable[[Bool], Float]


@dataclass(frozen=True)
class Plan:
    """players: trajectories of at most that many steps get exact values (2^n coalitions each). orders: how
    many random orders of arrival the longer ones get (n - 1 coalitions each, and the empty one)."""

    players: int = 6
    orders: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.players <= PLAYERS:
            raise OptionError(f"players = {self.players}: expected 0 to {PLAYERS} (2^players coalitions are valued)")
        if self.orders < 1:
            raise OptionError(f"orders = {self.orders}: expected at least one random order of arrival")


def step_values(batch: Batch, worth: Worth, whole: Float, plan: Plan, rng: np.random.Generator) -> tuple[Float, dict[str, float]]:
    """Shapley value of every step, shape (steps,), and what it took.

    worth: v of one coalition per trajectory; a trajectory with nothing left to ask has all its steps in
    S, and its answer is not read. whole: v of the complete trajectories, shape (N,). A trajectory for which
    some coalition has no value (NaN) has no Shapley values: all of its steps are NaN.
    diagnostics: ``coalitions`` valued per trajectory, on average; ``exact``, the share of trajectories with exact values.
    """
    owner = batch.within("step", "trajectory")
    size = np.bincount(owner, minlength=batch.n_trajectories)
    starts = np.cumsum(size) - size
    place = np.arange(owner.size) - starts[owner]
    exact = size <= plan.players
    asked = 0

    def value(members: Bool, of: Bool) -> Float:
        """v of these coalitions for the trajectories ``of``, that of everybody for the others."""
        nonlocal asked
        asked += int(of.sum())
        return np.where(of, _ask(worth, members | ~of[owner], size.size), whole)

    found = np.full(owner.size, np.nan)
    if exact.any():
        most = int(size[exact].max())
        table = np.repeat(whole[:, None], 2**most, axis=1)
        for c in range(2**most - 1):
            table[:, c] = value((c >> np.minimum(place, PLAYERS) & 1).astype(np.bool_), exact & (c < 2**size - 1))
        for n in np.unique(size[exact]):
            of = np.flatnonzero(exact & (size == n))
            known = np.isfinite(table[of, : 2**n]).all(axis=1)
            found[starts[of[known]][:, None] + np.arange(n)] = shapley(table[of[known], : 2**n])
    if not exact.all():
        nobody = value(np.zeros(owner.size, dtype=np.bool_), ~exact)
        gain = np.zeros(owner.size)
        for _ in range(plan.orders):
            gain += _arrivals(_ranks(owner, starts, rng), size, owner, starts, ~exact, nobody, whole, value)
        # one value that is missing leaves the whole trajectory without
        gain += np.bincount(owner, weights=gain, minlength=size.size)[owner] * 0.0
        found[~exact[owner]] = (gain / plan.orders)[~exact[owner]]
    return found, {"coalitions": asked / size.size, "exact": float(exact.mean())}


def _ranks(owner: Int, starts: Int, rng: np.random.Generator) -> Int:
    """A random order of the steps within each trajectory."""
    rank = np.empty(owner.size, dtype=np.int64)
    rank[np.lexsort((rng.random(owner.size), owner))] = np.arange(owner.size) - starts[owner]
    return rank


def _arrivals(
    rank: Int, size: Int, owner: Int, starts: Int, of: Bool, nobody: Float, whole: Float, value: Callable[[Bool, Bool], Float]
) -> Float:
    """What each step adds when it arrives in the order of ``rank``."""
    gain = np.zeros(owner.size)
    arrived = starts[owner] + rank
    by_rank = np.empty(owner.size, dtype=np.int64)
    by_rank[arrived] = np.arange(owner.size)
    before = nobody
    for j in range(int(size[of].max())):
        there = of & (size > j)
        after = value(rank <= j, of & (size > j + 1))  # everybody is there at the last arrival
        who = by_rank[starts[there] + j]
        gain[who] = (after - before)[there]
        before = after
    return gain


def _ask(worth: Worth, members: Bool, n: int) -> Float:
    try:
        answer = np.asarray(worth(members), dtype=np.float64)
    except Exception as error:
        left_out = int((~members).sum())
        raise OptionError(f"the coalition function failed with {left_out} steps left out: {error}") from error
    if answer.shape != (n,):
        raise OptionError(f"the coalition function gave shape {answer.shape}, expected ({n},): one value per trajectory")
    return answer
