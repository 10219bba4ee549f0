"""Seeded bootstrap over seeds, intervals for few of them, interquartile mean and rank correlation: what the report is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def resample_index(n: int, count: int = 1000, seed: int = 0) -> Int:
    """Which of ``n`` seeds each bootstrap resample holds, shape (count, n).

    The same (n, count, seed) gives the same resamples, so that two methods measured on the same
    seeds are compared pairwise.
    """
    if n < 1:
        raise ValueError(f"n = {n}: a bootstrap needs at least one seed")
    return np.random.default_rng(seed).integers(0, n, size=(count, n))


def interval(samples: Float, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap samples, (low, high).

    NaN (undefined in that resample) is left out; infinity ("never") is kept, so that ``high`` is
    infinite when more than (1 - level) / 2 of the resamples never got there. No interpolation: an
    end of the interval is a value that occurred. All NaN gives (nan, nan).
    """
    known = np.sort(samples[~np.isnan(samples)])
    if not known.size:
        return math.nan, math.nan
    tail = (1.0 - level) / 2.0
    low = math.floor(round(tail * (known.size - 1), 9))
    high = known.size - 1 - low
    return float(known[low]), float(known[high])


@cache
def student_quantile(freedom: float, level: float = 0.95) -> float:
    """Half-width of the central ``level`` of Student's t, in its own units: 12.71 at 1 degree of freedom, 1.96 at many.

    With t = sqrt(f) tan(a) the density of a is proportional to cos(a)^(f - 1): a smooth integral on [0, pi / 2].
    """
    if not freedom > 0:
        raise ValueError(f"freedom = {freedom}: expected a number above 0")
    if freedom > 5e3:  # cos^f is a needle there, and the normal law as good to three decimals
        return NormalDist().inv_cdf((1.0 + level) / 2.0)
    angle = np.linspace(0.0, math.pi / 2, 4001)
    density = np.maximum(np.cos(angle), 0.0) ** (freedom - 1.0)
    reach = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(np.interp(level, reach / reach[-1], angle)))


def studentised(
    value: float, samples: Float, runs: float, *, freedom: float | None = None, log: bool = False, level: float = 0.95,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[float, float]:  # fmt: skip
    """Interval of a statistic of few runs: its bootstrap standard error times Student's quantile, (low, high).

        value +- t(freedom) sqrt(n / (n - 1)) SD(samples)          log: the same for the logarithms

    (Efron and Tibshirani 1993, chapter 12.) Of the mean of normal values this is the t interval. Percentiles of the
    resamples themselves cannot leave the range of what was seen: of three runs they hold the truth three times in four.
    samples: the statistic of every resample. runs: n, the independent runs that were resampled; of those resampled within
    groups, how many a group has. freedom: n - 1 unless given. log: for ratios and costs, which are above 0. within: what
    is known to bound the statistic.

    NaN samples are left out. Where more than (1 - level) / 2 of them are infinite ("never"), so is that end, as in
    :func:`interval`; rarer ones are left out of the standard error. One run, or a value that is NaN, gives (nan, nan).
    """
    known = samples[~np.isnan(samples)]
    if runs < 2 or not known.size or math.isnan(value):
        return math.nan, math.nan
    tail = (1.0 - level) / 2.0
    ends = [float((known == sign * math.inf).mean()) > tail for sign in (-1, 1)]
    finite = known[np.isfinite(known) & ((known > 0) | (not log))]
    if math.isinf(value) or not finite.size or (log and value <= 0):
        low, high = interval(samples, level)
        return max(low, within[0]), min(high, within[1])
    quantile = student_quantile(runs - 1.0 if freedom is None else freedom, level)
    centre, spread = (math.log(value), np.log(finite)) if log else (value, finite)
    half = quantile * math.sqrt(runs / (runs - 1.0)) * float(np.std(spread))
    made = [centre - half, centre + half]
    if log:
        made = [math.exp(min(x, 700.0)) for x in made]
    low, high = -math.inf if ends[0] else made[0], math.inf if ends[1] else made[1]
    return max(low, within[0]), min(high, within[1])


def wilson(hits: float, runs: float, level: float = 0.95) -> tuple[float, float, float]:
    """A share with its score interval (Wilson 1927): (hits / runs, low, high).

    Both may be fractions: ``runs`` then is the number of coin tosses that would tell as much. No runs: all NaN.
    """
    if runs <= 0:
        return math.nan, math.nan, math.nan
    share = hits / runs
    low, high = score_interval(np.asarray(share), runs, level)
    return share, float(low), float(high)


def score_interval(share: Float, runs: float, level: float = 0.95) -> tuple[Float, Float]:
    """Wilson's (low, high) of shares of ``runs`` draws each; of means of draws from [0, 1], which spread less, it is cautious."""
    z = NormalDist().inv_cdf((1.0 + level) / 2.0)
    centre = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z / (1 + z * z / runs) * np.sqrt(np.maximum(share * (1 - share), 0.0) / runs + z * z / (4 * runs * runs))
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def bootstrap(
    values: Float, statistic: Callable[[Float], float], *, count: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float, float]:
    """A statistic of ``values`` (seeds first) with its interval (see :func:`studentised`): (value, low, high).

    Seeds are drawn with replacement; one seed gives no interval (nan, nan).
    """
    value = float(statistic(values))
    if len(values) < 2:
        return value, math.nan, math.nan
    index = resample_index(len(values), count, seed)
    samples = np.asarray([statistic(values[row]) for row in index], dtype=np.float64)
    return value, *studentised(value, samples, len(values), level=level)


def median(values: Float) -> Float:
    """Median over the last axis; infinity ("never") counts as a number, NaN (not measured) is left out.

    With an even count, half of them infinite is infinite. All NaN gives NaN.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)  # NaN last, infinity just before
    known = np.sum(~np.isnan(ordered), axis=-1)
    low = np.maximum((known - 1) // 2, 0)[..., None]
    high = np.minimum(known // 2, ordered.shape[-1] - 1)[..., None]
    both = np.take_along_axis(ordered, low, -1) + np.take_along_axis(ordered, high, -1)
    return np.asarray(both[..., 0] / 2.0, dtype=np.float64)


def iqm(values: Float) -> Float:
    """Interquartile mean over the last axis: the mean of the middle half, a quarter cut at each end.

    With n values, n / 4 weight is cut at each end, fractions included: [1, 2, 3, 4, 100] keeps
    0.75 of the 2, all of the 3 and 0.75 of the 4. Robust like the median, with less noise
    (Agarwal et al. 2021, arXiv 2108.13264). NaN where a value is, or where there is none.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    n = ordered.shape[-1]
    weight = np.diff(np.clip(np.arange(n + 1, dtype=np.float64), 0.25 * n, 0.75 * n))
    kept = weight > 0
    with np.errstate(invalid="ignore"):
        mean = ordered[..., kept] @ weight[kept] / weight.sum()
    return np.where(np.isnan(ordered).any(axis=-1), np.nan, mean)


def ranks(values: Float) -> Float:
    """Ranks from 1, smallest first; ties (infinities among them) share their mean rank."""
    values = np.asarray(values, dtype=np.float64)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared = (last - counts + 1 + last) / 2.0
    return np.asarray(shared[inverse], dtype=np.float64)


def spearman(a: Float, b: Float) -> float:
    """Rank correlation with ties: Pearson's r of the ranks; NaN below 3 pairs or where one side is constant."""
    x, y = ranks(a), ranks(b)
    if x.size != y.size:
        raise ValueError(f"a has {x.size} values, b has {y.size}: expected as many")
    if np.isnan(np.asarray(a, dtype=np.float64)).any() or np.isnan(np.asarray(b, dtype=np.float64)).any():
        raise ValueError("a rank correlation needs values without NaN: drop the pair first")
    if x.size < 3:
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale > 0 else math.nan


def kendall(a: Float, b: Float) -> float:
    """Kendall's tau-b: pairs ordered alike less pairs ordered the other way, ties taken out of the scale.

    NaN below 3 pairs or where one side is constant.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.size != y.size:
        raise ValueError(f"a has {x.size} values, b has {y.size}: expected as many")
    if np.isnan(x).any() or np.isnan(y).any():
        raise ValueError("a rank correlation needs values without NaN: drop the pair first")
    if x.size < 3:
        return math.nan
    one, two = np.triu_indices(x.size, 1)
    # infinities are compared, never subtracted
    up = [(z[one] > z[two]).astype(np.float64) - (z[one] < z[two]) for z in (x, y)]
    scale = math.sqrt(float(np.abs(up[0]).sum()) * float(np.abs(up[1]).sum()))
    return float(up[0] @ up[1]) / scale if scale > 0 else math.nan
