"""Values of a tree of turns, from its leaves to its roots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import BatchError
from ._jit import jit

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def child_means(parent: Int, ended: Float) -> tuple[Float, Int]:
    """V(u) = plain mean of V over the children of u; V(leaf) = its own value.

    parent: node above each node, -1 at a root, shape (M,), in any order. ended: value of the
    trajectories that end in a node, NaN where none does; at a node that has children as well it
    counts as one more child. Returns V and the number of children, both shape (M,). Linear.
    """
    n = parent.size
    children = np.bincount(parent[parent >= 0], minlength=n) + np.isfinite(ended)
    bare = np.flatnonzero(children == 0)
    if bare.size:
        raise BatchError(f"node {bare[0]} has neither children nor an end: every leaf needs a trajectory that ends there")
    value = np.empty(n)
    if not _climb(np.ascontiguousarray(parent), np.ascontiguousarray(ended), children.copy(), value):
        raise BatchError("parent: some nodes are their own ancestors; a tree has no cycle")
    return value, children.astype(np.int64)


@jit
def _climb(parent, ended, waiting, value):  # type: ignore[no-untyped-def]
    n = parent.size
    base, total, size = np.zeros(n), np.zeros(n), np.zeros(n)
    queue = np.empty(n, dtype=np.int64)
    filled = 0
    for u in range(n):
        if not np.isnan(ended[u]):
            base[u] = ended[u]
            size[u] = 1.0
            waiting[u] -= 1
        if waiting[u] == 0:
            queue[filled] = u
            filled += 1
    k = 0
    while k < filled:
        v = queue[k]
        k += 1
        value[v] = base[v] + total[v] / size[v]
        u = parent[v]
        if u >= 0:
            if size[u] == 0.0:
                base[u] = value[v]
            total[u] += value[v] - base[u]  # differences, so that equal children average to themselves
            size[u] += 1.0
            waiting[u] -= 1
            if waiting[u] == 0:
                queue[filled] = u
                filled += 1
    return filled == n
