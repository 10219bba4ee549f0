"""The fourth selector: what the user can provide, in the order of what was measured nearest to them.

An entrant's predicted worth is the mean of its log worth over the measured settings of the user's layout, each weighted
with exp(-2 d) of its declared distance d. Intervals resample seeds and settings together. Nothing is learned but one slope
(:func:`~apportion.bench.selection.worth.scale`), and that from the settings it is given.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...survey.profile import Profile
from ..knobs import entrant as find
from ..statistics import Float, studentised
from .bills import cost
from .measured import Measured
from .nearest import OUTSIDE, Near, distances
from .needs import Lack, lacks
from .worth import By, Scale, resamples, scale, worth

DRAWS = 200
_FALL = 2.0


@dataclass(frozen=True)
class Ranked:
    """An entrant with its predicted worth (a factor, 1 is RLOO) and interval; ``by``: the measures it rests on, ``rests``:
    weight of the settings in which it was measured, of all near ones; ``price`` of a rollout beside a plain one."""

    entrant: str
    method: str
    worth: float
    low: float
    high: float
    by: tuple[By, ...]
    rests: float
    price: float
    tied: bool


@dataclass(frozen=True)
class Ranking:
    """Candidates best first; who fell out and why; the settings it rests on; how far the nearest lies."""

    ranked: tuple[Ranked, ...]
    out: Mapping[str, tuple[Lack, ...]]
    near: tuple[Near, ...]
    scale: Scale

    @property
    def distance(self) -> float | None:
        return self.near[0].distance if self.near else None

    @property
    def outside(self) -> bool:
        """Whether nothing that was measured is near."""
        return not self.near or self.near[0].distance > OUTSIDE

    @property
    def candidates(self) -> tuple[str, ...]:
        """Methods, each at its best entrant's place."""
        return tuple(dict.fromkeys(r.method for r in self.ranked))


def rank(profile: Profile, m: Measured, among: Collection[str] | None = None, *, draws: int = DRAWS) -> Ranking:
    """Order what the profile allows by measured worth; ``among``: the settings that may be looked at (default: all)."""
    settings = tuple(sorted(m.settings if among is None else among))
    near = distances(profile, m, settings)
    how, table = _tables(_Key(m), settings, tuple(n.setting.id for n in near), draws)
    weight = np.asarray([np.exp(-_FALL * n.distance) for n in near])
    rng = np.random.default_rng(0)
    drawn = (
        np.concatenate([np.ones((1, len(near))), rng.multinomial(len(near), np.full(len(near), 1 / len(near)), size=draws)])
        if near
        else None
    )
    out: dict[str, tuple[Lack, ...]] = {}
    rows: list[tuple[str, Float, int, tuple[By, ...], float, float]] = []
    for name in m.entrants:
        entrant = find(name)
        price = _price(m, near, name, profile, settings)
        if why := lacks(entrant, profile, None if np.isnan(price) else price):
            out[name] = tuple(why)
            continue
        values = table[name]
        known = ~np.isnan(values[0])
        if drawn is None or not known.any():
            out[name] = (Lack("measured", "was not measured on such rollouts"),)
            continue
        mass = drawn[:, known] * weight[known]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (mass * values[:, known]).sum(axis=1) / mass.sum(axis=1)
        by = tuple(sorted({_by(m, near[i].setting.id, name) for i in np.flatnonzero(known)}))
        runs = max(int(known.sum()), m.seeds)  # settings and seeds were drawn together: as many runs as there are of either
        rows.append((name, mean, runs, by, float(weight[known].sum() / weight.sum()), price))
    rows.sort(key=lambda r: (-r[1][0], r[0]))
    best = rows[0][1] if rows else None
    ranked = []
    for name, mean, runs, by, rests, price in rows:
        low, high = studentised(mean[0], mean[1:], runs)
        behind = studentised(best[0] - mean[0], best[1:] - mean[1:], runs)[0] if best is not None else 0.0
        middle, down, up = (float(np.exp(v)) for v in (mean[0], low, high))
        tied = bool(behind <= 0)
        ranked.append(Ranked(name, find(name).method, middle, down, up, by, rests, price, tied))
    return Ranking(tuple(ranked), out, tuple(near), how)


def _price(m: Measured, near: Sequence[Near], name: str, profile: Profile, among: Collection[str]) -> float:
    """At the user's size where it is known, else at the nearest setting where the bill is."""
    scaled = cost(m, name, profile, among)
    if scaled is not None:
        return scaled.times
    found = (m.price(n.setting.id, name) for n in near)
    return next((p for p in found if not np.isnan(p)), float("nan"))


def _by(m: Measured, setting: str, name: str) -> By:
    return "learning" if (setting, name) in m.learning else "gradient"


class _Key:
    """Measured numbers as a key of the cache: by identity."""

    def __init__(self, m: Measured) -> None:
        self.m = m

    def __hash__(self) -> int:
        return id(self.m)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.m is self.m


@lru_cache(maxsize=64)
def _tables(key: _Key, among: tuple[str, ...], near: tuple[str, ...], draws: int) -> tuple[Scale, dict[str, Float]]:
    """The scale from all settings ``among``, and per entrant its log worth in the near ones, (1 + draws, settings): all seeds
    first, then resamples of them."""
    m = key.m
    how = scale(m, among)
    index, which = resamples(m.seeds, draws)
    table = {}
    for name in m.entrants:
        rows = np.full((len(index), len(near)), np.nan)
        for j, s in enumerate(near):
            for i, seeds in enumerate(index):
                found = worth(m, s, name, how, seeds)
                if found is None:
                    break
                rows[i, j] = found[0]
        table[name] = rows[which]
    return how, table
