"""Hashed features of the text before an action, and of the action, whoever wrote which token: arrays in, arrays out.

A turn of a conversation and the same words shown as one long context have the same features, so that
what was learned from the one can be asked about the other. Keys are whole 64-bit hashes; reducing
them to buckets with different salts gives models whose collisions differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import jit
from .features import NONE, Hash, join, mix, sample_of, sequence_hash

Int = NDArray[np.int64]
Float = NDArray[np.float64]

#: How many of the last tokens count with their place, how far back a bag of words looks, and its size.
BACK, WINDOW, BAG = 4, 32, 4
#: Features of a text (:func:`suffix_keys`) that an action is joined with, by column.
_WITH = (*range(BACK), BACK, BACK + 2, BACK + 4)


def suffix_keys(hashed: Hash, begin: Int, end: Int) -> Hash:
    """Features of the texts ``hashed[begin:end]``, shape (n, 14): NONE where there is nothing.

    hashed: one hash per token, shape (T,). begin, end: (n,). The last four tokens by place, the last
    two and three together, the first one, that with the last and with the last two, a sample of the
    last 32 as a bag, and the length in quarter octaves.
    """
    back = [np.where(end - d >= begin, hashed[np.maximum(end - d, 0)], NONE) for d in range(1, BACK + 1)]
    first = np.where(end > begin, hashed[np.minimum(begin, hashed.size - 1)], NONE)
    pair, triple = join(back[1], back[0]), join(back[2], back[1], back[0])
    columns = [*back, pair, triple, first, join(first, back[0]), join(first, pair)]
    columns.append(mix(np.floor(4 * np.log2(1.0 + end - begin)).astype(np.int64)))
    return np.concatenate([_salted(columns, 0), _bag(hashed, begin, end)], axis=1)


def _bag(hashed: Hash, begin: Int, end: Int) -> Hash:
    """The smallest distinct hashes among the last ``WINDOW`` tokens, (n, BAG)."""
    at = end[:, None] - np.arange(1, WINDOW + 1)[None, :]
    left = np.where(at >= begin[:, None], hashed[np.maximum(at, 0)], NONE)
    out = np.full((end.size, BAG), NONE)
    for j in range(BAG):
        out[:, j] = left.min(axis=1)
        left[left <= out[:, j, None]] = NONE
    return np.where(out == NONE, NONE, mix(out + mix(np.array([101]))))


def action_keys(words: Hash, offsets: Int, before: Hash) -> Hash:
    """Features of actions, shape (n, 4 + 7): three of its words, all in order, and this with parts of the text before it.

    words: hashes of the actions' tokens, one action after the other; offsets: (n + 1,), none empty.
    before: :func:`suffix_keys` of the text that each follows.
    """
    whole = sequence_hash(words, offsets)
    sampled = sample_of(words, offsets, 3)
    bag = np.where(sampled == NONE, NONE, mix(sampled + mix(np.array([102]))))
    return np.concatenate([_salted([whole, *(join(whole, before[:, j]) for j in _WITH)], 50), bag], axis=1)


def _salted(columns: list[Hash], salt: int) -> Hash:
    keyed = [np.where(c == NONE, NONE, mix(c + mix(np.array([salt + j + 1])))) for j, c in enumerate(columns)]
    return np.stack(keyed, axis=1)


def bucketed(keys: Hash, salt: int, buckets: int) -> Int:
    """Bucket of every key, (n, m): 0..buckets - 1, or ``buckets`` for NONE."""
    number = (mix(keys + mix(np.array([1000 + salt]))) % np.uint64(buckets)).astype(np.int64)
    return np.where(keys == NONE, buckets, number)


def products(a: Int, b: Int, weight: Float, fold: Int, shape: tuple[int, int, int]) -> Float:
    """sum_i weight_i x_i z_i' by fold, shape (folds, width of x, width of z).

    a, b: the active features of x and z, (n, m) each; a negative one is not there.
    """
    out = np.zeros(shape)
    _products(np.ascontiguousarray(a), np.ascontiguousarray(b), weight, fold, out)
    return out


@jit
def _products(a, b, weight, fold, out):  # type: ignore[no-untyped-def]
    for f in range(out.shape[0]):  # one fold at a time: its matrix stays in the cache
        for i in range(a.shape[0]):
            if fold[i] == f and weight[i] != 0.0:
                for j in range(a.shape[1]):
                    if a[i, j] >= 0:
                        for k in range(b.shape[1]):
                            if b[i, k] >= 0:
                                out[f, a[i, j], b[i, k]] += weight[i]
