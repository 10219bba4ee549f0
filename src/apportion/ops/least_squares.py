"""Least squares on dense features, cross-fitted: the normal equations of every fold, and the sums of the others solved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def fold_grams(x: Float, y: Float, fold: Int, folds: int) -> tuple[Float, Float]:
    """X'X and X'y of each fold, shapes (folds, d, d) and (folds, d). x: (n, d), y and fold: (n,)."""
    gram, rhs = np.zeros((folds, x.shape[1], x.shape[1])), np.zeros((folds, x.shape[1]))
    for k in range(folds):
        own = x[fold == k]
        gram[k], rhs[k] = own.T @ own, own.T @ y[fold == k]
    return gram, rhs


def solve_folds(gram: Float, rhs: Float, penalty: Float) -> Float:
    """Weights without each fold, and from all of them in the last row, shape (folds + 1, d); see :func:`solve_without`."""
    return np.stack([solve_without(k, gram, rhs, penalty) for k in range(rhs.shape[0] + 1)])


def solve_without(k: int, gram: Float, rhs: Float, penalty: Float) -> Float:
    """Weights from all folds but ``k`` (from all, where there is no such fold), shape (d,).

        w = argmin_w  w' (sum_{f != k} G_f + diag(penalty)) w - 2 w' sum_{f != k} b_f

    The least one (in norm) where several are as good. A form that falls without bound in some direction, as a
    difference of estimates may, is not followed there: negative eigenvalues count as none.
    """
    others = [f for f in range(rhs.shape[0]) if f != k]  # summed afresh: nothing of fold k is left, not even rounding
    total = np.diag(penalty) + sum((gram[f] for f in others), np.zeros(gram.shape[1:]))
    right = sum((rhs[f] for f in others), np.zeros(rhs.shape[1]))
    return _solved((total + total.T) / 2, right, definite=bool((penalty > 0).all()))


def _solved(total: Float, right: Float, *, definite: bool) -> Float:
    if definite:
        try:
            np.linalg.cholesky(total)
            return np.asarray(np.linalg.solve(total, right), dtype=np.float64)
        except np.linalg.LinAlgError:
            pass
    size, along = np.linalg.eigh(total)
    usable = size > max(size[-1], 0.0) * right.size * 1e-12
    found: Float = along[:, usable] @ ((along[:, usable].T @ right) / size[usable])
    return found
