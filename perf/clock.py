"""Timing that stands up on a busy machine: contestants take turns, and only their ratio is promised."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Call = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))


def seconds(call: Call, inner: int = 1) -> float:
    """Least wall time of ``inner`` calls in a row, the garbage collector off."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        best = float("inf")
        for _ in range(inner):
            begin = time.perf_counter()
            call()
            best = min(best, time.perf_counter() - begin)
        return best
    finally:
        if was_on:
            gc.enable()


def in_turns(calls: Mapping[str, Call], rounds: int, inner: Mapping[str, int] | None = None) -> dict[str, list[float]]:
    """Seconds of every call in every round; each round runs all of them, one after the other.

    All are called once before, so that compilation and first allocations are not counted. ``inner``:
    calls per round of the fast ones, of which the least counts (default 1).
    """
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(seconds(call, (inner or {}).get(name, 1)))
    return taken


def ratio(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """How many times faster, round by round."""
    return Spread.of([a / b for a, b in zip(slow, fast, strict=True)])
