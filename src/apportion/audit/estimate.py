"""How well credit agrees with a change in value that was seen twice, each time with noise.

At unit i the change in value is delta_i. Two halves see d1 = delta + e1 and d2 = delta + e2, with errors of mean 0 that know
nothing of each other nor of the credit c. Then, over units,

    cov(d1, d2) = var(delta)          cov(c, (d1 + d2) / 2) = cov(c, delta)
    corrected correlation = cov(c, (d1 + d2) / 2) / sqrt(var(c) cov(d1, d2))

is the correlation of c with delta itself (Spearman 1904, on one side: c is what is audited, its own scatter is part of it).
var((d1 + d2) / 2) in its place holds the noise too, and makes every correlation too small by sqrt(reliability).

Signs: a unit whose delta is near 0 cannot be signed at any budget, and where most units do not matter at all the ones that
seem to are largely noise. So one half chooses (|d| above its noise) and the other, which knows nothing of that choice, weighs:

    sign agreement = 1/2 + N / 2D,   N = mean chosen(d1) sgn(c) d2,   D = mean chosen(d1) sgn(d1) d2,   both ways round

the share of the change in value, at units that stand out, which has the sign of the credit; credit 0 counts half. A unit
with delta = 0 adds nothing to either on average, however often it is chosen. What bias is left: a unit chosen with the wrong
sign lowers D, so that agreement is a little too far from 1/2, and may come out above 1.

Intervals: jackknife over clusters (prompts or rollouts), Student's quantile with clusters - 1 degrees of freedom, and for
both ratios Fieller's interval (1954), which stays honest where the denominator is hardly known and leaves 0 out
exactly where the numerator does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..bench.statistics import student_quantile
from ..bench.tabular import Bool, Float, Int
from .fieller import fieller

#: A unit is chosen for its sign where one half stands so many standard errors from 0; one in ten does so by noise alone.
APART = 1.645
#: Relative size below which credit is constant but for rounding.
ROUNDING = 1e-12


class Figure(NamedTuple):
    """A ratio with its 95 % interval, and its numerator in standard errors (how surely it is not 0)."""

    value: float
    low: float
    high: float
    t: float


class Agreement(NamedTuple):
    """correlation: corrected; plain: not corrected. units, clusters: over which. quantile: Student's, of the intervals.

    undefined: why there is no correlation, empty where there is one.
    """

    correlation: Figure
    sign: Figure
    plain: float
    units: int
    clusters: int
    quantile: float
    undefined: str


NOTHING = Figure(math.nan, math.nan, math.nan, math.nan)


def agreement(credit: Float, halves: Float, cluster: Int, *, noise: float | None = None) -> Agreement:
    """Credit (n,) against both halves (2, n) of the change in value; ``cluster`` (n,) says what depends on what.

    noise: standard deviation of one half's error, above which a unit is chosen for its sign; estimated if not given.
    """
    sums = _sums(credit, halves, cluster)
    moments = np.stack([_numerator(sums), _signal(sums)])
    total, clusters = moments[:, 0], sums.shape[1] - 1
    t = student_quantile(clusters - 1.0) if clusters > 1 else math.nan
    if (why := _why_not(credit, clusters)) or not total[1] > 0:
        why = why or NO_SIGNAL
    correlation = _ratio(moments, t, 1.0) if not why else NOTHING._replace(t=_t(moments[0]))
    if clusters < 2:
        return Agreement(NOTHING, NOTHING, math.nan, credit.size, clusters, t, why)
    chosen = _signs(credit, halves, cluster, half_noise(halves) if noise is None else noise)
    half = _ratio(chosen, t, 1.0) if _t(chosen[1]) > t else NOTHING  # no unit surely stands out: there is no sign to agree with
    sign = Figure((1 + half.value) / 2, (1 + half.low) / 2, (1 + half.high) / 2, half.t)
    return Agreement(correlation, sign, _plain(credit, halves), credit.size, clusters, t, why)


def difference(one: Float, other: Float, halves: Float, cluster: Int) -> Figure:
    """Corrected correlation of one credit less that of another, over the same units."""
    a, b = _sums(one, halves, cluster), _sums(other, halves, cluster)
    moments = np.stack([_numerator(a) - _numerator(b), _signal(a)])
    clusters = a.shape[1] - 1
    if not moments[1, 0] > 0 or _why_not(one, clusters) or _why_not(other, clusters):
        return NOTHING
    return _ratio(moments, student_quantile(clusters - 1.0), 2.0)


def signal(halves: Float, cluster: Int) -> Figure:
    """cov(d1, d2), the variance of the change in value between units, with its interval (it may be below 0 by noise)."""
    sums = _sums(np.zeros(halves.shape[1]), halves, cluster)
    values = _covariance(sums)
    spread = math.sqrt(_covariances(values[None])[0, 0])
    reach = student_quantile(sums.shape[1] - 2.0) * spread
    return Figure(float(values[0]), float(values[0]) - reach, float(values[0]) + reach, _t(values))


def half_noise(halves: Float) -> float:
    """Standard deviation of the error of one half, from the difference of the two."""
    return float(np.sqrt(((halves[0] - halves[1]) ** 2).mean() / 2))


NO_SIGNAL = "the budget does not show that units differ at all"


def _why_not(credit: Float, clusters: int) -> str:
    if clusters < 2:
        return "units of one cluster give no interval"
    centre = float(np.abs(credit).max()) if credit.size else 0.0
    return "its credit is the same at all audited units" if np.ptp(credit) <= ROUNDING * max(centre, ROUNDING) else ""


def _sums(credit: Float, halves: Float, cluster: Int) -> Float:
    """Sums over units of 1, c, c², d1, d2, d1 d2, c (d1 + d2) / 2: of all, then without each cluster, (7, clusters + 1)."""
    d1, d2 = halves
    columns = (np.ones(credit.size), credit, credit**2, d1, d2, d1 * d2, credit * (d1 + d2) / 2)
    return _leaving_out(columns, cluster)


def _leaving_out(columns: tuple[Float, ...], cluster: Int) -> Float:
    own = np.unique(cluster, return_inverse=True)[1]
    per = np.stack([np.bincount(own, weights=x) for x in columns])
    whole = per.sum(axis=1, keepdims=True)
    return np.concatenate([whole, whole - per], axis=1)


def _covariance(s: Float) -> Float:
    found: Float = s[5] / s[0] - s[3] * s[4] / s[0] ** 2
    return found


def _signal(s: Float) -> Float:
    """sqrt(cov(d1, d2)), with its sign."""
    found = _covariance(s)
    return np.sign(found) * np.sqrt(np.abs(found))


def _numerator(s: Float) -> Float:
    """cov(c, (d1 + d2) / 2) / sd(c); 0 where credit does not vary."""
    c = s[1] / s[0]
    spread = np.sqrt(np.maximum(s[2] / s[0] - c**2, 0.0))
    found: Float = (s[6] / s[0] - c * (s[3] + s[4]) / (2 * s[0])) / np.where(spread > 0, spread, np.inf)
    return found


def _signs(credit: Float, halves: Float, cluster: Int, noise: float) -> Float:
    """N and D of the sign agreement, of all and without each cluster, (2, clusters + 1)."""
    d1, d2 = halves
    chosen: tuple[Bool, Bool] = (np.abs(d1) > APART * noise, np.abs(d2) > APART * noise)
    said = np.sign(credit)
    over = (chosen[0] * said * d2 + chosen[1] * said * d1) / 2
    under = (chosen[0] * np.sign(d1) * d2 + chosen[1] * np.sign(d2) * d1) / 2
    sums = _leaving_out((over, under, np.ones(credit.size)), cluster)
    found: Float = sums[:2] / sums[2]
    return found


def _covariances(values: Float) -> Float:
    """Jackknife covariance matrix of statistics given as (statistics, 1 + clusters), all first."""
    without = values[:, 1:]
    apart = without - without.mean(axis=1, keepdims=True)
    n = without.shape[1]
    found: Float = (n - 1) / n * (apart @ apart.T)
    return found


def _t(values: Float) -> float:
    if values.size < 3:
        return math.nan
    spread = math.sqrt(float(_covariances(values[None])[0, 0]))
    return float(values[0]) / spread if spread > 0 else math.copysign(math.inf, float(values[0])) if values[0] else 0.0


def _ratio(values: Float, t: float, bound: float) -> Figure:
    v = _covariances(values)
    low, high = fieller(float(values[0, 0]), float(values[1, 0]), float(v[0, 0]), float(v[0, 1]), float(v[1, 1]), t, bound)
    return Figure(float(values[0, 0] / values[1, 0]), low, high, _t(values[0]))


def _plain(credit: Float, halves: Float) -> float:
    mean = halves.mean(axis=0)
    if np.ptp(credit) == 0 or np.ptp(mean) == 0:
        return math.nan
    return float(np.corrcoef(credit, mean)[0, 1])
