"""Leave-one-out of finer units against the means of whole rollouts: arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import BatchError
from ..words import Single, check_word

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def against_means(x: Float, owner: Int, over: Int, counted: NDArray[np.bool_], *, single: Single = "error") -> Float:
    """v_u = x_u n / (n - 1) - sum_{j=1..n} m_j / (n - 1), with m_j the mean of x over rollout j.

    x, counted: one per unit; owner: the rollout of every unit; over: the prompt of every rollout,
    which has n of them. The sum includes the unit's own rollout, hence the factor: where a rollout
    is one unit, v is what it has above the mean of the others. Units that are not counted enter no
    mean and get 0; every rollout has one that is.
    single: a prompt with one rollout raises, keeps its own values ("raw") or gets 0.

    Measured from the first counted value of each prompt, so that equal values give 0 exactly.
    """
    check_word(single, Single, "single")
    n = np.bincount(over).astype(np.float64)
    if single == "error" and (n == 1).any():
        g = int(np.argmax(n == 1))
        raise BatchError(f"group {g} has a single trajectory: sample at least two, or choose single='raw' or single='zero'")
    prompt, at = over[owner], np.flatnonzero(counted)[::-1]
    origin = np.zeros(n.size)
    origin[prompt[at]] = x[at]  # from the last to the first: the first one stays
    centred = np.where(counted, x - origin[prompt], 0.0)
    size = np.bincount(owner, weights=counted, minlength=over.size)
    mean = np.bincount(owner, weights=centred, minlength=over.size) / size
    level = np.bincount(over, weights=mean, minlength=n.size) / n
    v = (centred - level[prompt]) * (n / np.maximum(n - 1, 1))[prompt]
    alone = x if single == "raw" else np.zeros_like(x)
    return np.where(counted, np.where(n[prompt] == 1, alone, v), 0.0)
