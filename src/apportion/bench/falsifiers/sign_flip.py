"""Turning the sign of the largest credits must hurt."""

from __future__ import annotations

import math

import numpy as np

from ..entrants import Outcome
from ..tabular import Float
from .intervals import of_mean
from .scene import Scene
from .units import blocks, gradient
from .verdict import Falsifier, Found, number, plain

#: Share of the units whose sign is turned: those with the largest credit.
TOP = 0.1


def test(scene: Scene) -> Found:
    star = scene.star
    real, lost, length = [], [], []
    for outcome in scene.batches:
        g, other = gradient(outcome, outcome.credit.token), gradient(outcome, flipped(outcome))
        real.append(float((g * star).sum()))
        lost.append(float(((g - other) * star).sum()))
        length.append(float((g**2).sum()))
    scale = math.sqrt(float(np.mean(length)) * float((star**2).sum()))
    if scale == 0.0:
        return Found(fixed="silent", note="The update is 0: nothing was credited.")
    fall = of_mean(np.asarray(lost) / scale)
    numbers = (
        number("alignment of the update", of_mean(np.asarray(real) / scale)),
        number("alignment when turned", of_mean((np.asarray(real) - np.asarray(lost)) / scale)),
        number("fall, paired over batches", fall),
        plain("share of units turned", TOP),
    )
    note = "Turning them helps." if fall.high < 0 else ""
    return Found(numbers, shown=fall.above, otherwise="failed", note=note)


def flipped(outcome: Outcome) -> Float:
    """Every token's credit with the sign of the largest choices turned; of choices tied at the limit, each turns in part.

    That part is the chance that a random order of the tied ones puts it among the largest: the mean over all such orders,
    exactly, since the update is linear in the credit.
    """
    tokens, counted = blocks(outcome)
    credit = outcome.credit.token
    size = np.where(counted, np.abs(credit[tokens]), 0.0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    here = counted.any(axis=1)
    k = math.ceil(TOP * int(here.sum()))
    if k == 0:
        return credit
    limit = np.partition(size[here], -k)[-k]
    near = 1e-12 * limit  # equal but for the last bits
    over, tied = here & (size > limit + near), here & (np.abs(size - limit) <= near)
    chance = np.where(over, 1.0, np.where(tied, (k - int(over.sum())) / max(int(tied.sum()), 1), 0.0))
    out: Float = credit.copy()
    for j in range(tokens.shape[1]):
        out[tokens[:, j]] = credit[tokens[:, j]] * np.where(counted[:, j], 1.0 - 2.0 * chance, 1.0)
    return out


FALSIFIER = Falsifier(
    name="sign_flip",
    title="sign of the largest credits turned",
    prediction="Turning the sign of the tenth of the units with the largest credit makes the update point less well uphill.",
    procedure="The update of every batch beside the one with those signs turned; inner products with the exact gradient, "
    "paired over batches.",
    threshold="The fall of the alignment is above 0: one-sided t over batches, p at most .05. Not seen is not passed.",
    says={
        "passed": "The largest credits carry the right sign on the whole.",
        "failed": "Turning the sign of the largest credits does no harm that these rollouts show.",
    },
    test=test,
)
