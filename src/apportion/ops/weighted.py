"""Group statistics in which an item counts several times: steps that count once per token."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..words import Spread, check_word

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def weighted_standardise(x: Float, over: Int, weight: Int | Float, *, spread: Spread = "none", eps: float = 1e-6) -> Float:
    """(x - mean) / (spread + eps) per group, item i counted ``weight[i]`` times.

        mean_g = sum w x / sum w        spread_g^2 = sum w (x - mean_g)^2 / (sum w - ddof)

    x, over, weight: shape (n,): values, group indices from 0, counts of at least 0. The same as repeating
    every item. spread: none, sample (ddof 1) or population (ddof 0). An item of weight 0 enters no
    statistic and gets 0; so do all items of a group whose counted values are all equal, exactly.
    """
    check_word(spread, Spread, "spread")
    counted = weight > 0
    n = int(over.max()) + 1
    total = np.bincount(over, weights=weight, minlength=n)
    mean = np.bincount(over, weights=weight * x, minlength=n) / np.where(total > 0, total, 1.0)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, over[counted], x[counted])
    np.maximum.at(high, over[counted], x[counted])
    centred = np.where(counted & (low < high)[over], x - mean[over], 0.0)
    if spread == "none":
        return centred
    square = np.bincount(over, weights=weight * centred**2, minlength=n)
    divisor = np.sqrt(square / np.maximum(total - (spread == "sample"), 1.0)) + eps
    scaled: Float = centred / np.where(divisor > 0, divisor, 1.0)[over]
    return scaled
