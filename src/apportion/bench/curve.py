"""Learning curves: the return of the policy in hand after each share of the budget, the same shares for every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

#: Metrics of a curve are called ``return:SHARE``, SHARE of the budget between 0 and 1.
PREFIX = "return:"


def shares(points: int) -> list[float]:
    """``points`` equal steps up to the whole budget, after 0."""
    return [i / points for i in range(points + 1)]


def curve_rows(costs: Sequence[float], returns: Sequence[float], budget: float, points: int) -> dict[str, float]:
    """``budget``, and ``return:SHARE`` at every share: the return of the last policy that was had by then.

    costs: what had been spent when each policy of ``returns`` was there, rising from 0. A step is not spread over the
    batch that led to it: before the batch is paid for, there is only the policy before. Nothing without points.
    """
    if not points:
        return {}
    paid = np.asarray(costs)
    found = {"budget": budget}
    for share in shares(points):
        within = int(np.searchsorted(paid, share * budget * (1 + 1e-9) + 1e-9, side="right")) - 1
        found[f"{PREFIX}{share:.6g}"] = float(returns[within])
    return found


def read_curve(metrics: Mapping[str, object]) -> list[tuple[float, str]]:
    """(share, metric) of the points that a cell of results has, in order."""
    return sorted((float(name[len(PREFIX) :]), name) for name in metrics if name.startswith(PREFIX))
