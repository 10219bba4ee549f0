"""Shares of a reward among those who could each have earned it alone."""

from __future__ import annotations

import numpy as np

from ...ops.shapley import coalitions, shapley
from .finding import Claim, Finding, Number, said


def redundancy(seeds: int) -> Finding:
    """Two players, either of whom is enough: v = 1 unless nobody is there. Exact; ``seeds`` changes nothing."""
    members = coalitions(2)
    worth = np.asarray(members.any(axis=1), dtype=np.float64)
    whole = worth[-1]
    numbers = []
    for i in range(2):
        without = worth[2 - i]  # of the table: nobody, 1, 2, both
        numbers.append(Number(f"leave-one-out of player {i + 1}", float(whole - without), claimed=0.0))
        numbers.append(Number(f"Shapley value of player {i + 1}", float(shapley(worth[None])[0, i]), claimed=0.5))
    return said(all(n.agrees for n in numbers), numbers)


CLAIMS = (
    Claim(
        "leave-one-out-under-redundancy",
        "Of two redundant agents leave-one-out pays neither, Shapley pays each a half.",
        "SHARP (2602.08335) and the counterfactual methods it answers",
        redundancy,
    ),
)
