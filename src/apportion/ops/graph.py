"""Directed graphs as two arrays of node numbers, one edge each: arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import frozen, jit

Int = NDArray[np.int64]


def steps_to(tail: Int, head: Int, goals: Int, n: int) -> Int:
    """Least number of edges from each of ``n`` nodes to the nearest goal, shape (n,); -1 where none can be reached.

    Edge i leads from ``tail[i]`` to ``head[i]``; there may be several alike. goals: node numbers, at distance 0.
    Breadth first from the goals against the edges: O(n + edges).
    """
    order = np.argsort(head, kind="stable")
    offsets = np.concatenate(([0], np.cumsum(np.bincount(head, minlength=n))))
    found = np.full(n, -1, dtype=np.int64)
    _steps_to(frozen(tail[order]), frozen(offsets), frozen(goals), found)
    return found


@jit
def _steps_to(came_from, offsets, goals, found):  # type: ignore[no-untyped-def]
    queue = np.empty(found.size, dtype=np.int64)
    filled = 0
    for goal in goals:
        if found[goal] < 0:
            found[goal] = 0
            queue[filled] = goal
            filled += 1
    done = 0
    while done < filled:
        node = queue[done]
        done += 1
        for i in range(offsets[node], offsets[node + 1]):
            before = came_from[i]
            if found[before] < 0:
                found[before] = found[node] + 1
                queue[filled] = before
                filled += 1
