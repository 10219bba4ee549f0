"""Sums and means over seeds, for the whole sample and for every bootstrap resample of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan

import numpy as np

from ..bench.statistics import Float, Int
from .numbers import Estimate, estimate

Cell = Mapping[str, Float]


def resample_weights(index: Int) -> Float:
    """How often each resample holds each seed, the whole sample first: shape (1 + resamples, seeds)."""
    n = index.shape[1]
    counts = np.stack([np.bincount(row, minlength=n) for row in index])
    return np.concatenate([np.ones((1, n)), counts])


def pooled(cell: Cell, names: tuple[str, ...], weights: Float) -> list[Float]:
    """Sums over seeds of these metrics for every resample; a seed counts where all of them are known."""
    columns = [cell.get(name, np.full(weights.shape[1], nan)) for name in names]
    known = ~np.isnan(np.stack(columns)).any(axis=0)
    seen = weights[:, known].sum(axis=1) > 0
    return [np.where(seen, weights[:, known] @ column[known], nan) for column in columns]


#: What is bounded by its definition, and so is its interval.
WITHIN = {"sign": (0.0, 1.0), "fork_ap": (0.0, 1.0), "leak_routine": (0.0, 1.0), "coverage": (0.0, 1.0), "silent": (0.0, 1.0)}
WITHIN |= {"correlation": (-1.0, 1.0), "leak_luck": (-1.0, 1.0)}


def mean_estimate(cell: Cell, name: str, weights: Float) -> Estimate:
    """Mean of a metric over the seeds that have it, with its interval."""
    column = cell.get(name, np.full(weights.shape[1], nan))
    known = ~np.isnan(column)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (weights[:, known] @ column[known]) / weights[:, known].sum(axis=1)
    bounds = WITHIN.get(name.partition(":")[0], (-inf, inf))
    return estimate(mean[0], mean[1:], int(known.sum()), within=bounds)


def seed_mean(cell: Cell | None, name: str) -> float:
    """Mean of a metric over the seeds that have it; NaN where none has."""
    column = None if cell is None else cell.get(name)
    if column is None or np.isnan(column).all():
        return nan
    return float(np.nanmean(column))
