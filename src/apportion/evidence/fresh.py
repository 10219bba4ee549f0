"""Asking for fresh actions at states of a batch."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from .sources import Actor, Evidence, Sampler


def fresh_actions(batch: Batch, sampler: Sampler, rng: np.random.Generator, *, k: int, samples: int | None, who: str) -> Evidence:
    """``k`` fresh actions before each turn, or at ``samples`` turns drawn with replacement: a new batch, and its bill."""
    if not isinstance(sampler, Actor):
        raise OptionError(f"{who} asks for fresh actions, and {type(sampler).__name__} has no actions() (evidence.Actor)")
    if k < 1 or (samples is not None and samples < 1):
        raise OptionError(f"k = {k}, samples = {samples}: expected at least 1")
    at = batch.prefix_before if samples is None else batch.prefix_before[rng.integers(batch.n_turns, size=samples)]
    fresh, bill = sampler.actions(batch, at, k, rng)
    return Evidence(bill=bill, provenance=sampler.provenance, batch=fresh)
