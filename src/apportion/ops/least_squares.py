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


def solve_folds(gram: Float, rhs: Float, penalty: Float, *, definite: bool = False) -> Float:
    """Weights without each fold, and from all of them in the last row, shape (folds + 1, d).

        w_k = argmin_w  w' (sum_{f != k} G_f + diag(penalty)) w - 2 w' sum_{f != k} b_f

    definite: the form is known to have one minimum (a sum of squares and a penalty on every weight). Otherwise the least
    one (in norm) where several are as good; and a form that falls without bound in some direction, as a difference
    of estimates may, is not followed there: negative eigenvalues count as none.
    """
    folds, d = rhs.shape
    out = np.zeros((folds + 1, d))
    for k in range(folds + 1):
        others = [f for f in range(folds) if f != k]  # summed afresh: nothing of fold k is left, not even rounding
        total = np.diag(penalty) + sum((gram[f] for f in others), np.zeros((d, d)))
        right = sum((rhs[f] for f in others), np.zeros(d))
        out[k] = np.linalg.solve(total, right) if definite else _least((total + total.T) / 2, right)
    return out


def _least(total: Float, right: Float) -> Float:
    size, along = np.linalg.eigh(total)
    usable = size > max(size[-1], 0.0) * right.size * 1e-12
    found: Float = along[:, usable] @ ((along[:, usable].T @ right) / size[usable])
    return found
