"""The choices of a credited batch, one by one, and what a credit of them does to the update."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ops.groups import firsts
from ...ops.surrogate import shared
from ..entrants import Outcome
from ..gradient import ratio_owner, token_weights, update
from ..layouts import choices, situation
from ..oracle import oracle, truth
from ..tabular import Bool, Float, Int

#: Advantages smaller than this are 0.
NOTHING = 1e-9


@dataclass(frozen=True, eq=False)
class Units:
    """One entry per choice that is in the loss and that the method has an opinion on; a turn several rows share, once.

    row, time: where in the rollouts. context, action: what the policy saw, as its row of the table, and did. credit: mean
    over the choice's words. matters: whether any action had an advantage there.
    """

    row: Int
    time: Int
    context: Int
    action: Int
    credit: Float
    matters: Bool


def blocks(outcome: Outcome) -> tuple[Int, Bool]:
    """Tokens of the words of every choice (choices, L), and which of them count: in the loss, and scored."""
    credit, task = outcome.credit, outcome.rollouts.task
    first = choices(task, credit.batch).first
    tokens = first[:, None] + np.arange(task.words.shape[1])
    counted = credit.kept
    if credit.scored is not None and credit.level != "segment":
        scored = credit.scored if credit.level == "token" else credit.scored[credit.batch.within("token", credit.level)]
        counted = counted & scored
    return tokens, counted[tokens]


def units(outcome: Outcome) -> Units:
    """The choices of the batch."""
    credit, rollouts = outcome.credit, outcome.rollouts
    task, batch = rollouts.task, credit.batch
    at = choices(task, batch)
    prompt, time, state, action = situation(rollouts, batch)
    tokens, counted = blocks(outcome)
    mean = np.where(counted, credit.token[tokens], 0.0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    with oracle():
        matters = np.abs(truth(task, rollouts.theta).A[prompt, time, state]).max(axis=1) > NOTHING
    here = counted.any(axis=1)
    if batch.node is not None and at.level == "turn":
        here = here & firsts(batch.node)
    return Units(at.row[here], time[here], task.context[prompt, time, state][here], action[here], mean[here], matters[here])


def gradient(outcome: Outcome, token: Float) -> Float:
    """The update that these values of the tokens make, with the mask, denominators and shared ratios of the credit."""
    credit = outcome.credit.with_fields(token=np.where(outcome.credit.batch.action, token, 0.0))
    weight = shared(token_weights(credit), ratio_owner(credit), credit.kept)
    return update(outcome.rollouts, credit, weight=weight)
