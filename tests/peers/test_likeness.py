"""tf-idf against scikit-learn's, which the official code of ProxMO calls."""

from __future__ import annotations

import re

import numpy as np
import pytest

from apportion.ops.likeness import tf_idf

text = pytest.importorskip("sklearn.feature_extraction.text")

TEXTS = [
    "You open the drawer 1. In it, you see a pen 2 and a key.",
    "You are at the drawer: the DRAWER is closed!",
    "a window",
    "...",
    "You open the drawer 1. In it, you see a pen 2 and a key.",
    "nothing to see here, nothing at all",
]


@pytest.mark.parametrize("limit", [1024, 4])
def test_vectors_are_those_of_scikit_learn(limit: int) -> None:
    vectorizer = text.TfidfVectorizer(max_features=limit)
    expected = vectorizer.fit_transform(TEXTS).toarray()
    said = [re.findall(r"\b\w\w+\b", t.lower()) for t in TEXTS]
    names = sorted({w for words in said for w in words})
    word = np.array([names.index(w) for words in said for w in words])
    offsets = np.concatenate(([0], np.cumsum([len(words) for words in said])))
    kept, value, ends = tf_idf(word, offsets, np.ones(len(TEXTS), dtype=np.int64), limit)
    got = np.zeros((len(TEXTS), limit))
    for i in range(len(TEXTS)):
        got[i, kept[ends[i] : ends[i + 1]]] = value[ends[i] : ends[i + 1]]
    if limit == 1024:  # every word counts: compare word by word; else the words tied for the last places may differ
        np.testing.assert_allclose(np.sort(got, axis=1)[:, -20:], np.sort(np.pad(expected, ((0, 0), (20, 0))), axis=1)[:, -20:])
        np.testing.assert_allclose(got @ got.T, expected @ expected.T, atol=1e-12)
    else:  # said most often: the 4, you 4, drawer 4, see 3
        assert set(vectorizer.get_feature_names_out()) == {"the", "you", "drawer", "see"}
        np.testing.assert_allclose(got @ got.T, expected @ expected.T, atol=1e-12)
