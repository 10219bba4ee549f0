"""A critic of rewards that a model pays: what is still to come before each step, without a look at what it judges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..batch import Batch
from ..ops.changes import gram_by_fold, moments
from ..ops.scans import discounted_suffix
from ..structure import Float, Int
from .learned import Linear, features, trajectory_keys
from .sources import Array


def fit_to_go(
    batch: Batch, rewards: Sequence[Float], keys: Array, fold: Int, *, gamma: float, ridge: float, buckets: int
) -> Linear:
    """Discounted rewards from each step on, regressed on what was seen before it.

    rewards: what every step is paid by each row of weights of the model that pays, the last one fitted on everything. Row
    k of the critic learns from what row k pays to the trajectories it has seen: nothing that fold k did reaches it, not
    even by way of the model. keys (sorted), fold: where the model's trajectories were held out. ridge: in trajectories.
    """
    rows, owner = len(rewards) - 1, batch.within("step", "trajectory")
    part = fold[np.searchsorted(keys, trajectory_keys(batch))]
    bounds = np.searchsorted(owner, np.arange(batch.n_trajectories + 1))
    seen = features(batch, "step", buckets=buckets, actions=0)
    gram = gram_by_fold(seen, bounds, part, rows, buckets, 0.0)
    penalty = np.append(np.full(buckets, ridge * owner.size / batch.n_trajectories), 0.0)
    inner = np.zeros(owner.size, dtype=np.bool_)
    weights = np.zeros((rows + 1, buckets + 2))
    for k in range(rows + 1):
        use = (part != k)[owner]
        if not use.any():
            continue
        target = discounted_suffix(rewards[k], bounds, gamma)
        level = float(np.clip(target[use].mean(), target[use].min(), target[use].max()))
        total = gram[[f for f in range(rows) if f != k]].sum(axis=0) + np.diag(penalty)
        w = np.linalg.solve(total, moments(seen, target - level, inner, use, buckets, 0.0))
        weights[k, :buckets], weights[k, -1] = w[:-1], level + w[-1]
    return Linear("step", 0, weights, keys, fold)
