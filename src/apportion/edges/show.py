"""How batches and credit look in a terminal and in a notebook."""

from __future__ import annotations

from ..batch import Batch
from ..credit import Credit


def batch_repr(batch: Batch) -> str:
    return f"Batch({batch.n_trajectories} trajectories, {batch.n_turns} turns, {batch.n_tokens} tokens)"


def batch_html(batch: Batch) -> str:
    return batch_repr(batch)


def credit_repr(credit: Credit) -> str:
    return f"Credit({credit.method}, {credit.level})"


def credit_html(credit: Credit) -> str:
    return credit_repr(credit)
