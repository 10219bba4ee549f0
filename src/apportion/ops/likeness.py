"""Texts as bags of words: unit tf-idf vectors, and means over what is alike. Arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import frozen, jit

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def tf_idf(word: Int, offsets: Int, times: Int, limit: int) -> tuple[Int, Float, Int]:
    """Unit vectors of texts: the words of each (0 .. limit - 1), their values, and the offsets of the texts.

        tf = how often the word stands in the text     idf = 1 + log((1 + n) / (1 + texts with the word))

    word: numbers from 0, text k at ``offsets[k]:offsets[k + 1]``. times: how many of the n texts are text k, which
    is held once. limit: only so many words count, those said most often in all (among equals, those of lower
    number). A text without any of them is the zero vector. (scikit-learn's TfidfVectorizer, by default.)
    """
    n_texts, n_words = offsets.size - 1, int(word.max(initial=0)) + 1
    pair, count = np.unique(np.repeat(np.arange(n_texts), np.diff(offsets)) * n_words + word, return_counts=True)
    text, word = np.divmod(pair, n_words)
    said = np.bincount(word, weights=count * times[text], minlength=n_words)
    number = np.full(n_words, -1, dtype=np.int64)
    top = np.argsort(-said, kind="stable")[:limit]
    number[top] = np.arange(top.size)
    having = np.bincount(word, weights=times[text], minlength=n_words)
    idf = 1.0 + np.log((1.0 + times.sum()) / (1.0 + having))
    kept = number[word] >= 0
    text, word, value = text[kept], word[kept], (count * idf[word])[kept]
    value /= np.sqrt(np.bincount(text, weights=value**2, minlength=n_texts))[text]
    ends = np.concatenate(([0], np.cumsum(np.bincount(text, minlength=n_texts))))
    return number[word], value, ends


def means_of_alike(
    total: Float, count: Int, task: Int, text: Int, vectors: tuple[Int, Float, Int], tau: float,
) -> tuple[Float, Float]:  # fmt: skip
    """Softmax-weighted means over the items of a task, one per cell, and the weight each gives to any one of its own items.

        b_c = sum_d n_d exp(s_cd / tau) m_d / sum_d n_d exp(s_cd / tau)        d: the cells of the same task, c included

    A cell holds the ``count`` = n items of one ``task`` (offsets, shape (tasks + 1,)) that have one ``text``; their
    values add up to ``total`` = n m. An item's weight grows with its likeness s, which is
    the dot product of the texts' vectors (those of :func:`tf_idf`). O(sum over tasks of cells^2 x words a text).
    """
    word, value, ends = vectors
    out, own = np.empty(total.size), np.empty(total.size)
    given = (frozen(total), frozen(count), frozen(task), frozen(text), frozen(word), frozen(value), frozen(ends))
    _means_of_alike(*given, float(tau), np.zeros(int(word.max(initial=0)) + 1), out, own)
    return out, own


@jit
def _means_of_alike(total, count, task, text, word, value, ends, tau, here, out, own):  # type: ignore[no-untyped-def]
    like = np.empty(np.diff(task).max())
    for g in range(task.size - 1):
        for c in range(task[g], task[g + 1]):
            a = text[c]
            for i in range(ends[a], ends[a + 1]):
                here[word[i]] = value[i]
            most = -np.inf
            for d in range(task[g], task[g + 1]):
                s = 0.0
                for i in range(ends[text[d]], ends[text[d] + 1]):
                    s += value[i] * here[word[i]]
                like[d - task[g]] = s
                most = max(most, s)
            for i in range(ends[a], ends[a + 1]):
                here[word[i]] = 0.0
            above, below = 0.0, 0.0
            for d in range(task[g], task[g + 1]):
                weight = np.exp((like[d - task[g]] - most) / tau)
                above += weight * total[d]
                below += weight * count[d]
            out[c] = above / below
            own[c] = np.exp((like[c - task[g]] - most) / tau) / below
