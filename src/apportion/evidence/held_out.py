"""Who is held out where, for models that go on learning from batch to batch.

A trajectory that was learned from stays in its fold for good: the weights that score it have seen it
in no batch, neither in this one nor in an earlier one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..batch import Batch
from ..errors import BatchError, OptionError
from ..structure import Int
from .learned import Linear, trajectory_keys
from .sources import Array


def deal(batch: Batch, rng: np.random.Generator, folds: int, state: Linear | None) -> tuple[int, Int, Array, Int]:
    """How many folds there are, that of each trajectory of the batch, and keys (sorted) and folds of all ever learned from.

    folds: never more than there are trajectories. What was learned before (``state``) keeps its own number.
    """
    n = batch.n_trajectories
    if n < 2 and state is None:
        raise BatchError(
            "one trajectory cannot be held out from itself: fit on at least two, or pass learned= from another batch"
        )
    keys = trajectory_keys(batch)
    if state is None:
        folds = min(folds, n)
        part = rng.permutation(n) % folds
        return folds, part, *_sorted(keys, part)
    folds = state.weights.shape[0] - 1
    at = np.minimum(np.searchsorted(state.keys, keys), state.keys.size - 1)
    met = state.keys[at] == keys
    part = np.where(met, state.fold[at], rng.permutation(n) % folds)
    return folds, part, *_sorted(np.concatenate([state.keys, keys[~met]]), np.concatenate([state.fold, part[~met]]))


def _sorted(keys: Array, fold: Int) -> tuple[Array, Int]:
    keys, first = np.unique(keys, return_index=True)
    return keys, fold[first]


def by_row(model: Linear, k: int) -> Linear:
    """The model that scores every trajectory by weight row ``k``, whoever was held out where."""
    return replace(model, weights=np.repeat(model.weights[k : k + 1], model.weights.shape[0], axis=0))


def check_fit(folds: int, ridge: float, buckets: int, steps: int = 1, steps_are: str = "steps") -> None:
    if folds < 2 or ridge <= 0 or buckets < 1 or steps < 1:
        raise OptionError(
            f"folds = {folds}, ridge = {ridge}, buckets = {buckets}, {steps_are} = {steps}: "
            "expected at least 2, above 0, at least 1, at least 1"
        )
