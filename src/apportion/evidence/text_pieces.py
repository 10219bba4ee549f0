"""The pieces that a text consists of, hashed into buckets: what :mod:`.text_model` is linear in."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..ops.features import NONE, join, mix, sequence_hash
from ..ops.scans import first_active
from ..structure import Bool, Int
from ..words import Axis
from .learned import _stream
from .sources import Array

#: Pieces of a unit that are there before its own words: the first ones of ``pieces``.
SEEN = 3


def pieces(batch: Batch, axis: Axis, buckets: int, keep: Bool | None = None) -> tuple[Int, Int]:
    """Bucket of every piece: (N, 2) of the prompts and (n, 9) of the units; ``buckets`` means "not there".

    A unit's own words are its policy tokens, in order; what stands before them is the last token before
    the first of them, whoever wrote it. keep: units that are not kept are blank, and so is what stood
    in them for the next unit.
    """
    ids, action, offsets = _stream(batch, axis)
    owner = batch.within(axis, "trajectory")
    starts = np.searchsorted(owner, np.arange(batch.n_trajectories))
    hashed, begin = mix(ids), offsets[:-1][starts]
    first = first_active(action, offsets)
    words = sequence_hash(hashed[action], np.concatenate(([0], np.cumsum(action)))[offsets])
    last = np.where(first > begin[owner], hashed[first - 1], NONE)
    opens = np.zeros(owner.size, dtype=np.bool_)
    opens[starts] = True
    if keep is not None:
        written = (first > 0) & action[first - 1] & ~opens
        last[written & ~np.append(True, keep[:-1])] = NONE
        words[~keep] = NONE
    before = np.where(opens, NONE, np.append(NONE, words[:-1]))
    topic = np.where(first[starts] > begin, hashed[begin], NONE)
    whole = np.full(starts.size, NONE)
    shown = np.flatnonzero(first[starts] > begin)
    if shown.size:
        span = np.stack([begin[shown], first[starts][shown]], axis=1)
        length = np.diff(span, axis=1).ravel()
        ends = np.concatenate(([0], np.cumsum(length)))
        whole[shown] = sequence_hash(hashed[np.arange(ends[-1]) + np.repeat(span[:, 0] - ends[:-1], length)], ends)
    place = mix(np.minimum(np.arange(owner.size) - starts[owner], 255))
    about = topic[owner]
    seen = [last, join(about, last), join(place, last)]
    done = [words, join(last, words), join(about, words), join(about, last, words), join(place, words), join(before, words)]
    return _bucketed([topic, whole], buckets, 0), _bucketed([*seen, *done], buckets, 2)


def made_of(batch: Batch, axis: Axis) -> tuple[Bool, Bool]:
    """Whether each of a unit's pieces is made of its own words, and of those of the unit before, (n, 9) each."""
    _, action, offsets = _stream(batch, axis)
    owner = batch.within(axis, "trajectory")
    first = first_active(action, offsets)
    follows = np.append(False, owner[1:] == owner[:-1])
    written = follows & action[np.maximum(first - 1, 0)]  # what stands before the unit was written in the one before
    own = np.zeros((owner.size, 9), dtype=np.bool_)
    own[:, SEEN:] = True
    before = np.zeros_like(own)
    before[:, [0, 1, 2, 4, 6]] = written[:, None]
    before[:, 8] = follows
    return own, before


def _bucketed(kinds: list[Array], buckets: int, salt: int) -> Int:
    out = np.empty((kinds[0].size, len(kinds)), dtype=np.int64)
    for j, kind in enumerate(kinds):
        bucket = mix(kind + mix(np.array([salt + j + 1]))) % np.uint64(buckets)
        out[:, j] = np.where(kind == NONE, np.uint64(buckets), bucket)
    return out
