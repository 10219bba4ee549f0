"""Numbers as the report stores and prints them.

Stored: a finite float of six digits, ``"inf"`` for *never* (JSON has no infinity), ``None`` for
*undefined or not measured*. An estimate is ``{"value", "low", "high"}`` of such numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..bench.statistics import Float, studentised

Number = float | str | None
Estimate = dict[str, Number]
NOTHING: Estimate = {"value": None, "low": None, "high": None}


def store(value: float) -> Number:
    """A float as the summary holds it."""
    value = float(value)
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return float(f"{value:.6g}")


def load(value: Any) -> float:
    """A number of the summary as a float again: ``None`` becomes NaN."""
    return math.nan if value is None else float(value)


def estimate(
    value: float, samples: Float, seeds: int, *, log: bool = False, within: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """A value with the interval of its bootstrap samples over so many seeds (:func:`bench.statistics.studentised`).

    log: for what is above 0 and multiplies. within: what bounds it by its definition.
    """
    low, high = studentised(value, samples, seeds, log=log, within=within)
    return {"value": store(value), "low": store(low), "high": store(high)}


def value_of(found: Mapping[str, Any] | None, key: str) -> float:
    """``found[key]["value"]`` as a float; NaN where there is no such row."""
    return math.nan if found is None else load(found[key]["value"])


def short(value: float) -> str:
    """1234567 -> 1.23M, 48210 -> 48.2k, 3.14159 -> 3.14, infinity -> never, NaN -> an en dash."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "never" if value > 0 else "-never"
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return digits(value / size) + letter
    return digits(value)


def digits(value: float) -> str:
    """Three significant digits, without an exponent where it can be avoided."""
    if value == 0 or abs(value) >= 1e6 or abs(value) < 1e-3:
        return f"{value:.3g}"
    places = max(0, 2 - math.floor(math.log10(abs(value)) + 1e-9))
    return f"{value:.{places}f}"


def ratio(value: float) -> str:
    """A multiplier: 5.24 -> 5.24×, infinity -> ∞."""
    if math.isinf(value):
        return "∞"
    return short(value) if math.isnan(value) else f"{short(value)}×"
