"""Hashed features of what the policy saw (and did) at each unit: arrays in, arrays out.

Every unit gets the same number m of active features out of ``buckets``, so that a linear model
on them costs O(n m) to evaluate and O(n m^2) to fit, however long the texts are. Hashes are
fixed 64-bit mixes of token ids (no process seed): the same text gives the same features anywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import jit
from .scans import first_active

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]
Hash = NDArray[np.uint64]

#: "Nothing there": falls in the extra bucket that carries no weight.
NONE = np.uint64(2**64 - 1)
_GOLD = 0x9E3779B97F4A7C15


def mix(x: NDArray[np.generic]) -> Hash:
    """The splitmix64 finaliser: one well-spread 64-bit hash per integer (Steele et al. 2014)."""
    z: Hash = x.astype(np.uint64, order="C")
    _mix(z.reshape(-1))
    return z


@jit
def _mix(flat):  # type: ignore[no-untyped-def]
    for i in range(flat.size):
        z = flat[i]
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        flat[i] = z ^ (z >> np.uint64(31))


def join(*parts: Hash) -> Hash:
    """Hash of a tuple of hashes, NONE where any of them is."""
    total = np.zeros_like(parts[0])
    for i, part in enumerate(parts):
        total = mix(total + part + np.uint64(_GOLD * (i + 1) % 2**64))
    for part in parts:
        total[part == NONE] = NONE
    return total


def sequence_hash(tokens: Hash, offsets: Int) -> Hash:
    """Hash of each non-empty segment of hashed tokens, order included, shape (segments,)."""
    place = np.arange(tokens.size, dtype=np.int64) - np.repeat(offsets[:-1], np.diff(offsets))
    return mix(np.add.reduceat(mix(tokens + mix(place)), offsets[:-1]))


def sample_of(keys: Hash, offsets: Int, k: int) -> Hash:
    """The k smallest distinct hashes of each non-empty segment, shape (segments, k), padded with NONE.

    A consistent sample of a bag (bottom-k sketch): texts that share words share sampled words.
    """
    out = np.full((offsets.size - 1, k), NONE)
    left, length = keys.copy(), np.diff(offsets)
    for j in range(k):
        out[:, j] = np.minimum.reduceat(left, offsets[:-1])
        left[left <= np.repeat(out[:, j], length)] = NONE
    return out


def hashed_features(
    ids: Int,
    action: Bool,
    offsets: Int,
    first_unit: Int,
    *,
    buckets: int = 1024,
    tokens: int = 4,
    pairs: int = 3,
    actions: int = 0,
) -> Int:
    """Indices of the active features of every unit, shape (n, m), values 0..buckets (= no feature).

    ids, action: token ids and policy mask, shape (T,). offsets: units, shape (n + 1,). first_unit:
    index of the first unit of each unit's trajectory, shape (n,).

    What the policy *saw* at a unit is the last run of observation tokens before its first policy
    token; the prompt is the run that opens the trajectory. Features: the prompt (whole, and its
    first token), the position (exact below 8, then in quarter octaves), ``tokens`` tokens and
    ``pairs`` adjacent pairs of what was seen, its last token, and that token with either form of
    the prompt: m = 6 + tokens + pairs. ``actions`` > 0 adds what the policy *did*: that many of the
    unit's policy tokens, all of them in order, and this with each seen token, the last one, the
    prompt and the position: 4 + actions + tokens more. Nothing at or after the unit's first policy
    token is looked at unless ``actions`` > 0.
    """
    hashed = mix(ids)
    first = first_active(action, offsets)
    run, start, length = seen_runs(action, first, offsets[first_unit])
    ends = np.concatenate(([0], np.cumsum(length)))
    place = np.arange(ends[-1]) + np.repeat(start - ends[:-1], length)
    seen = hashed[place]
    following = np.append(hashed[1:], NONE)[place]
    following[ends[1:] - 1] = NONE
    n_runs = start.size
    blank = np.full(1, NONE)
    whole = np.concatenate([sequence_hash(seen, ends), blank])[run] if n_runs else np.full(run.size, NONE)
    opening = np.concatenate([seen[ends[:-1]], blank])[run]
    # what stands right before the unit's own words, whoever wrote it: seen, or the end of the step before
    last = np.where(first > offsets[first_unit], hashed[first - 1], NONE)
    prompted = (run[first_unit] >= 0) & (np.append(start, -1)[run[first_unit]] == offsets[first_unit])
    prompt = np.where(prompted, whole[first_unit], NONE)
    topic = np.where(prompted, opening[first_unit], NONE)
    position = _position(np.arange(first_unit.size) - first_unit)
    bag = _gather(sample_of(seen, ends, tokens), run) if n_runs else np.full((run.size, tokens), NONE)
    couples = _gather(sample_of(join(seen, following), ends, pairs), run) if n_runs else np.full((run.size, pairs), NONE)
    kinds = [prompt, topic, position, last, join(topic, last), join(prompt, last), bag, couples]
    if actions:
        kinds += _done(hashed, action, offsets, actions, bag, (last, topic, position))
    return _bucket(kinds, buckets)


def seen_runs(action: Bool, first: Int, begin: Int) -> tuple[Int, Int, Int]:
    """Run of observation tokens each unit saw last (-1: none), and the start and length of all runs.

    first: first policy token of each unit; begin: first token of its trajectory.
    """
    index = np.arange(action.size, dtype=np.int64)
    last_seen = np.maximum.accumulate(np.where(action, -1, index))[first]
    last_done = np.maximum.accumulate(np.where(action, index, -1))
    some = last_seen >= begin
    opened = np.maximum(last_done[last_seen] + 1, begin)
    start, inverse = np.unique(opened[some], return_inverse=True)
    run = np.full(first.size, -1, dtype=np.int64)
    run[some] = inverse
    end = np.zeros(start.size, dtype=np.int64)
    end[inverse] = last_seen[some] + 1
    return run, start, end - start


def _done(hashed: Hash, action: Bool, offsets: Int, k: int, bag: Hash, context: tuple[Hash, ...]) -> list[Hash]:
    count = np.concatenate(([0], np.cumsum(action, dtype=np.int64)))
    inside = count[offsets]
    whole = sequence_hash(hashed[action], inside)
    sampled = sample_of(hashed[action], inside, k)
    with_bag = np.stack([join(whole, part) for part in bag.T], axis=1)
    return [sampled, whole, *(join(whole, part) for part in context), with_bag]


def _gather(table: Hash, run: Int) -> Hash:
    return np.concatenate([table, np.full((1, table.shape[1]), NONE)])[run]


def _position(place: Int) -> Hash:
    octaves = 8 + np.floor(4 * np.log2(np.maximum(place, 8) / 8))
    return mix(np.where(place < 8, place, octaves).astype(np.int64))


def _bucket(kinds: list[Hash], buckets: int) -> Int:
    """Salt the kinds of feature apart (the members of a bag alike) and reduce to bucket numbers."""
    columns = [(mix(np.array([i + 1])), c) for i, k in enumerate(kinds) for c in (k.T if k.ndim == 2 else [k])]
    out = np.empty((kinds[0].size, len(columns)), dtype=np.int64)
    for j, (salt, column) in enumerate(columns):
        bucket = mix(column + salt) % np.uint64(buckets)
        out[:, j] = np.where(column == NONE, np.uint64(buckets), bucket)
    return out
