"""How well the moments of an update are known, from all independent batches of all seeds.

A seed is a stream of random numbers and nothing else, so the R batches of each of S seeds are S R independent draws of
the same update. Two seeds of four batches say as much as eight seeds of one: Student's quantile is 2.4 for them, where
the two means of the seeds alone would ask for 12.7. What the figures are functions of is known to first order (the
delta method): with I = E<g, g*>, N = E|g|^2, T = |g*|^2, and C the covariance of the means of I and N,

    rho = I / sqrt(N T)          var rho = d' C d,   d = (1 / sqrt(N T), -rho / (2 N))
    log NSR = log(1 / rho^2 - 1)           sd = 2 sd(rho) / (rho (1 - rho^2))
    log multiplier = log c - log NSR - log B         variances add: as if the method and RLOO had met other rollouts
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..bench.statistics import Float, student_quantile
from .numbers import Estimate, store

NEEDED = ("inner", "norm2", "truth2", "replicates", "inner_var", "norm2_var", "inner_norm2")


class Part(NamedTuple):
    """A variance and the degrees of freedom it was estimated with."""

    variance: float
    freedom: float


def covariance(cell: Mapping[str, Float]) -> tuple[Float, float] | None:
    """(covariance of the means of I and N, degrees of freedom) over all batches; None where a run has not kept it.

    Batches of a seed vary around its mean (``inner_var`` …), and the seeds' means around theirs: both are counted.
    """
    if not set(NEEDED) <= set(cell):
        return None
    columns = np.stack([cell[name] for name in NEEDED])
    inner, norm2, _, count, *inside = columns[:, ~np.isnan(columns).any(axis=0)]
    total = float(count.sum())
    if total < 3:
        return None
    apart = [x - float((count * x).sum()) / total for x in (inner, norm2)]
    squares = np.empty((2, 2))
    for a, b, own in ((0, 0, inside[0]), (1, 1, inside[1]), (0, 1, inside[2])):
        squares[a, b] = squares[b, a] = float(((count - 1) * own + count * apart[a] * apart[b]).sum())
    return squares / (total - 1) / total, total - 1


def rho_part(cell: Mapping[str, Float], rho: float) -> Part | None:
    """The variance of rho; None where it cannot be told."""
    found = covariance(cell)
    if found is None:
        return None
    norm2, truth2 = float(np.nanmean(cell["norm2"])), float(np.nanmean(cell["truth2"]))
    if not norm2 > 0 or not truth2 > 0:
        return None
    slope = np.array([1.0 / math.sqrt(norm2 * truth2), -rho / (2.0 * norm2)])
    return Part(max(float(slope @ found[0] @ slope), 0.0), found[1])


def log_noise_part(rho: Part, value: float) -> Part:
    """The variance of log NSR, for 0 < rho < 1."""
    return Part(rho.variance * (2.0 / (value * (1.0 - value * value))) ** 2, rho.freedom)


def summed(parts: Sequence[Part]) -> Part:
    """The variance of a sum of independent parts, with Satterthwaite's degrees of freedom."""
    total = sum(p.variance for p in parts)
    below = sum(p.variance**2 / p.freedom for p in parts)
    return Part(total, total * total / below if below > 0 else min((p.freedom for p in parts), default=1.0))


def around(value: float, part: Part, *, log: bool = False, within: tuple[float, float] = (-math.inf, math.inf)) -> Estimate:
    """A value with its interval; ``log``: the part is that of its logarithm."""
    half = student_quantile(part.freedom) * math.sqrt(part.variance)
    if log:
        low, high = value * math.exp(-min(half, 700.0)), value * math.exp(min(half, 700.0))
    else:
        low, high = value - half, value + half
    return {"value": store(value), "low": store(max(low, within[0])), "high": store(min(high, within[1]))}
