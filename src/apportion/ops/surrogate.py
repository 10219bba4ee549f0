"""The clipped surrogate of PPO and its kin: what every token's log-probability is pushed by, and what clipping takes away."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..words import check_word

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Form = Literal["geometric", "product"]


def surrogate_weights(
    log_ratio: Float,
    weight: Float,
    owner: Int | None,
    kept: NDArray[np.bool_],
    *,
    form: Form = "geometric",
    low: Float | float = 0.8,
    high: Float | float = 1.2,
) -> tuple[Float, Float]:
    """Coefficients of grad log pi(token) in the gradient of sum_t min(rho A_t, clip(rho, low, high) A_t): kept, clipped away.

    log_ratio: log pi_new - log pi_old of every token, shape (T,). weight: A_t times whatever the loss averages
    with, shape (T,). owner: the unit whose ratio a token shares (T,); None: its own. kept: tokens in the loss.
    form: rho is the "geometric" mean of the ratios of the unit's kept tokens, or their "product". low, high:
    bounds of rho, one or one per token.

    A token is clipped where A > 0 and rho > high, or A < 0 and rho < low. Every kept token of a unit gets rho times the
    sum of its unclipped A_t over its number of kept tokens: the gradient of the geometric mean, and that of
    the product where a unit has one A (one surrogate per unit, not one per token). The two outputs
    add up to the unclipped gradient's.
    """
    check_word(form, Form, "form")
    weight = np.where(kept, weight, 0.0)
    rho = np.exp(shared_log_ratio(log_ratio, owner, kept, form))
    clipped = ((weight > 0) & (rho > high)) | ((weight < 0) & (rho < low))
    sides = (np.where(clipped, 0.0, weight), np.where(clipped, weight, 0.0))
    inside, outside = (rho * shared(side, owner, kept) for side in sides)
    return inside, outside


def shared_log_ratio(log_ratio: Float, owner: Int | None, kept: NDArray[np.bool_], form: Form) -> Float:
    """Log of the ratio every token shares with its unit, shape (T,)."""
    if owner is None:
        return log_ratio
    total: Float = np.asarray(np.bincount(owner, weights=np.where(kept, log_ratio, 0.0)), dtype=np.float64)
    if form == "geometric":
        total = total / np.maximum(np.bincount(owner, weights=kept), 1)
    out: Float = total[owner]
    return out


def shared(weight: Float, owner: Int | None, kept: NDArray[np.bool_]) -> Float:
    """Every kept token's share of its unit's weight: their mean over the unit (its own where it has no unit)."""
    if owner is None:
        return np.where(kept, weight, 0.0)
    mean = np.bincount(owner, weights=np.where(kept, weight, 0.0)) / np.maximum(np.bincount(owner, weights=kept), 1)
    return np.where(kept, mean[owner], 0.0)
