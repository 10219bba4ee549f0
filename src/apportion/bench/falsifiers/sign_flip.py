"""Turning the sign of the largest credits must hurt."""

from __future__ import annotations

import math

import numpy as np

from ..entrants import Outcome
from ..tabular import Float
from .scene import Scene
from .units import blocks
from .uphill import MARGIN, fall
from .verdict import Falsifier, Found

#: Share of the units whose sign is turned: those with the largest credit.
TOP = 0.1


def test(scene: Scene) -> Found:
    return fall(scene, flipped, "It helps, by the interval of this method alone.")


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
    threshold=f"The fall of the alignment is above 0 (passed), or below {MARGIN} of what exact credit loses by the same "
    "(failed): one-sided t over batches, p at most .05; else undecided.",
    says={
        "passed": "The largest credits carry the right sign on the whole.",
        "failed": "Turning the sign of the largest credits does no harm to speak of.",
        "undecided": "Too noisy to say in these rollouts whether turning the sign of the largest credits does harm.",
    },
    test=test,
)
