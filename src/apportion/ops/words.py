"""Words of texts, found and numbered at the speed of reading: code points in, one slot per word out.

The rule is that of a regular expression, the first that fits at each place:

    \\s?\\w+      a word, with the space before it        <|\\w+|>    a mark
    \\s?[^\\w\\s]   one other sign, with the space before it   \\s+        white space

Words are kept in an open hash table (linear probing, 64-bit keys); equal words have equal slots.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import jit

Int = NDArray[np.int64]
Points = NDArray[np.uint32]
Classes = NDArray[np.uint8]
Keys = NDArray[np.uint64]

#: Classes of characters.
WORD, SPACE, OTHER = 0, 1, 2


def cut(points: Points, offsets: Int, classes: Classes, keys: Keys) -> tuple[Int, Int, Int, Int]:
    """Cut texts into words and look each up in the table, entering those that are new.

    points: code points of all texts, text k at ``offsets[k]:offsets[k + 1]``. classes: of each code
    point. keys: the table, a power of two long, 0 where free, with more free places than there are
    points. Returns the slot of every word, the number of words of each text, and for the new ones
    their slot and (start, stop) in ``points``, shape (new, 3) flattened as three columns.
    """
    slot = np.empty(points.size, dtype=np.int64)
    count = np.zeros(offsets.size - 1, dtype=np.int64)
    fresh = np.empty((points.size, 3), dtype=np.int64)
    n, new = _cut(points, offsets, classes, keys, slot, count, fresh)
    return slot[:n].copy(), count, fresh[:new, 0].copy(), fresh[:new, 1:].copy()


@jit
def _cut(points, offsets, classes, keys, slot, count, fresh):  # type: ignore[no-untyped-def]
    n, new = 0, 0
    last_slot = np.uint64(keys.size - 1)
    for k in range(offsets.size - 1):
        i, end = offsets[k], offsets[k + 1]
        while i < end:
            j = i + 1 if classes[points[i]] == 1 else i
            stop = j
            while stop < end and classes[points[stop]] == 0:
                stop += 1
            if stop == j:
                stop = i
                if points[i] == 60 and i + 1 < end and points[i + 1] == 124:  # <|
                    m = i + 2
                    while m < end and classes[points[m]] == 0:
                        m += 1
                    if m > i + 2 and m + 1 < end and points[m] == 124 and points[m + 1] == 62:  # |>
                        stop = m + 2
                if stop == i and j < end and classes[points[j]] == 2:
                    stop = j + 1
                if stop == i:
                    while stop < end and classes[points[stop]] == 1:
                        stop += 1
            h = np.uint64(0xCBF29CE484222325)
            for m in range(i, stop):
                h = (h ^ np.uint64(points[m])) * np.uint64(0x100000001B3)
            h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            h = (h ^ (h >> np.uint64(31))) | np.uint64(1)  # never 0, which is a free place
            at = (h >> np.uint64(1)) & last_slot
            while keys[at] != 0 and keys[at] != h:
                at = (at + np.uint64(1)) & last_slot
            if keys[at] == 0:
                keys[at] = h
                fresh[new, 0], fresh[new, 1], fresh[new, 2] = at, i, stop
                new += 1
            slot[n] = at
            count[k] += 1
            n += 1
            i = stop
    return n, new
