"""Ridge regression on sparse 0/1 features, cross-fitted: no prediction sees its own fold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import jit

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def cross_fit(features: Int, y: Float, fold: Int, *, folds: int, buckets: int, penalty: float) -> Float:
    """Weights of ``folds`` + 1 ridge regressions, shape (folds + 1, buckets + 2).

        w_k = argmin_w  sum_{i not in fold k} (y_i - b - sum_j w[features_ij])^2 + penalty |w|^2

    features: (n, m), values 0..buckets, where ``buckets`` means "no feature". y, fold: (n,).
    Row k is fitted without fold k, the last row on everything. Column ``buckets`` is 0, the last
    column is the intercept b, which is not penalised.

    Normal equations: the Gram matrix of every fold is counted once, O(n m^2), over the buckets in
    use only; sums over the *other* folds are formed afresh, so that row k does not depend on
    fold k even by rounding.
    """
    used = np.flatnonzero(np.bincount(features.ravel(), minlength=buckets + 1)[:buckets])
    column = np.full(buckets + 1, -1, dtype=np.int64)
    column[used] = np.arange(used.size)
    width = used.size + 1  # the last one is the intercept
    gram = np.zeros((folds, width, width))
    rhs = np.zeros((folds, width))
    _accumulate(column, np.ascontiguousarray(features), y.astype(np.float64), fold.astype(np.int64), gram, rhs)
    weights = np.zeros((folds + 1, buckets + 2))
    ridge = np.append(np.full(used.size, penalty), 0.0)
    for k in range(folds + 1):
        others = [f for f in range(folds) if f != k]
        total = sum((gram[f] for f in others), np.zeros((width, width)))
        total = total + np.tril(total, -1).T + np.diag(ridge)
        solved = np.linalg.solve(total, sum((rhs[f] for f in others), np.zeros(width)))
        weights[k, used], weights[k, -1] = solved[:-1], solved[-1]
    return weights


def predict(weights: Float, row: Int, features: Int) -> Float:
    """b + sum_j w[features_ij] with weight row ``row[i]``, shape (n,)."""
    total: Float = weights[row, -1].copy()
    for j in range(features.shape[1]):
        total += weights[row, features[:, j]]
    return total


@jit
def _accumulate(column, features, y, fold, gram, rhs):  # type: ignore[no-untyped-def]
    n, m = features.shape
    last = gram.shape[1] - 1
    at = np.empty(m + 1, dtype=np.int64)
    for f in range(gram.shape[0]):  # one fold at a time: its Gram matrix stays in the cache
        for i in range(n):
            if fold[i] != f:
                continue
            size = 0
            for j in range(m):
                c = column[features[i, j]]
                if c >= 0:
                    at[size] = c
                    size += 1
            at[size] = last
            for j in range(size + 1):
                rhs[f, at[j]] += y[i]
                for k in range(j + 1):
                    # a bucket hit by two features of the unit counts both ordered pairs
                    twice = 2.0 if j != k and at[j] == at[k] else 1.0
                    gram[f, max(at[j], at[k]), min(at[j], at[k])] += twice
