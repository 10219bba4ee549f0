"""Intervals and p-values over independent batches, and Holm's correction over methods.

Batches are independent, so Student's t holds for their means; there are two dozen of them, where the normal law would be
too sure. Statistics that are no means are made into means by the jackknife.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..statistics import student_quantile
from ..tabular import Float

#: Two-sided level of intervals, and what p-values are compared with.
LEVEL = 0.05


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval. above: one-sided p of "it is at most 0"; below: of "it is at least 0"."""

    value: float
    low: float
    high: float
    above: float
    below: float


def upper_tail(t: float, df: int) -> float:
    """P(T > t) of Student's t with ``df`` degrees of freedom, a whole number: a finite series (A&S 26.7.3, 26.7.4)."""
    if df < 1:
        raise ValueError(f"df = {df}: expected at least 1")
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    theta = math.atan2(t, math.sqrt(df))
    cos2 = math.cos(theta) ** 2
    term = total = 1.0
    for k in range(1 + df % 2, df - 2, 2):
        term *= cos2 * k / (k + 1)
        total += term
    if df % 2 == 0:
        inside = math.sin(theta) * total
    else:
        inside = 2 / math.pi * (theta + (math.sin(theta) * math.cos(theta) * total if df > 1 else 0.0))
    return min(max(0.5 * (1.0 - inside), 0.0), 1.0)


def of_mean(values: Sequence[float] | Float) -> Estimate:
    """The mean of independent values, at least two, with Student's interval; values all alike are sure."""
    x = np.asarray(values, dtype=np.float64)
    if x.size < 2:
        raise ValueError(f"{x.size} values: an interval needs at least 2")
    mean, error = float(x.mean()), float(x.std(ddof=1)) / math.sqrt(x.size)
    if error <= 1e-12 * abs(mean) or error == 0.0:
        above, below = (0.0 if mean > 0 else 1.0), (0.0 if mean < 0 else 1.0)
        return Estimate(mean, mean, mean, above, below)
    above, reach = upper_tail(mean / error, x.size - 1), student_quantile(x.size - 1, 1.0 - LEVEL) * error
    return Estimate(mean, mean - reach, mean + reach, above, 1.0 - above)


def jackknife(batches: int, statistic: Callable[[Float], float]) -> Estimate:
    """A statistic of independent batches; it is given a weight per batch, (batches,) of 0 and 1. Tukey's pseudo-values."""
    whole = statistic(np.ones(batches))
    without = np.array([statistic(1.0 - np.eye(batches)[b]) for b in range(batches)])
    return of_mean(batches * whole - (batches - 1) * without)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values, so that the chance of one wrong rejection among all stays at the level; None has no part.

    Holm (1979): the i-th smallest of m is multiplied by m - i + 1, and never below the one before it.
    """
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    found: list[float | None] = [None] * len(p)
    least = 0.0
    for rank, (value, i) in enumerate(known):
        least = max(least, min(1.0, value * (len(known) - rank)))
        found[i] = least
    return found
