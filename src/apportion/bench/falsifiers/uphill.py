"""What the update loses, of its direction uphill, when its credit is altered."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..entrants import Outcome
from ..sources import exact_credit
from ..tabular import Float
from .intervals import of_mean
from .scene import Scene
from .units import gradient
from .verdict import Found, number

#: A fall of less than this share of what exact credit loses by the same is none to speak of.
MARGIN = 0.05

Altered = Callable[[Outcome], Float]


def fall(scene: Scene, altered: Altered, better: str) -> Found:
    """How much altering the credit lowers the alignment of the update: <g, g*> / sqrt(E|g|^2 |g*|^2), in [-1, 1].

    Both sides are divided by the length of the unaltered update, so that only the direction counts. Exact credit of the same
    rollouts, altered in the same way, says how much there is to lose. better: said where altering helps.
    """
    real, lost, length = _moments(scene, scene.batches, altered)
    if length == 0.0:
        return Found(fixed="silent", note="The update is 0: nothing was credited.")
    exact = [replace(o, rollouts=o.first, credit=exact_credit(o.first, o.sampled)) for o in scene.batches]
    _, all_of_it, reach = _moments(scene, exact, altered)
    most = all_of_it / reach
    fell = of_mean(lost / length)
    short = of_mean(lost / length - MARGIN * most)
    numbers = (
        number("alignment of the update", of_mean(real / length)),
        number("alignment when altered", of_mean((real - lost) / length)),
        number("fall, paired over batches", fell),
        number("fall of exact credit's", of_mean(most)),
    )
    return Found(numbers, shown=fell.above, refuted=short.below, if_failed=better if fell.high < 0 else "")


def _moments(scene: Scene, outcomes: list[Outcome], altered: Altered) -> tuple[Float, Float, float]:
    """Inner products with the exact gradient, what altering takes off them, and the length that scales both."""
    star, real, lost, squares = scene.star, [], [], []
    for outcome in outcomes:
        g, other = gradient(outcome, outcome.credit.token), gradient(outcome, altered(outcome))
        real.append(float((g * star).sum()))
        lost.append(float(((g - other) * star).sum()))
        squares.append(float((g**2).sum()))
    return np.asarray(real), np.asarray(lost), math.sqrt(float(np.mean(squares)) * float((star**2).sum()))
