"""Sums over batches, in memory that does not grow with the log.

A check is a module with two plain functions: ``look(batch, tally)`` adds what it sees in one batch,
``say(tally)`` turns the sums into findings at the end. Names carry the check's own prefix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..batch import Batch
from ..structure import Bool, Float, Int
from .findings import Place

#: How many places of each kind are kept.
FEW = 3

#: How many distinct names are remembered to find one that comes twice.
MOST_NAMES = 1_000_000


@dataclass
class Tally:
    """What was asked (methods: which to run, None for all that can; vocabulary: its size) and what was summed."""

    methods: tuple[str, ...] | None = None
    vocabulary: int | None = None
    count: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, Counter[int]] = field(default_factory=dict)
    tables: dict[str, Float] = field(default_factory=dict)
    lows: dict[str, float] = field(default_factory=dict)
    highs: dict[str, float] = field(default_factory=dict)
    places: dict[str, list[Place]] = field(default_factory=dict)
    largest: dict[str, list[tuple[float, Place]]] = field(default_factory=dict)
    names: dict[str, set[int]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, amount: float | np.integer | np.floating | np.bool_) -> None:
        """count[name] += amount."""
        self.count[name] += amount.item() if isinstance(amount, np.generic) else amount  # type: ignore[assignment]

    def tally_sizes(self, name: str, sizes: Int) -> None:
        """How often each whole number occurs."""
        found, times = np.unique(sizes, return_counts=True)
        self.sizes.setdefault(name, Counter()).update(dict(zip(found.tolist(), times.tolist(), strict=True)))

    def table(self, name: str, shape: tuple[int, ...]) -> Float:
        """An array of sums, zeros at first; add to it in place."""
        return self.tables.setdefault(name, np.zeros(shape))

    def span(self, name: str, values: Float) -> None:
        """Widen the range seen under this name."""
        if values.size:
            self.lows[name] = min(self.lows.get(name, np.inf), float(values.min()))
            self.highs[name] = max(self.highs.get(name, -np.inf), float(values.max()))

    def share(self, part: str, whole: str) -> float:
        """count[part] / count[whole]; 0 of nothing is 0."""
        return self.count[part] / self.count[whole] if self.count[whole] else 0.0

    def see(self, name: str, places: Iterable[Place]) -> None:
        """Keep the first few places; a generator is drawn from no further than that."""
        kept = self.places.setdefault(name, [])
        if len(kept) < FEW:
            for place in places:
                kept.append(place)
                if len(kept) == FEW:
                    return

    def seen(self, name: str) -> tuple[Place, ...]:
        return tuple(self.places.get(name, ()))

    def see_largest(self, name: str, sizes: Float, places: Iterable[Place]) -> None:
        """Keep the places with the largest sizes; the first of equal ones."""
        kept = self.largest.setdefault(name, [])
        kept += zip(sizes.tolist(), places, strict=True)
        kept.sort(key=lambda pair: -pair[0])
        del kept[FEW:]

    def seen_largest(self, name: str) -> tuple[Place, ...]:
        return tuple(place for _, place in self.largest.get(name, ()))

    def met_before(self, name: str, value: str) -> bool:
        """Whether this name came before. Forgetful past a million names, so that memory is bounded."""
        known = self.names.setdefault(name, set())
        key = hash(value)
        if key in known:
            return True
        if len(known) < MOST_NAMES:
            known.add(key)
        return False


def at_trajectories(batch: Batch, which: Bool | Int, what: str = "") -> Iterable[Place]:
    """The chosen trajectories as places (a mask or indices)."""
    return (Place(str(batch.trajectory.name(i)), None, what) for i in _indices(which))


def at_turns(batch: Batch, which: Bool | Int, what: str = "") -> Iterable[Place]:
    """The chosen turns as places (a mask or indices)."""
    owner = batch.within("turn", "trajectory")
    return (Place(str(batch.trajectory.name(int(owner[u]))), int(batch.turn_index[u]), what) for u in _indices(which))


def at_tokens(batch: Batch, which: Bool | Int, what: str = "") -> Iterable[Place]:
    """The turns of the chosen tokens as places, each turn once."""
    tokens = np.flatnonzero(which) if which.dtype == np.bool_ else which
    return at_turns(batch, np.unique(batch.within("token", "turn")[tokens[: 64 * FEW]]), what)


def _indices(which: Bool | Int) -> list[int]:
    found: list[int] = (np.flatnonzero(which) if which.dtype == np.bool_ else which)[:FEW].tolist()
    return found


def percent(share: float) -> str:
    """A share in a few characters that is never rounded to none or to all."""
    if 0 < share < 0.01:
        return f"{100 * share:.1g} %" if share >= 0.0001 else "under 0.01 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %"


def number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def either(n: float, one: str, more: str) -> str:
    """The word that goes with n: either(1, "is", "are") is "is"."""
    return one if n == 1 else more
