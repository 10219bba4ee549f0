"""The methods of an audit: who can enter on these rollouts, and the credit each gives to the audited units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..batch import Batch
from ..bench.entrants import Entrant
from ..bench.knobs import entrant
from ..bench.tabular import Bool, Float, Int
from ..credit import Credit
from ..errors import BenchError
from ..pipeline import assign
from ..registry import get
from ..words import Unit
from .subjects import Subject


def chosen(ids: Sequence[str], *, truth: bool = False) -> list[Entrant]:
    """The entrants of these ids, with their knobs (``vineppo@k=16``); who asks what no audit has is refused by name."""
    if not ids:
        raise BenchError("no method to audit: name some with --methods rloo,gigpo (apportion methods lists them)")
    if twice := [id_ for i, id_ in enumerate(ids) if id_ in ids[:i]]:
        raise BenchError(f"--methods: {twice[0]} is named twice")
    found = [entrant(id_) for id_ in ids]
    for one in found:
        if one.ask == "truth" and not truth:
            raise BenchError(f"{one.id} is the exact answer, which only a task of the benchmark has")
        if one.ask not in ("nothing", "fit", "sampler", "truth"):
            raise BenchError(f"{one.id} asks for '{one.ask}', which an audit does not have; it has the rollouts and a sampler")
        if one.segments is not None or one.keeps:
            raise BenchError(f"{one.id} {'remembers earlier updates' if one.keeps else 'reads options marked by a rule'}, "
                             "which an audit of one batch does not have")  # fmt: skip
    return found


def refuse_unfed(who: Sequence[Entrant], subject: Subject) -> None:
    """Refuse the first method that is not for such rollouts, or whose columns they do not have."""
    batch, name = subject.batch, subject.name
    for one in who:
        if one.ask == "truth":
            continue
        if one.layouts is not None and subject.layout not in one.layouts:
            raise BenchError(
                f"{one.id} does not enter on {subject.layout}, as {name} has; it does on {' and '.join(one.layouts)}"
            )
        lacks = get(one.method).lacking([*batch.present, *(["spans"] if batch.spans else [])], one.options)
        if lacks:
            raise BenchError(f"{one.id} needs {' and '.join(lacks)}, which the rollouts of {name} do not have")


def credit_of(one: Entrant, subject: Subject, rng: np.random.Generator) -> Credit:
    """A method's credit for the rollouts; a sampler it asks is its own and draws apart from the audit's."""
    if one.ask == "truth" and subject.exact is not None:
        return subject.exact()
    ask: dict[str, Any] = {"sampler": subject.sampler()} if one.ask == "sampler" else {"fit": True} if one.ask == "fit" else {}
    found = assign(subject.batch, one.method, rng=rng, **ask, **one.options)
    if not isinstance(found, Credit):
        raise BenchError(f"{one.id} gives preferences: expected credit")
    return found


def at_units(credit: Credit, batch: Batch, level: Unit, units: Int) -> tuple[Float, Bool]:
    """Credit of the units of ``batch``, and which of them the method has in its loss; found by trajectory id and place.

    A method that drops rollouts says nothing about theirs; one that grows more is asked about the first ones alone.
    """
    other = credit.batch
    home = {name: i for i, name in enumerate(other.trajectory.to_list())}
    names, owner = batch.trajectory.to_list(), batch.within(level, "trajectory")
    there = np.asarray([home.get(name, -1) for name in names], dtype=np.int64)
    theirs = other.within(level, "trajectory")
    count, own = np.bincount(theirs, minlength=other.n_trajectories), np.bincount(owner, minlength=len(names))
    found = there >= 0
    if (count[there[found]] != own[found]).any():
        raise BenchError(f"the credit's trajectories have other {level}s than the rollouts: expected credit for the same ones")
    start = np.searchsorted(theirs, np.arange(other.n_trajectories))
    place = units - np.searchsorted(owner, owner[units])
    said = found[owner[units]]
    at = np.where(said, start[np.maximum(there[owner[units]], 0)] + place, 0)
    kept = np.bincount(other.within("token", level), weights=credit.kept, minlength=theirs.size) > 0
    if credit.scored is not None and credit.level == level:
        kept &= credit.scored
    return credit.on(level)[at], said & kept[at]
