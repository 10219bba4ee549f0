"""Counting lengths and positions in fixed memory: exact when small, about 3 % wide when large."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..structure import Float, Int

_EXACT = 64  # values below this have a bucket of their own
_OCTAVE = 32  # buckets a doubling above it
#: Buckets there are: up to 2^30.
BUCKETS = _EXACT + 24 * _OCTAVE


def bucket(values: Int) -> Int:
    """The bucket of each whole number of at least 0."""
    above = np.maximum(values, _EXACT)
    found = np.where(values < _EXACT, values, _EXACT + np.floor(_OCTAVE * np.log2(above / _EXACT)).astype(np.int64))
    return np.minimum(found, BUCKETS - 1)


def smallest(index: int) -> int:
    """The smallest number that falls into a bucket."""
    return index if index < _EXACT else int(np.ceil(_EXACT * 2 ** ((index - _EXACT) / _OCTAVE) - 1e-9))


def equal_parts(counts: Float, parts: int) -> list[tuple[int, int]]:
    """Ranges of buckets, each holding about 1/parts of what was counted; fewer where values are few."""
    filled = np.flatnonzero(counts)
    if not filled.size:
        return []
    share = np.cumsum(counts[filled]) / counts.sum()
    # a bucket belongs to the part in which its middle lies, so that heavy ones are not torn
    middle = share - counts[filled] / counts.sum() / 2
    part = np.minimum((middle * parts).astype(np.int64), parts - 1)
    cuts = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), filled.size]
    return [(int(filled[a]), int(filled[b - 1]) + 1) for a, b in pairwise(cuts)]


def positions(largest: int) -> list[tuple[int, int]]:
    """Ranges of positions from 0: single ones, then two to a doubling: 0, 1, 2, 3, 4-5, 6-7, 8-11 ..."""
    edges, width = [0, 1, 2, 3, 4], 2
    while edges[-1] <= largest:
        edges += [edges[-1] + width, edges[-1] + 2 * width]
        width *= 2
    return [(a, b) for a, b in pairwise(edges) if a <= largest]


def label(low: int, high: int) -> str:
    """'3' or '4-7' for the numbers low to high."""
    return f"{low:,}" if low >= high else f"{low:,}-{high:,}"
