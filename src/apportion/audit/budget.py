"""What an audit's budget went to, and how large it must be to settle what is open."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

from .ask import Changes
from .design import LEAST
from .estimate import Figure, half_noise, signal

#: Chance that a budget which "would settle" does, if the estimate is what is true.
POWER = 0.8
#: Times the budget spent beyond which nothing is promised.
FAR = 1000.0


class Components(NamedTuple):
    """signal: variance of the change in value between units, with its interval. noise: variance of the error of one
    half's estimate with one continuation a side. reliability: share of signal in the variance of what was seen.
    """

    signal: Figure
    noise: float
    reliability: float


def components(changes: Changes) -> Components:
    """Between units and within them: var((d1 + d2) / 2) = signal + noise / (2 each)."""
    found = signal(changes.halves, changes.design.cluster)
    error = half_noise(changes.halves) ** 2
    seen = found.value + error / 2
    return Components(found, error * changes.design.each, found.value / seen if found.value > 0 else math.nan)


def settles(t: float, budget: int) -> float | None:
    """Continuations after which the 95 % interval leaves 0 out in four audits of five; None beyond 1,000 times as many.

        N' = N ((1.96 + 0.84) / t)²       t: the estimate in standard errors

    with as many continuations a unit as now, on rollouts that grow alike. What is settled needs no more.
    """
    normal = NormalDist()
    if math.isnan(t) or t == 0:
        return None
    factor = ((normal.inv_cdf(0.975) + normal.inv_cdf(POWER)) / t) ** 2
    return None if factor > FAR else budget * max(factor, 1.0)


def spread(correlation: float, ratio: float, each: int) -> float:
    """Variance of the corrected correlation per continuation spent, up to a constant, for normal values.

    By the delta method with m = each, r = correlation and ratio = noise / signal, units independent,

        n var(r) = (1 - r²)² + (1 - r²) ratio / (2 m) + r² ratio² / (4 m²)        n = budget / 4 m
    """
    left = 1 - correlation**2
    return each * left**2 + ratio * left / 2 + correlation**2 * ratio**2 / (4 * each)


def best_per_unit(correlation: float, ratio: float, most: int = 4096) -> int | None:
    """How many continuations a unit make the interval shortest: 4 m, m = r ratio / (2 (1 - r²)), at least 1.

    None where signal was not seen. A correlation of 0 wants as many units as there are, with 4 continuations each.
    """
    if not math.isfinite(ratio) or ratio < 0 or math.isnan(correlation):
        return None
    r = min(abs(correlation), 0.99)
    m = r * ratio / (2 * (1 - r * r))
    low = max(int(m), 1)
    return LEAST * min(low if spread(r, ratio, low) <= spread(r, ratio, low + 1) else low + 1, most // LEAST)
