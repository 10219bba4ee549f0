"""Leave-one-out at the same place: each unit against the units of its peers that stand where it stands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import BatchError
from ..words import Single, check_word

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def against_others_at_place(x: Float, owner: Int, over: Int, *, single: Single = "error") -> Float:
    """x_u - 1/(n - 1) sum_{j != i} x_j at the place of u, shape (units,).

    x: one value per unit, in the order of the trajectories; owner: trajectory of each unit; over: prompt
    of each trajectory, which has n of them. The place of a unit is its rank within its trajectory; a
    trajectory that has ended by then counts 0 there, as a return-to-go is 0 after the end.
    The baseline holds nothing of the unit's own trajectory, so a return minus it stays unbiased.
    single: a prompt with one trajectory raises, keeps its own values ("raw") or gets 0.

    Measured from the first value at each place, so that equal values give 0 exactly.
    """
    check_word(single, Single, "single")
    size = np.bincount(over).astype(np.float64)
    if single == "error" and (size == 1).any():
        g = int(np.argmax(size == 1))
        raise BatchError(f"group {g} has a single trajectory: sample at least two, or choose single='raw' or single='zero'")
    starts = np.searchsorted(owner, np.arange(over.size))
    place = np.arange(owner.size) - starts[owner]
    group = over[owner]
    cell, first, index = np.unique(
        group * (int(place.max(initial=0)) + 1) + place, return_index=True, return_inverse=True
    )  # fmt: skip
    base = x[first][index]
    gone = size[group] - np.bincount(index, minlength=cell.size)[index]  # peers that have ended by then
    total = np.bincount(index, weights=x - base, minlength=cell.size)[index] - gone * base
    own = x - base
    n = size[group]
    credit: Float = own - (total - own) / np.maximum(n - 1, 1)
    return np.where(n == 1, x if single == "raw" else 0.0, credit)
