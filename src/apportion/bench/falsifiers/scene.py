"""Where a method is tried: an entrant on a controlled task, the same rollouts credited as often as a falsifier asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ...errors import BenchError
from ..draws import streams
from ..entrants import Entrant, Outcome, run_entrant
from ..oracle import oracle, truth
from ..records import Cell
from ..tabular import Float, Task
from ..tasks import find

BATCHES = 24  # independent batches: what intervals are over
REPEATED = 8  # of them are credited again, with fresh evidence or other words
GROUP = 8  # rollouts of a prompt

#: New words are spelled with these tokens, which no simulated text has.
FRESH = range(40, 100)


@dataclass(eq=False)
class Scene:
    """An entrant on a task. size: rollouts a batch. change: done to every credited batch, to see what a test makes of it."""

    entrant: Entrant
    task: Task
    seed: int = 0
    size: int = 128
    change: Callable[[Outcome], Outcome] | None = None
    _worlds: dict[str, list[Outcome]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.size < 2 * GROUP:
            raise BenchError(f"{self.size} rollouts a batch: expected at least {2 * GROUP}, two groups of {GROUP}")

    @cached_property
    def batches(self) -> list[Outcome]:
        """Independent batches."""
        return [self._credited(self.task, b) for b in range(BATCHES)]

    @cached_property
    def replicas(self) -> list[Outcome]:
        """The first batches again: the same rollouts, all that the method asks or learns drawn anew."""
        return [self._credited(self.task, b, anew=True) for b in range(REPEATED)]

    @cached_property
    def reworded(self) -> list[Outcome]:
        """The first batches again: the same rollouts and draws, every word of an action spelled with other tokens."""
        task = replace(self.task, words=other_words(self.task, self.seed))
        return [self._credited(task, b) for b in range(REPEATED)]

    def world(self, id_: str) -> list[Outcome]:
        """Independent batches of the same entrant on another task of turns; who credits teams only has two agents take them."""
        if id_ not in self._worlds:
            task = find(id_)
            if not self.entrant.fits("turns"):
                task = replace(task, id=f"{id_}, a team of two", layout="team", roles=np.arange(task.horizon) % 2)
            self._worlds[id_] = [self._credited(task, b) for b in range(BATCHES)]
        return self._worlds[id_]

    @cached_property
    def star(self) -> Float:
        """The exact gradient of the expected return."""
        with oracle():
            exact: Float = truth(self.task, self.task.start_theta).gradient
        return exact

    def _credited(self, task: Task, batch: int, *, anew: bool = False) -> Outcome:
        cell = Cell(self.entrant.id, task.id, self.seed, "identification")
        world, own = streams(cell, self.size, batch)
        if anew:
            own = streams(cell, self.size, batch, 1)[1]
        found = run_entrant(self.entrant, task, task.start_theta, self.size // GROUP, GROUP, world, own)
        return found if self.change is None else self.change(found)


def other_words(task: Task, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The task's words with every token renamed, one to one: they begin alike where they did before."""
    old, place = np.unique(task.words, return_inverse=True)
    if old.size > len(FRESH):
        raise BenchError(f"{task.id}: its actions are spelled with {old.size} tokens, more than there are others for them")
    new = np.random.default_rng([seed, old.size]).permutation(np.asarray(FRESH, dtype=np.int64))[: old.size]
    words: np.ndarray[tuple[int, ...], np.dtype[np.int64]] = new[place].reshape(task.words.shape)
    return words
