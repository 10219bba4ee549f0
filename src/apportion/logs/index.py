"""A log of records: scanned once for what is where, then read in pieces of whole groups."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from ..batch import Batch
from ..errors import BatchError
from ..structure import Int
from ..words import Scope
from .build import Making, batch_of
from .choice import Choice, Unscored, choose
from .formats import READERS
from .keys import Tally
from .pieces import pieces
from .rollout import Rollout
from .sources import Source

#: Called with bytes done and bytes in all.
Progress = Callable[[int, int], None]


def _longs() -> array[int]:
    return array("q")


@dataclass
class Scan:
    """What the first pass finds: a few numbers per trajectory, and nothing of its text."""

    tally: Tally
    address: array[int] = field(default_factory=_longs)
    size: array[int] = field(default_factory=_longs)
    bytes: array[int] = field(default_factory=_longs)
    line: array[int] = field(default_factory=_longs)
    part: array[int] = field(default_factory=_longs)
    notes: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    logp: int = 0
    messages: int = 0
    empty: int = 0
    models: set[str] = field(default_factory=set)


def scan(source: Source, format_: str, given: Mapping[str, str], vocab: int | None, progress: Progress | None) -> Scan:
    """Read every record once: is it sound, and what does it have?"""
    found = Scan(Tally(given))
    done = 0
    for piece in source.scan():
        where = source.where(piece.line)
        made = _rollouts(format_, piece.value, where)
        found.empty += not made
        for k, rollout in enumerate(made):
            _count(found, rollout, where, vocab)
            found.address.append(piece.address)
            found.bytes.append(piece.size)
            found.size.append(max(piece.size // len(made), 1))
            found.line.append(piece.line)
            found.part.append(k)
        done += piece.size
        if progress is not None:
            progress(done, max(source.total, done))
    return found


def _rollouts(format_: str, value: Any, where: str) -> list[Rollout]:
    try:
        return READERS[format_].rollouts(value)
    except BatchError as error:
        raise BatchError(f"{where}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BatchError(f"{where}: not a record of format '{format_}' ({type(error).__name__}: {error})") from None


def _count(found: Scan, rollout: Rollout, where: str, vocab: int | None) -> None:
    try:
        found.tally.add(rollout, where)
    except BatchError as error:
        raise BatchError(f"{where}: {error}") from None
    found.notes.update(rollout.notes)
    found.tokens += rollout.tokens is not None
    found.logp += rollout.has_logp
    found.messages += rollout.messages is not None
    if rollout.tokens is not None:
        _vocabulary(rollout, where, vocab)
        if isinstance(rollout.facts.get("model"), str):
            found.models.add(rollout.facts["model"])


def _vocabulary(rollout: Rollout, where: str, vocab: int | None) -> None:
    if vocab is None:
        return
    for turn in rollout.tokens or ():
        if turn.ids.size and int(turn.ids.max()) >= vocab:
            raise BatchError(
                f"{where}: token id {int(turn.ids.max())} is outside the vocabulary of {vocab:,}: another tokenizer's?"
            )


@dataclass(frozen=True, eq=False)
class Records:
    """A scanned log, ready to be read in pieces.

    Per trajectory: where its record lies and how many ``bytes`` that takes, its share of them (``size``),
    the record's ``line``, its place among the record's trajectories (``part``) and its group.
    """

    source: Source
    format: str
    choice: Choice
    making: Making
    address: Int
    bytes: Int
    size: Int
    line: Int
    part: Int
    group: Int

    @property
    def trajectories(self) -> int:
        return int(self.address.size)

    @property
    def groups(self) -> int:
        return int(self.group.max(initial=-1)) + 1

    def batches(self, scope: Scope, budget: int, progress: Progress | None) -> Iterator[Batch]:
        done, total = 0, int(self.size.sum())
        for chosen in pieces(scope, self.group, self.size, budget):
            yield self._batch(chosen)
            done += int(self.size[chosen].sum())
            if progress is not None:
                progress(done, total)

    def _batch(self, chosen: Int) -> Batch:
        names, rollouts = [], []
        wanted = [list(run) for _, run in groupby(chosen.tolist(), key=lambda i: self.address[i])]
        values = self.source.read([int(self.address[r[0]]) for r in wanted], [int(self.bytes[r[0]]) for r in wanted])
        for run, value in zip(wanted, values, strict=True):
            line = int(self.line[run[0]])
            made = _rollouts(self.format, value, self.source.where(line))
            for i in run:
                rollout = made[int(self.part[i])]
                name = self.source.name(line)
                names.append(name if len(made) == 1 else f"{name}/{rollout.label or int(self.part[i])}")
                rollouts.append(rollout)
        try:
            return batch_of(rollouts, names, self.making)
        except BatchError as error:
            raise BatchError(f"{self.source.where(int(self.line[chosen[0]]))} and on: {error}") from None


def settle(source: Source, format_: str, found: Scan, unscored: Unscored, making: Callable[[Choice], Making]) -> Records:
    """Choose keys from what was found, and keep the trajectories that are read."""
    if not found.tally.n:
        raise BatchError(f"{source.where(1)}: no trajectory in it or after it ({found.empty} records hold none)")
    choice = choose(found.tally, unscored, source.unit)
    kept = choice.kept
    group = choice.group[kept]
    columns = {n: np.frombuffer(getattr(found, n), dtype=np.int64)[kept] for n in ("address", "line", "part", "size", "bytes")}
    return Records(source, format_, choice, making(choice), group=group, **columns)
