"""How much a method is worth in a measured setting: log of RLOO's cost over the method's, to the same end.

Where methods were trained, cost is the expected cost of reaching 80 % of the attainable return: all that was spent, over
the number of runs that got there, at the learning rate at which that is least (anew in every resample). A run whose
budget ended before counts as the share of the way it had come: its cost is drawn on in a straight line. Where they
were not, it is the net multiplier of the gradient at equal cost, brought to the scale of learning by one slope that
is fitted on fitting settings where both were measured: gradient figures overstate speed-ups.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..statistics import Float, Int, resample_index, spearman
from .measured import Measured

#: Log worth of a gradient that does not point up the exact one, and the most that is believed of a clean one.
LOWEST, HIGHEST = float(np.log(1e-3)), float(np.log(1e3))
#: Least share of the way that a run counts as, so that one that learned nothing is dear and not infinitely so.
NO_WAY = 0.02
By = Literal["learning", "gradient"]


@dataclass(frozen=True)
class Scale:
    """log speed-up = slope x log net multiplier, by least squares through 0 (RLOO is worth itself on both); rank: their
    rank correlation over ``pairs`` (entrant, setting)."""

    slope: float
    rank: float
    pairs: int


def log_cost(m: Measured, setting: str, entrant: str, index: Int | slice = slice(None)) -> float:
    """Log of the expected cost of reaching the target, over the seeds in ``index``; NaN where it was not trained."""
    found = []
    for cell in m.learning.get((setting, entrant), {}).values():
        way, cost = cell["way"][index], cell["cost"][index]
        known = ~np.isnan(way)
        if known.any():
            found.append(float(np.log(cost[known].sum() / np.maximum(way[known], NO_WAY).sum())))
    return min(found, default=float("nan"))


def log_net(m: Measured, setting: str, entrant: str, index: Int | slice = slice(None)) -> float:
    """Log of the net multiplier at the larger batch (biases show there), over the seeds in ``index``; NaN where not measured.

    A gradient whose alignment is not above 0 is worth ``LOWEST``.
    """
    cells, base = m.gradient.get((setting, entrant)), m.gradient.get((setting, "rloo"))
    if cells is None or base is None:
        return float("nan")
    if entrant == "rloo":  # the numeraire is worth itself
        return 0.0
    batch = max(cells)
    inner, norm2, truth2, price = (cells[batch][n][index] for n in ("inner", "norm2", "truth2", "price"))
    known = ~np.isnan(inner)
    c, plain = _rloo(base, index)
    if not known.any() or np.isnan(c):
        return float("nan")
    up = float(inner[known].sum())
    if up <= 0:
        return LOWEST
    noise = float(norm2[known].sum() * truth2[known].sum()) / up**2 - 1.0
    return float(np.clip(np.log(c / batch / max(noise, 1e-12)) + np.log(plain / price[known].mean()), LOWEST, HIGHEST))


def _rloo(cells: Mapping[int, Mapping[str, Float]], index: Int | slice) -> tuple[float, float]:
    """RLOO is unbiased, so its noise to signal is c / B: c over all batch sizes, and the price of a rollout."""
    found, prices = [], []
    for batch, cell in cells.items():
        norm2, truth2 = cell["norm2"][index], cell["truth2"][index]
        found.append(batch * (np.nansum(norm2) / np.nansum(truth2) - 1.0))
        prices.append(np.nanmean(cell["price"][index]))
    return max(float(np.mean(found)), 1e-12), float(np.mean(prices))


def scale(m: Measured, settings: Collection[str]) -> Scale:
    """The slope between the two measures, from these settings alone."""
    x, y = [], []
    for s in settings:
        base = log_cost(m, s, "rloo")
        for entrant in m.entrants:
            net, cost = log_net(m, s, entrant), log_cost(m, s, entrant)
            if entrant != "rloo" and not np.isnan([net, cost, base]).any() and net > LOWEST:
                x.append(net)
                y.append(base - cost)
    if len(x) < 3:
        return Scale(1.0, float("nan"), len(x))
    a, b = np.asarray(x), np.asarray(y)
    slope = float(a @ b / (a @ a)) if (a @ a) > 0 else 1.0
    return Scale(float(np.clip(slope, 0.05, 1.0)), spearman(a, b), len(x))


def worth(m: Measured, setting: str, entrant: str, how: Scale, index: Int | slice = slice(None)) -> tuple[float, By] | None:
    """Log worth of an entrant in a setting and by which measure; None where neither was measured."""
    cost = log_cost(m, setting, entrant, index)
    if not np.isnan(cost):
        return log_cost(m, setting, "rloo", index) - cost, "learning"
    net = log_net(m, setting, entrant, index)
    return None if np.isnan(net) else (how.slope * net, "gradient")


def never(m: Measured, cells: Iterable[tuple[str, str]]) -> tuple[int, int]:
    """In how many of these (setting, entrant) no run reached the target, so that the cost is drawn on alone; of how many that
    were trained."""
    reached = [
        any(np.nan_to_num(at["reached"]).any() for at in m.learning[cell].values()) for cell in cells if cell in m.learning
    ]
    return sum(not one for one in reached), len(reached)


def resamples(seeds: int, draws: int) -> tuple[list[Int | slice], Int]:
    """All seeds, then ``draws`` bootstrap resamples: the different ones, and which of them each draw is.

    Three seeds have ten different resamples, so that a statistic is worked out ten times and not a thousand.
    """
    rows, which = np.unique(np.sort(resample_index(seeds, draws), axis=1), axis=0, return_inverse=True)
    return [slice(None), *rows], np.concatenate([[0], which.ravel() + 1])
