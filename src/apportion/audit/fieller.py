"""Fieller's interval (1954) for a ratio of two estimates, which stays honest where the denominator is hardly known."""

from __future__ import annotations

import math


def fieller(num: float, den: float, v_num: float, v_both: float, v_den: float, t: float, bound: float) -> tuple[float, float]:
    """All x in [-bound, bound] with |num - x den| <= t sqrt(v_num - 2 x v_both + x² v_den), as (low, high); den > 0.

    Where the denominator may be 0 the set is unbounded, and ends at the bound; where it falls in two, the part
    with the numerator's sign is meant, or all between the bounds if the numerator may be 0 as well.
    """
    a, b, c = den**2 - t**2 * v_den, num * den - t**2 * v_both, num**2 - t**2 * v_num
    root = math.sqrt(max(b * b - a * c, 0.0))
    if a > 0:
        low, high = (b - root) / a, (b + root) / a
    elif c <= 0:
        return -bound, bound
    else:  # roots of opposite signs, written so that nothing cancels
        stable = b + math.copysign(root, b)
        if not stable or not a:
            return -bound, bound
        ends = (c / stable, stable / a)
        low, high = (max(ends), bound) if num > 0 else (-bound, min(ends))
    return min(max(low, -bound), bound), max(min(high, bound), -bound)
