"""The prefix tree that sequences sampled from one prompt form by themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._jit import jit

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """Compressed tree: a node is a *set of sequences* and the stretch of tokens they share.

    node: node of each token, shape (T,). Two sequences have the same prefix up to and including
    token t exactly if their node there is the same (and t is).
    end: node in which each sequence ends, shape (N,). Where a sequence stops and another one that
    starts with it goes on, ``end`` is a branch of its own, without tokens.
    parent: node above, -1 at roots, shape (M,). Nodes 0..groups-1 are the roots, one a group.
    order, low, high: node k is the set ``order[low[k]:high[k]]``.
    """

    node: Int
    end: Int
    parent: Int
    order: Int
    low: Int
    high: Int

    def mean(self, x: Float) -> Float:
        """Mean over the sequences of each node, shape (M,); exact where all are equal."""
        out = np.empty(self.low.size)
        _means(np.ascontiguousarray(x, dtype=np.float64), self.order, self.low, self.high, out)
        return out


def prefix_tree(ids: Int, offsets: Int, over: Int) -> PrefixTree:
    """The trees of all groups.

    ids: token ids, shape (T,). offsets: sequence i owns tokens ``offsets[i]:offsets[i + 1]``.
    over: group of each sequence (0..groups-1), shape (N,); sequences of different groups share
    nothing.

    Ids are compared, not hashed, so the tree is exact. A set walks down together and every token
    is looked at twice at most: O(T + N log N) and O(N) nodes.
    """
    n = over.size
    order = np.argsort(over, kind="stable").astype(np.int64)
    groups = int(over.max()) + 1
    starts = np.searchsorted(over[order], np.arange(groups + 1)).astype(np.int64)
    low, high, depth, parent = (np.full(groups + 2 * n, -1, dtype=np.int64) for _ in range(4))
    low[:groups], high[:groups], depth[:groups] = starts[:-1], starts[1:], 0
    node, end = np.empty(ids.size, dtype=np.int64), np.empty(n, dtype=np.int64)
    made = _grow(np.ascontiguousarray(ids), np.ascontiguousarray(offsets), order, groups, low, high, depth, parent, node, end)
    return PrefixTree(node, end, parent[:made], order, low[:made], high[:made])


@jit
def _grow(ids, offsets, order, groups, low, high, depth, parent, node, end):  # type: ignore[no-untyped-def]
    made = groups
    k = 0
    while k < made:  # nodes are worked off in the order they were made
        a, b, d = low[k], high[k], depth[k]
        if a == b:  # a group without members
            k += 1
            continue
        first = order[a]
        agree = True
        over = False
        while agree and not over:
            p = offsets[first] + d
            over = p >= offsets[first + 1]
            for j in range(a + 1, b):
                q = offsets[order[j]] + d
                over_j = q >= offsets[order[j] + 1]
                if over_j != over or (not over and ids[q] != ids[p]):
                    agree = False
                    break
            if agree and not over:
                for j in range(a, b):
                    node[offsets[order[j]] + d] = k
                d += 1
        if agree:
            for j in range(a, b):
                end[order[j]] = k
        else:
            # those that end here come first, then one child per next token
            going = np.empty(b - a, dtype=np.int64)
            done = a
            n_going = 0
            for j in range(a, b):
                s = order[j]
                if offsets[s] + d >= offsets[s + 1]:
                    order[done] = s
                    done += 1
                else:
                    going[n_going] = s
                    n_going += 1
            nxt = np.empty(n_going, dtype=np.int64)
            for j in range(n_going):
                nxt[j] = ids[offsets[going[j]] + d]
            rank = np.argsort(nxt, kind="mergesort")
            for j in range(n_going):
                order[done + j] = going[rank[j]]
            begin = a
            for j in range(a + 1, b + 1):
                cut = j in (b, done)
                if not cut and j > done:
                    cut = nxt[rank[j - done]] != nxt[rank[j - done - 1]]
                if cut and j > begin:
                    low[made], high[made], depth[made], parent[made] = begin, j, d, k
                    made += 1
                    begin = j
        k += 1
    return made


@jit
def _means(x, order, low, high, out):  # type: ignore[no-untyped-def]
    for k in range(low.size):
        if low[k] == high[k]:
            out[k] = np.nan
            continue
        base = x[order[low[k]]]
        total = 0.0
        for j in range(low[k] + 1, high[k]):
            total += x[order[j]] - base  # differences, so that equal values average to themselves
        out[k] = base + total / (high[k] - low[k])
