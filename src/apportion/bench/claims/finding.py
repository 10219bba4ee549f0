"""What a claim's experiment gives back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..statistics import bootstrap

#: undecided: intervals too wide for either; more seeds decide.
Verdict = Literal["holds", "does not hold", "holds only when", "undecided"]


@dataclass(frozen=True)
class Number:
    """One measured number with its 95 % interval over seeds; exact numbers have none (NaN)."""

    what: str
    value: float
    low: float = math.nan
    high: float = math.nan
    claimed: float | None = None

    @property
    def agrees(self) -> bool:
        """Whether the claimed number lies in the interval (within 1e-3 of an exact one)."""
        if self.claimed is None:
            return True
        if math.isnan(self.low):
            return abs(self.value - self.claimed) <= 1e-3
        return self.low <= self.claimed <= self.high

    def within(self, tolerance: float) -> bool:
        """Whether it lies this near to what was claimed: a rule that few seeds break by chance no more than many do."""
        return self.claimed is not None and abs(self.value - self.claimed) <= tolerance

    @property
    def above(self) -> bool:
        """Whether it is surely above 0."""
        return (self.value if math.isnan(self.low) else self.low) > 0

    @property
    def below(self) -> bool:
        """Whether it is surely below 0."""
        return (self.value if math.isnan(self.high) else self.high) < 0


@dataclass(frozen=True)
class Finding:
    """A verdict, when it holds if only sometimes, and the numbers it follows from."""

    verdict: Verdict
    numbers: tuple[Number, ...]
    when: str = ""


@dataclass(frozen=True)
class Claim:
    """id: its name on the command line. statement: what is claimed. source: by whom. test: seeds -> finding.

    experiment: what is done to find out, and the rule of the verdict, in a sentence or two.
    """

    id: str
    statement: str
    source: str
    test: Callable[[int], Finding]
    experiment: str


def over_seeds(what: str, values: Sequence[float], claimed: float | None = None) -> Number:
    """The mean over seeds with its bootstrap interval."""
    return Number(what, *bootstrap(np.asarray(values, dtype=np.float64), lambda x: float(np.mean(x))), claimed)


def said(holds: bool, numbers: Sequence[Number], *, fails: bool | None = None) -> Finding:
    """A plain yes or no; where ``fails`` is given and neither is so, undecided."""
    fails = not holds if fails is None else fails
    return Finding("holds" if holds else "does not hold" if fails else "undecided", tuple(numbers))
