"""Where turns and steps begin in packed tokens, from a mask or from explicit ids."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import BatchError
from ..structure import Bool, Int

Place = Callable[[int], str]


def cut_by_mask(action: Bool, row_start: Bool) -> Bool:
    """A turn ends where a run of policy tokens ends; what follows the last run stays with it."""
    ends = np.zeros(action.size, dtype=np.bool_)
    ends[1:] = action[:-1] & ~action[1:] & ~row_start[1:]
    start: Bool = row_start | (ends & (_following(action) < _segment_end(row_start)))
    return start


def cut_by_ids(name: str, ids: Int, action: Bool, within: Bool, place: Place) -> Bool:
    """Starts of the units that ``ids`` number inside each segment begun by ``within``.

    Tokens of id < 0 join the unit after them, at the end of a segment the one before. Ids must not
    fall within a segment, every policy token needs one and every unit a policy token.
    """
    given = ids >= 0
    bare = action & ~given
    if bare.any():
        t = int(np.argmax(bare))
        raise BatchError(f"{name}{place(t)} = {ids[t]} on a policy token: every policy token needs an id of at least 0")
    position = np.arange(ids.size, dtype=np.int64)
    before = np.maximum.accumulate(np.where(given, position, -1))
    begin = np.maximum.accumulate(np.where(within, position, 0))
    following, end = _following(given), _segment_end(within)
    source = np.where(following < end, following, np.maximum(before, begin))
    unit = ids[np.minimum(source, ids.size - 1)]
    drop = np.zeros(ids.size, dtype=np.bool_)
    drop[1:] = (np.diff(unit) < 0) & ~within[1:]
    if drop.any():
        t = int(following[np.argmax(drop)])
        raise BatchError(
            f"{name}{place(t)} = {ids[t]} comes after a larger id: ids must not fall along a row "
            "(use -1 for padding and for tokens that belong to no unit of their own)"
        )
    start: Bool = within.copy()
    start[1:] |= np.diff(unit) != 0
    first = np.flatnonzero(start)
    empty = np.add.reduceat(action.astype(np.int64), first) == 0
    if empty.any():
        t = int(first[np.argmax(empty)])
        raise BatchError(f"{name}{place(t)}: the unit that begins here has no policy token; give its tokens -1 to join the next")
    return start


def _following(flag: Bool) -> Int:
    """Index of the first flagged position at or after each; ``size`` where there is none."""
    at = np.where(flag, np.arange(flag.size, dtype=np.int64), flag.size)
    found: Int = np.minimum.accumulate(at[::-1])[::-1]
    return found


def _segment_end(start: Bool) -> Int:
    """Index one past the segment each position lies in."""
    later = np.append(start[1:], True)
    end: Int = _following(later) + 1
    return end
