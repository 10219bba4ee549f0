"""Least squares on values and on their changes from step to step, with sparse 0/1 features: arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

#: Rows of dense features handled at a time.
_CHUNK = 8192


def follows(bounds: Int) -> Bool:
    """Which steps have one before them in their trajectory, shape (n,)."""
    inside = np.ones(int(bounds[-1]), dtype=np.bool_)
    inside[bounds[:-1]] = False
    return inside


def gram_by_fold(seen: Int, bounds: Int, part: Int, rows: int, buckets: int, change: float) -> Float:
    """sum x x' + change sum (x_t - x_{t-1})(x_t - x_{t-1})' of each fold, shape (rows, buckets + 1, buckets + 1).

    seen: (n, m), the features of each step, values 0..buckets, where ``buckets`` means "no feature". bounds: steps of the
    trajectories; part: their folds, 0..rows - 1. The last column of x is the intercept's.
    """
    size = np.diff(bounds)
    gram = np.zeros((rows, buckets + 1, buckets + 1))
    for f in range(rows):
        chosen = np.flatnonzero(part == f)
        if not chosen.size:
            continue
        cuts = np.searchsorted(np.cumsum(size[chosen]), np.arange(_CHUNK, size.sum(), _CHUNK))
        for some in np.split(chosen, np.unique(cuts)):
            if not some.size:
                continue
            ends = np.cumsum(size[some])
            at = np.arange(ends[-1]) + np.repeat(bounds[some] - (ends - size[some]), size[some])
            where = np.arange(at.size)[:, None] * (buckets + 1) + seen[at]
            x = np.bincount(where.ravel(), minlength=at.size * (buckets + 1)).astype(np.float64).reshape(at.size, -1)
            x[:, -1] = 1.0  # "no feature" was counted there
            d = np.diff(x, axis=0)[follows(np.append(0, ends))[1:]]
            gram[f] += x.T @ x + change * (d.T @ d)
    return gram


def moments(seen: Int, e: Float, inner: Bool, use: Bool, buckets: int, change: float) -> Float:
    """sum x e + change sum (x_t - x_{t-1}) (e_t - e_{t-1}) over the steps in use, shape (buckets + 1,)."""
    rise = np.where(inner & use, e - np.append(0.0, e[:-1]), 0.0)
    y = np.where(use, e, 0.0) + change * (rise - np.append(rise[1:], 0.0))
    total = np.bincount(seen.ravel(), weights=np.repeat(y, seen.shape[1]), minlength=buckets + 1)
    total[-1] = np.where(use, e, 0.0).sum()
    return np.asarray(total, dtype=np.float64)
