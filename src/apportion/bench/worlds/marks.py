"""How well numbers find the choices that the world's own planner or checker marks."""

from __future__ import annotations

import numpy as np

from .walks import Bool, Float, Int


def precision(score: Float, marked: Bool, row: Int, weight: Float) -> tuple[float, Float]:
    """Average precision of ``score`` (n,) at finding ``marked`` (n,), and what it is in every resample of the rollouts.

        AP = sum over levels of score, from the top, of (marked at the level) / (marked in all) * (marked so far) / (seen so far)

    Equal scores are one level, so that nothing depends on the order of ties. row (n,): the rollout of each unit; weight
    (resamples, rollouts): how often each was drawn. NaN where no unit is marked, or every one.
    """
    if not score.size or not marked.any() or marked.all():
        return float("nan"), np.full(len(weight), np.nan)
    _, level = np.unique(-score, return_inverse=True)
    drawn = np.asarray([_average(level, marked, one[row]) for one in weight])
    return _average(level, marked, np.ones(score.size)), drawn


def _average(level: Int, marked: Bool, weight: Float) -> float:
    got = np.bincount(level, weights=weight * marked)
    total = got.sum()
    seen = np.cumsum(np.bincount(level, weights=weight))
    share = np.cumsum(got) / np.maximum(seen, 1e-12)
    return float((got * share).sum() / total) if 0 < total < weight.sum() else float("nan")
