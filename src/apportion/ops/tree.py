"""Trees of turns: from node and parent columns to edges, and values from the leaves to the roots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BatchError
from ._jit import jit

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Edges:
    """A tree whose edges are turns. Nodes are numbered 0..M-1, its roots M..M+R-1.

    target, source: node each turn leads to and leaves, shape (turns,). at: first turn that leads to
    each node, shape (M,). first: True at those turns. parent: node above, -1 at roots, (M + R,).
    """

    target: Int
    source: Int
    at: Int
    first: Bool
    parent: Int


def tree_edges(node: Int, parent: Int, group: Int, starts: Bool, *, merge_root: bool) -> Edges:
    """Check and number the tree that the columns ``node`` and ``parent`` describe.

    All per turn, in batch order: node led to (>= 0), node left (negative: a root), group, and
    whether the turn starts a trajectory. merge_root: one root a group; otherwise a turn with
    parent -1 leaves a root of its own and -2, -3 … name roots that turns of a group may share.
    """
    names, at, target = np.unique(node, return_index=True, return_inverse=True)
    at, target = at.astype(np.int64), target.astype(np.int64)
    place = np.minimum(np.searchsorted(names, parent), names.size - 1)
    inner = parent >= 0
    previous = np.append(-1, node[:-1])
    _refuse(node < 0, node, "node", "nodes are numbered from 0")
    _refuse(~starts & (parent != previous), parent, "parent", "expected the node of the turn before it in its trajectory")
    _refuse(inner & (names[place] != parent), parent, "parent", "no turn has that node")
    _refuse(parent != parent[at][target], parent, "parent", "the same node has another parent elsewhere")
    _refuse(group != group[at][target], node, "node", "the same node stands in two groups")
    _refuse(inner & (group != group[at][place]), parent, "parent", "that node stands in another group")
    root = np.zeros_like(node) if merge_root else np.where(parent == -1, target, names.size - parent)
    pairs = group * (int(root.max()) + 1) + root
    roots, which = np.unique(pairs[~inner], return_inverse=True)
    source = place.astype(np.int64)
    source[~inner] = names.size + which
    first = np.zeros(node.size, dtype=np.bool_)
    first[at] = True
    return Edges(target, source, at, first, np.append(source[at], np.full(roots.size, -1)))


def _refuse(bad: Bool, values: Int, name: str, why: str) -> None:
    if bad.any():
        turn = int(np.argmax(bad))
        raise BatchError(f"{name}[{turn}] = {values[turn]}: {why}")


def child_means(parent: Int, ended: Float, weight: Float | None = None) -> tuple[Float, Int]:
    """V(u) = mean of V over the children of u, plain or weighted; V(leaf) = its own value.

    parent: node above each node, -1 at a root, shape (M,), in any order. ended: value of the
    trajectories that end in a node, NaN where none does; at a node that has children as well it
    counts as one more child. weight: of every node among its siblings (> 0), and of its end, shape (2, M).
    Returns V and the number of children, both shape (M,). Linear.
    """
    n = parent.size
    children = np.bincount(parent[parent >= 0], minlength=n) + np.isfinite(ended)
    bare = np.flatnonzero(children == 0)
    if bare.size:
        raise BatchError(f"node {bare[0]} has neither children nor an end: every leaf needs a trajectory that ends there")
    value = np.empty(n)
    w = np.ones((2, n)) if weight is None else np.ascontiguousarray(weight)
    if not _climb(np.ascontiguousarray(parent), np.ascontiguousarray(ended), children.copy(), w, value):
        raise BatchError("parent: some nodes are their own ancestors; a tree has no cycle")
    return value, children.astype(np.int64)


@jit
def _climb(parent, ended, waiting, weight, value):  # type: ignore[no-untyped-def]
    n = parent.size
    base, total, size = np.zeros(n), np.zeros(n), np.zeros(n)
    queue = np.empty(n, dtype=np.int64)
    filled = 0
    for u in range(n):
        if not np.isnan(ended[u]):
            base[u] = ended[u]
            size[u] = weight[1, u]
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
            total[u] += weight[0, v] * (value[v] - base[u])  # differences: equal children average to themselves
            size[u] += weight[0, v]
            waiting[u] -= 1
            if waiting[u] == 0:
                queue[filled] = u
                filled += 1
    return filled == n


def inherited(values: Float, parent: Int, own: Bool) -> Float:
    """Value of the nearest node, from each one upwards, that has one of its ``own``; 0 where none has.

    values, own: shape (M,). parent: node above, shape (M,) or longer (roots, which have none).
    """
    n = parent.size
    own = np.append(own, np.zeros(n - own.size, dtype=np.bool_))
    here = np.arange(n, dtype=np.int64)
    giver = np.where(own | (parent < 0), here, parent)
    while not np.array_equal(further := giver[giver], giver):  # log2(depth) rounds
        giver = further
    return np.where(own, np.append(values, np.zeros(n - values.size)), 0.0)[giver]
