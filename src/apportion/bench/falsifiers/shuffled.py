"""The same credit at other times of the same rollout must push the policy less well uphill."""

from __future__ import annotations

import math

import numpy as np

from ..entrants import Outcome
from ..tabular import Float
from .intervals import of_mean
from .scene import Scene
from .units import blocks, gradient
from .verdict import Falsifier, Found, number, plain

#: Credits that differ by less of the largest are one number.
ALIKE = 1e-9


def test(scene: Scene) -> Found:
    star = scene.star
    real, lost, length, moved = [], [], [], False
    for outcome in scene.batches:
        token, spread = shuffled(outcome)
        moved = moved or spread > ALIKE
        g, other = gradient(outcome, outcome.credit.token), gradient(outcome, token)
        real.append(float((g * star).sum()))
        lost.append(float(((g - other) * star).sum()))
        length.append(float((g**2).sum()))
    scale = math.sqrt(float(np.mean(length)) * float((star**2).sum()))
    if scale == 0.0:
        return Found(fixed="silent", note="The update is 0: nothing was credited.")
    if not moved:
        return Found(fixed="silent", note="Nothing to shuffle: the credit is constant within rollouts.")
    if np.ptp(lost) == 0.0 and lost[0] == 0.0:
        return Found(fixed="silent", note="Nothing to shuffle: all units of a rollout enter the loss with one shared weight.")
    fall = of_mean(np.asarray(lost) / scale)
    left = of_mean((np.asarray(real) - np.asarray(lost)) / scale)
    numbers = (
        number("alignment of the update", of_mean(np.asarray(real) / scale)),
        number("alignment when shuffled", left),
        number("fall, paired over batches", fall),
        plain("rollouts a batch", scene.size),
    )
    note = "The shuffled credit is better." if fall.high < 0 else ""
    return Found(numbers, shown=fall.above, otherwise="failed", note=note)


def shuffled(outcome: Outcome) -> tuple[Float, float]:
    """Every token's mean credit over all permutations of its rollout's choices; and how much that moves, of the largest credit.

    The update is linear in the credit, so this mean gives the mean update over all shuffles: no draw of one is needed.
    Only choices that count change places, a first word with first words.
    """
    credit = outcome.credit
    token = credit.token.copy()
    tokens, counted = blocks(outcome)
    episode = credit.batch.within("token", "episode")
    for j in range(tokens.shape[1]):
        at = tokens[counted[:, j], j]
        of = episode[at]
        mean = np.bincount(of, weights=credit.token[at]) / np.maximum(np.bincount(of), 1)
        token[at] = mean[of]
    largest = float(np.abs(credit.token).max(initial=0.0))
    return token, float(np.abs(token - credit.token).max(initial=0.0)) / largest if largest > 0 else 0.0


FALSIFIER = Falsifier(
    name="shuffled",
    title="credit shuffled in time",
    prediction="The same credits, permuted among the units of their rollout, push the policy less well uphill.",
    procedure="The update of every batch beside the mean update over all permutations of the credit within each rollout; "
    "inner products with the exact gradient, paired over batches.",
    threshold="The fall of the alignment is above 0: one-sided t over batches, p at most .05. Not seen is not passed.",
    says={
        "passed": "Where the credit stands matters: shuffled, it helps less.",
        "failed": "Shuffled credit does as well, as far as these rollouts show.",
    },
    test=test,
)
