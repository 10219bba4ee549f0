"""The critics that methods of the PPO family learn from a batch where no policy-sized one is at hand."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..ops.scans import first_active, gae
from ..structure import Float
from .bill import Bill
from .learned import LearnedValue, fit_linear


def fit_turn_value(
    batch: Batch,
    rng: np.random.Generator,
    *,
    gamma: float,
    discount: Literal["token", "turn"],
    folds: int,
    ridge: float,
    buckets: int,
) -> LearnedValue:
    """The return from each turn on, discounted per policy ``discount``, regressed on what was seen before the turn.

    A linear model of hashed text features, cross-fitted by trajectory (see ``evidence.learned``); its
    value is the same at all tokens of a turn.
    """
    if discount == "turn":
        r, active, offsets = batch.rewards("turn"), np.ones(batch.n_turns, dtype=np.bool_), batch.trajectory_turns
    else:
        r, active, offsets = batch.rewards("token"), batch.action, batch.offsets("trajectory")
    to_go = gae(r, np.zeros(r.size), active, offsets, gamma, 1.0, final_value(batch))
    target = to_go if discount == "turn" else to_go[first_active(batch.action, batch.turn_offsets)]
    value = fit_linear(batch, "turn", target, rng, folds=folds, ridge=ridge, buckets=buckets)
    return LearnedValue(value, Bill(trained=float(batch.action.sum())))


def final_value(batch: Batch) -> Float:
    """Value after the last unit of each trajectory, shape (N,): ``bootstrap`` where it was cut off, else 0."""
    if batch.bootstrap is None:
        return np.zeros(batch.n_trajectories)
    return batch.bootstrap if batch.truncated is None else np.where(batch.truncated, batch.bootstrap, 0.0)
