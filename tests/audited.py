"""An environment, a policy and samplers for the tests of the audit."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from apportion.batch import Batch
from apportion.evidence import Asked, Bill

STEPS = 4


class Scale:
    """Four weighings; "right" adds 1 with chance .9, "left" with .1, and only the second and the last are counted.

    The reward is 1 if both counted ones added. Each answer tells what was added, so a rollout can be replayed and compared.
    """

    limit = STEPS
    prompts = tuple(range(12))

    def __init__(self) -> None:
        self.dice = random.Random(0)
        self.added: list[int] = []

    def reset(self, prompt: Any) -> str:
        self.dice = random.Random(int(prompt))
        self.added = []
        return f"scale {prompt}"

    def step(self, action: str) -> tuple[str, float, bool]:
        self.added.append(int(self.dice.random() < (0.9 if action == "right" else 0.1)))
        done = len(self.added) == STEPS
        return f"weighing {len(self.added)}: {self.added[-1]}", float(done and self.added[1] and self.added[3]), done


class Saving(Scale):
    """One that saves, its dice included, and throws new dice when asked."""

    def save(self) -> Any:
        return self.dice.getstate(), list(self.added)

    def load(self, state: Any) -> None:
        self.dice.setstate(state[0])
        self.added = list(state[1])

    def reseed(self, seed: int) -> None:
        self.dice = random.Random(seed)


class Shallow(Saving):
    """What it loads is the snapshot itself, which it goes on writing to: a common mistake. Loaded once, all is well."""

    def load(self, state: Any) -> None:
        self.dice.setstate(state[0])
        self.added = state[1]


class Forgetful(Scale):
    """Its dice are nowhere seeded, so nothing of it can be replayed."""

    def reset(self, prompt: Any) -> str:
        seen = super().reset(prompt)
        self.dice = random.Random()
        return seen


def either(history: list[str], rng: np.random.Generator) -> str:
    """Right or left, equally likely."""
    return "right" if rng.random() < 0.5 else "left"


def worth(time: int, added: list[int]) -> float:
    """Exact value of Scale before the action ``time`` (from 0), given what was added: .5 for each counted one to come."""
    chance = 1.0
    for counted in (1, 3):
        chance *= 0.5 if counted >= time else float(added[counted])
    return chance


class Echo:
    """A sampler that answers every prefix with its own index, and counts who asked what."""

    provenance = "text_refeed"

    def __init__(self) -> None:
        self.asked: list[tuple[Any, int]] = []

    def continuations(self, batch: Batch, prefixes: Any, k: int, rng: np.random.Generator, *, axis: str = "prefix") -> Asked:
        self.asked.append((np.asarray(prefixes), k))
        return Asked(np.repeat(np.asarray(prefixes, dtype=np.float64)[:, None], k, axis=1), Bill(generated=float(k)))

    def branch(self, batch: Batch, prefixes: Any, rng: np.random.Generator) -> Any:
        raise NotImplementedError


def echo(batch: Batch) -> Echo:
    """What ``--env FILE.py:echo`` calls."""
    return Echo()
