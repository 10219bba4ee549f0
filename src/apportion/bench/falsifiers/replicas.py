"""How far the credit of the same choices moves when a batch is credited again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..entrants import Outcome
from ..tabular import Bool, Float, Int
from .units import units


def matched(one: Outcome, other: Outcome) -> tuple[Float, Float, Bool]:
    """Credit of the choices that both say something of, and whether the choice matters; the first rollouts only.

    What a method samples itself is drawn anew with everything else and has no twin. A choice that stands in several rows
    has the mean of them.
    """
    (key, credit, matters), (twin, again, _) = _by_place(one), _by_place(other)
    _, i, j = np.intersect1d(key, twin, assume_unique=True, return_indices=True)
    return credit[i], again[j], matters[i]


def _by_place(outcome: Outcome) -> tuple[Int, Float, Bool]:
    u = units(outcome)
    own = u.row < outcome.first.prompt.size
    place = u.row[own] * outcome.first.task.horizon + u.time[own]
    key, first, inverse = np.unique(place, return_index=True, return_inverse=True)
    mean = np.bincount(inverse, weights=u.credit[own], minlength=key.size) / np.maximum(np.bincount(inverse), 1)
    return key, mean, u.matters[own][first]


def change(one: Sequence[Outcome], other: Sequence[Outcome], *, where: bool | None = None) -> list[float]:
    """Mean square change of the credit, a batch each; ``where``: only of choices that matter (or that do not)."""
    found = []
    for a, b in zip(one, other, strict=True):
        x, y, matters = matched(a, b)
        used = np.ones_like(matters) if where is None else matters == where
        found.append(float(np.mean((x - y)[used] ** 2)) if used.any() else float("nan"))
    return found


def largest(one: Sequence[Outcome], other: Sequence[Outcome]) -> float:
    """The largest change of any credit."""
    return max((float(np.abs(x - y).max(initial=0.0)) for x, y, _ in (matched(a, b) for a, b in zip(one, other, strict=True))))
