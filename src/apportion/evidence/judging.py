"""Asking a judge with a rubric, and refusing answers that are not on its scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..words import Axis, Provenance
from .rubrics import Rubric
from .sources import Array, Asked, Judge


def ask(batch: Batch, judge: Judge, unit: Axis, rng: np.random.Generator, rubric: Rubric) -> Asked:
    """One level of the rubric per ``unit``, NaN where the answer could not be parsed; anything else is refused."""
    asked = judge.score(batch, unit, rng, rubric=rubric)
    values = np.asarray(asked.values, dtype=np.float64)
    if values.shape != (batch.count(unit),):
        raise OptionError(f"the judge answered with shape {values.shape}, expected ({batch.count(unit)},): one per {unit}")
    check_levels(f"the judge's answer to rubric '{rubric.name}'", values, rubric.levels)
    return Asked(values, asked.bill)


def check_levels(name: str, values: Array, levels: Sequence[float]) -> None:
    """Refuse the first value that is neither one of ``levels`` nor NaN, by index."""
    stray = ~(np.isnan(values) | np.isin(values, levels))
    if stray.any():
        i = tuple(int(j) for j in np.argwhere(stray)[0])
        at = i[0] if len(i) == 1 else i
        known = ", ".join(f"{level:g}" for level in levels)
        raise OptionError(f"{name}[{at}] = {values[i]:g}: expected one of {known} (NaN where it could not be parsed)")


def provenance(judge: Judge, rubric: Rubric) -> Provenance:
    """The judge's own, or "privileged" where the rubric shows it the reference and its own is stronger."""
    words = get_args(Provenance)
    shown: Provenance = "privileged" if rubric.privileged else judge.provenance
    return max(judge.provenance, shown, key=words.index)
