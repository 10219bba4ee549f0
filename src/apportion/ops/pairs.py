"""Preference pairs within groups, and the gradient of DPO-like losses on them: arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def best_and_worst(reward: Float, over: Int) -> tuple[Int, Int, Float]:
    """The pairs (best, worst) of every group: winners, losers and weights, shape (pairs,).

    reward, over: one reward and one group index per item. Where several items are best (or worst),
    each pair of them is there once, and the weights of a group add up to 1: ties are averaged, not
    broken, so the order of the items does not matter. A group of equal rewards has no pair.
    """
    n = int(over.max()) + 1
    high, low = np.full(n, -np.inf), np.full(n, np.inf)
    np.maximum.at(high, over, reward)
    np.minimum.at(low, over, reward)
    apart = (high > low)[over]
    best, worst = (np.flatnonzero(apart & (reward == end[over])) for end in (high, low))
    best, worst = best[np.argsort(over[best], kind="stable")], worst[np.argsort(over[worst], kind="stable")]
    many, few = np.bincount(over[best], minlength=n), np.bincount(over[worst], minlength=n)
    times = few[over[best]]  # every best item meets all worst ones of its group
    winner = np.repeat(best, times)
    begin = np.concatenate(([0], np.cumsum(few)))[:-1][over[winner]]
    place = np.arange(winner.size) - np.repeat(np.cumsum(times) - times, times)
    weight: Float = 1.0 / (many * few).astype(np.float64)[over[winner]] if winner.size else np.zeros(0)
    return winner, worst[begin + place], weight


def log_sigmoid_pull(score: Float, winner: Int, loser: Int, weight: Float, margin: float = 0.0) -> tuple[Float, Float, float]:
    """How hard -log sigmoid(score_w - score_l - margin) pulls on each item's score.

    Returns (up, down, loss): for each item the weighted sum of sigmoid(margin - (score_w - score_l)) over
    the pairs that it wins and over those that it loses, shape (n,), and the weighted sum of the losses.
    """
    gap = score[winner] - score[loser] - margin
    pull = weight * np.exp(-np.logaddexp(0.0, gap))
    up = np.bincount(winner, weights=pull, minlength=score.size)
    down = np.bincount(loser, weights=pull, minlength=score.size)
    return up.astype(np.float64), down.astype(np.float64), float((weight * np.logaddexp(0.0, -gap)).sum())
