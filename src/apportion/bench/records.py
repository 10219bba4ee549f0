"""What the benchmark passes around: cells of work, rows of results, and what tasks and entrants show."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from ..errors import BenchError

#: How a rollout reads: turns of an agent, each with what is seen; steps of one answer, where only the
#: prompt is seen; or the turns of several agents, a trajectory each.
Layout = Literal["turns", "steps", "team"]

#: What a cell measures: the update against the exact gradient, learning from scratch, credit
#: against the truth unit by unit, and the evidence a method pays for.
Measure = Literal["gradient", "learning", "identification", "cost"]
MEASURES: tuple[Measure, ...] = ("gradient", "learning", "identification", "cost")


class Row(NamedTuple):
    """One number of the result file; ``batch`` is 0 and ``lr`` NaN where they do not apply."""

    method: str
    task: str
    seed: int
    measure: str
    metric: str
    batch: int
    lr: float
    value: float


@dataclass(frozen=True)
class Cell:
    """The smallest piece of work that is done, kept and repeated as a whole."""

    method: str
    task: str
    seed: int
    measure: Measure

    @property
    def id(self) -> str:
        """A file name, the same on every system and different for different cells.

        Names that a file system could alter or confuse (other characters, capitals, great
        length) are made plain and told apart by a short digest.
        """
        return "+".join((plain_name(self.task), plain_name(self.method), self.measure, str(self.seed)))


def plain_name(name: str) -> str:
    """``name`` with ``~`` for ``/`` if that is safe in a file name, else a safe form with eight digits of its digest."""
    if re.fullmatch(r"[a-z0-9_][a-z0-9_./=-]{0,59}", name):
        return name.replace("/", "~")
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return re.sub(r"[^a-z0-9_.=-]+", "-", name.lower())[:50].strip("-.") + "-" + digest


class Task(Protocol):
    """What the runner needs of a task; measuring needs more (see :mod:`apportion.bench.tabular`)."""

    @property
    def id(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def tags(self) -> Collection[str]: ...
    @property
    def horizon(self) -> int: ...
    @property
    def title(self) -> str: ...
    @property
    def layout(self) -> Layout: ...
    @property
    def neural(self) -> bool: ...
    def describe(self) -> dict[str, Any]:
        """The complete definition as JSON: equal descriptions mean equal tasks."""
        ...


class Entrant(Protocol):
    """A method with its options and source of evidence, as it enters the benchmark."""

    @property
    def id(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    @property
    def oracle(self) -> bool: ...
    @property
    def paid(self) -> bool: ...
    @property
    def title(self) -> str: ...
    @property
    def group(self) -> int | None: ...
    def fits(self, layout: Layout, neural: bool = False) -> bool: ...


def grouped(entrant: Entrant, batch: int, group: int, measure: Measure | None = None) -> tuple[int, int]:
    """(groups, rollouts of each) of a batch of so many trajectories; ``group``: of the settings, where the entrant has none.

    Raises BenchError where they do not divide; ``measure``: what the batch is for, to be said then.
    """
    size = entrant.group or group
    if batch % size:
        whose = f" that {measure} is measured on" if measure else ""
        raise BenchError(f"{entrant.id}: groups of {size} do not divide the batch of {batch}{whose}; a divisor of {batch} does")
    return batch // size, size
