"""Where the random numbers of a cell come from, and what one credited batch costs."""

from __future__ import annotations

import hashlib

import numpy as np

from ..evidence import Bill
from .entrants import Outcome
from .records import Cell


def streams(cell: Cell, *key: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Generators of the world (the same for every method) and of the method's own questions."""
    task = int.from_bytes(hashlib.sha256(cell.task.encode()).digest()[:6], "big")
    method = int.from_bytes(hashlib.sha256(cell.method.encode()).digest()[:6], "big")
    return np.random.default_rng([cell.seed, task, *key]), np.random.default_rng([cell.seed, task, method, *key])


def spent(outcome: Outcome, epochs: int = 1) -> Bill:
    """Everything one batch costs: rollouts, evidence, and the tokens that ``epochs`` updates train on.

    Only tokens the policy wrote are counted, everywhere; a row that is in the loss at all is trained
    on whole, because masked tokens go through the model just the same.
    """
    batch, credit = outcome.sampled, outcome.credit
    row = credit.batch.within("token", "row")
    used = np.bincount(row, weights=credit.kept, minlength=credit.batch.n_rows) > 0
    trained = float((credit.batch.action & used[row]).sum())
    stepped = 0 if outcome.first.task.layout == "steps" else outcome.sampled.n_turns
    rollouts = Bill(generated=float(batch.action.sum()), env_steps=float(stepped))
    return rollouts + credit.bill + Bill(trained=trained * epochs)
