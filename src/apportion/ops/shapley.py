"""Shapley and Owen values of cooperative games: arrays in, arrays out.

A game of n players is a table of 2^n coalition values: entry ``c`` is v(S) for the coalition S of
the players i whose bit is set in c (``c >> i & 1``), so entry 0 is v(empty) and the last one
v(everybody). Leading axes are games of their own. Every value here is *efficient*: it sums to
v(everybody) - v(empty). Sums run over differences v(S + i) - v(S), so a constant game pays exactly 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

#: Most players whose 2^n coalitions are still written out.
PLAYERS = 12


def coalitions(n: int) -> Bool:
    """Who is in each coalition, shape (2^n, n), in the order of the table."""
    if not 0 <= n <= PLAYERS:
        raise OptionError(
            f"{n} players have 2^{n} coalitions: expected at most {PLAYERS}; "
            f"join players into blocks, or sample orders (permutations, from_orders)"
        )
    members: Bool = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.bool_)
    return members


def shapley(values: Float) -> Float:
    """Shapley values of games given by their tables, shape (..., 2^n) -> (..., n).

        phi_i = sum_{S without i} |S|! (n - |S| - 1)! / n!  (v(S + i) - v(S))

    The mean gain from player i over all orders in which the players could have arrived.
    """
    values, n = _table(values)
    size = coalitions(n).sum(axis=1)
    weight = np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)])
    return _weighted(values, n, [np.append(weight, 0.0)[size]] * n)


def owen(values: Float, blocks: Sequence[int] | Int) -> Float:
    """Owen values: Shapley values among blocks of players, and among the players of each block.

        psi_i = sum_{H} sum_{S in B - i} |H|! (M - |H| - 1)! / M!  |S|! (|B| - |S| - 1)! / |B|!  (v(H + S + i) - v(H + S))

    values: tables, shape (..., 2^n). blocks: block of each player, shape (n,); M blocks, B that of i, H
    any union of the *other* blocks. With one block, or a block each, it is the Shapley value.
    """
    values, n = _table(values)
    block = np.asarray(blocks)
    if block.shape != (n,):
        raise OptionError(f"blocks has shape {block.shape}, expected ({n},): the block of each player")
    members = coalitions(n)
    names = np.unique(block)
    m = names.size
    inside = np.stack([members[:, block == b].sum(axis=1) for b in names]) if n else np.zeros((0, 1), dtype=np.int64)
    full = inside == np.array([(block == b).sum() for b in names])[:, None]
    whole = full | (inside == 0)  # a block is in H altogether or not at all
    weights = []
    for i in range(n):
        own = int(np.flatnonzero(names == block[i])[0])
        others = np.delete(np.arange(m), own)
        allowed = whole[others].all(axis=0)
        h, s, size = full[others].sum(axis=0), inside[own], int((block == block[i]).sum())
        among = np.array([factorial(k) * factorial(m - k - 1) / factorial(m) for k in range(m)])
        within = np.array([factorial(k) * factorial(size - k - 1) / factorial(size) for k in range(size)] + [0.0])
        weights.append(np.where(allowed, among[h] * within[s], 0.0))
    return _weighted(values, n, weights)


def permutations(n: int, count: int, rng: np.random.Generator) -> Int:
    """``count`` orders of n players, shape (count, n): row p lists the players as they arrive."""
    if count < 1:
        raise OptionError(f"count = {count}: expected at least one order")
    order: Int = rng.permuted(np.tile(np.arange(n, dtype=np.int64), (count, 1)), axis=1)
    return order


def arrivals(order: Int) -> Bool:
    """Coalitions met as the players arrive, shape (count, n) -> (count, n + 1, n): from nobody to everybody."""
    rank = np.argsort(order, axis=-1)
    met: Bool = rank[..., None, :] < np.arange(order.shape[-1] + 1)[:, None]
    return met


def from_orders(order: Int, values: Float) -> Float:
    """Shapley values estimated from sampled orders: each player's mean gain on arrival, shape (n,).

    order: (count, n) as :func:`permutations` makes it. values: v of the coalitions that
    :func:`arrivals` lists, shape (count, n + 1). Unbiased for orders drawn uniformly, and efficient for
    any orders; exact once every order is in. (Castro et al. 2009, ApproShapley.)
    """
    order, values = np.asarray(order), np.asarray(values, dtype=np.float64)
    if values.shape != (order.shape[0], order.shape[1] + 1):
        raise OptionError(
            f"values has shape {values.shape}, expected {(order.shape[0], order.shape[1] + 1)}: "
            f"each order's coalitions from nobody to everybody"
        )
    gain = np.zeros(order.shape)
    np.put_along_axis(gain, order, np.diff(values, axis=1), axis=1)
    mean: Float = gain.mean(axis=0)
    return mean


def _table(values: Float) -> tuple[Float, int]:
    values = np.asarray(values, dtype=np.float64)
    size = values.shape[-1] if values.ndim else 0
    n = size.bit_length() - 1
    if size < 1 or 2**n != size:
        raise OptionError(f"values has {size} entries a game, expected 2^n: one per coalition of n players")
    coalitions(min(n, PLAYERS + 1))  # refuses too many players before anything is computed
    if not np.isfinite(values).all():
        where = np.argwhere(~np.isfinite(values))[0].tolist()
        raise OptionError(f"values{where} is not finite: every coalition of a game needs a value")
    return values, n


def _weighted(values: Float, n: int, weights: Sequence[Float]) -> Float:
    """sum_S weight_i(S) (v(S + i) - v(S)) over the coalitions S without i; weights: (2^n,) each."""
    out = np.empty((*values.shape[:-1], n))
    every = np.arange(2**n)
    for i in range(n):
        without = every[every >> i & 1 == 0]
        gain = values[..., without | 1 << i] - values[..., without]
        out[..., i] = gain @ weights[i][without]
    return out
