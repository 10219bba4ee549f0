"""The same credit at other times of the same rollout must push the policy less well uphill."""

from __future__ import annotations

import numpy as np

from ..entrants import Outcome
from ..tabular import Float
from .scene import Scene
from .units import blocks, gradient
from .uphill import MARGIN, fall
from .verdict import Falsifier, Found

#: Credits that differ by less of the largest are one number.
ALIKE = 1e-9


def test(scene: Scene) -> Found:
    if all(shuffled(outcome)[1] <= ALIKE for outcome in scene.batches):
        return Found(fixed="silent", note="Nothing to shuffle: the credit is constant within rollouts.")
    if all(not _moves(outcome) for outcome in scene.batches):
        return Found(fixed="silent", note="Nothing to shuffle: all units of a rollout enter the loss with one shared weight.")
    return fall(
        scene, lambda outcome: shuffled(outcome)[0], "The shuffled credit is better, by the interval of this method alone."
    )


def _moves(outcome: Outcome) -> bool:
    real, other = (gradient(outcome, token) for token in (outcome.credit.token, shuffled(outcome)[0]))
    return bool(np.abs(real - other).max() > ALIKE * max(float(np.abs(real).max()), 1e-300))


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
    threshold=f"The fall of the alignment is above 0 (passed), or below {MARGIN} of what exact credit loses by the same "
    "(failed): one-sided t over batches, p at most .05; else undecided.",
    says={
        "passed": "Where the credit stands matters: shuffled, it helps less.",
        "failed": "Shuffled, the credit does about as well, or better.",
        "undecided": "Too noisy to say in these rollouts whether shuffled credit does as well.",
    },
    test=test,
)
