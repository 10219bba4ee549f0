"""Live sources that answer questions about a batch, and the evidence they leave behind.

A source is asked by a method's ``collect``; what it answers is recorded as :class:`Evidence`, which
a method reads without ever seeing the source. Every source counts its own cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..batch import Batch
from ..errors import OptionError
from ..words import Axis, Provenance
from .bill import Bill
from .rubrics import Rubric

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Recorded answers, by the name of the method argument they feed.

    ``axis[name]`` says what each array is keyed by. NaN means "not asked" (null is not zero).
    ``batch`` is set when collecting made a new batch (branches, edits, fresh actions); the arrays
    are then keyed to it. ``provenance`` is the weakest way in which any of it was obtained.
    """

    arrays: Mapping[str, Array] = field(default_factory=dict)
    axis: Mapping[str, Axis] = field(default_factory=dict)
    bill: Bill = Bill()
    provenance: Provenance = "recorded"
    batch: Batch | None = None
    diagnostics: Mapping[str, float] = field(default_factory=dict)

    def check(self, batch: Batch) -> None:
        """Refuse arrays whose length does not fit the batch they are keyed to."""
        home = self.batch if self.batch is not None else batch
        for name, array in self.arrays.items():
            check_length(name, array, home, self.axis[name])


def check_length(name: str, array: Array, batch: Batch, axis: Axis) -> None:
    """Refuse evidence that is not keyed to ``batch``; infinite values are refused by index."""
    expected = batch.count(axis)
    if array.shape[:1] != (expected,):
        raise OptionError(
            f"evidence '{name}' has {array.shape[0] if array.ndim else 'no'} entries, expected {expected}: one per {axis}"
        )
    if array.dtype.kind == "f" and np.isinf(array).any():
        i = int(np.argmax(np.isinf(array).reshape(expected, -1).any(1)))
        raise OptionError(f"evidence '{name}'[{i}] is infinite: expected finite values per {axis} (NaN = not asked)")


@dataclass(frozen=True)
class Asked:
    """An answer with its bill: ``values`` is keyed as the question was."""

    values: Array
    bill: Bill


@runtime_checkable
class Sampler(Protocol):
    """Runs the current policy again from a prefix of the batch, with its usual sampling settings."""

    provenance: Provenance

    def continuations(self, batch: Batch, prefixes: Array, k: int, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        """Reward that ``k`` fresh continuations earn after each prefix, shape (len(prefixes), k).

        ``prefixes`` are indices on ``axis``; a source for whole turns need not take
        axis="step_prefix", which is passed only for batches whose steps are finer than turns, nor
        axis="token": the state before a policy token, the rest of its turn to be written anew. NaN
        where a continuation came back with nothing; one that was cut off counts as the source says.
        """
        ...

    def branch(self, batch: Batch, prefixes: Array, rng: np.random.Generator) -> tuple[Batch, Bill]:
        """``batch`` with one new trajectory per prefix appended, in that order.

        Each holds the turns before its prefix (same columns, ``node`` and ``parent``), then fresh
        ones to the end, with node numbers nobody else has. Group, rewards, and every column that
        the batch has (log-probs above all) are filled in for the new turns.
        """
        ...


@runtime_checkable
class Replayer(Protocol):
    """A sampler that can also run whole rollouts again; ask ``isinstance(sampler, Replayer)``."""

    def replay(self, batch: Batch, fresh: Array, k: int, rng: np.random.Generator) -> Asked:
        """Reward of each episode (trajectory, where there are none) run again, shape (episodes, k).

        ``fresh``: bool per choice (step, or turn where steps are not given). Those choices are
        drawn anew from the policy, all others are made as they were, whatever they now lead to.
        """
        ...

    def greedy(self, batch: Batch, rng: np.random.Generator) -> Asked:
        """Reward of one rollout per group with the likeliest action at every choice, shape (groups,)."""
        ...


@runtime_checkable
class Actor(Protocol):
    """A sampler that can also act where nothing is executed; ask ``isinstance(sampler, Actor)``."""

    def actions(self, batch: Batch, prefixes: Array, k: int, rng: np.random.Generator) -> tuple[Batch, Bill]:
        """``k`` fresh actions of the policy after each prefix, in that order; the environment takes no step.

        One trajectory of one turn each: all that stands before the prefix as observation tokens, then the
        action. Groups are the prefixes, named "<trajectory>@<turns before it>". Columns of tokens that
        the batch has are filled in for the actions and are 0 in the context; there are no rewards.
        """
        ...


@dataclass(frozen=True)
class Intervention:
    """What an editor found: ``step`` per rollout (float), the first wrong one from 0, -1 where it found none, NaN where
    its answer could not be read. ``edited`` holds, in order, one trajectory for each rollout whose step is 0 or more: the
    steps before it, the corrected one, nothing after (None if there is none). ``leaks``: the corrected step gives
    the final answer away, per rollout.
    """

    step: Array
    edited: Batch | None
    leaks: Array
    bill: Bill


@runtime_checkable
class Editor(Protocol):
    """A sampler that can also find the first wrong step of a rollout and mend it; ask ``isinstance(sampler, Editor)``."""

    def intervene(self, batch: Batch, rng: np.random.Generator) -> Intervention:
        """Where each rollout of ``batch`` first goes wrong, and that step put right.

        Usually the policy itself, shown a reference solution: privileged. Its sampler continues ``edited`` as it
        does any batch, so trajectories bear ids of their own there; group and columns of tokens are filled in.
        """
        ...


@runtime_checkable
class Policy(Protocol):
    """Scores tokens the policy already wrote, possibly under an altered context."""

    provenance: Provenance

    def logp(self, batch: Batch, rng: np.random.Generator, *, hindsight: Sequence[str | None] | None = None) -> Asked:
        """Log-probability of every token, shape (T,), 0 on observation tokens.

        ``hindsight`` holds one text per trajectory, put before each of its action slots.
        """
        ...


@runtime_checkable
class Answerer(Protocol):
    """A policy that can also say how likely the right answer is; ask ``isinstance(policy, Answerer)``."""

    def answer_logp(self, batch: Batch, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        """Mean log-probability per token of the reference answer, forced after each prefix.

        Shape (count of ``axis``,): "prefix", or "step_prefix" where steps are finer than turns.
        Privileged: the policy does not know the reference when it acts.
        """
        ...


@runtime_checkable
class Judge(Protocol):
    """Scores units of a batch with a process reward model or a language model."""

    provenance: Provenance

    def score(self, batch: Batch, unit: Axis, rng: np.random.Generator, *, rubric: Rubric | None = None) -> Asked:
        """One score per unit; NaN where the answer could not be parsed.

        With a rubric one of its levels; without, a process reward in [-1, 1].
        """
        ...


@runtime_checkable
class Author(Protocol):
    """A language model that is asked to write: at set-up, a function of few lines, or which of several is best.

    What it writes is read as data (:mod:`apportion.edges.expressions`) and never run.
    """

    provenance: Provenance

    def write(self, request: str, rng: np.random.Generator) -> tuple[str, Bill]:
        """The answer to one request, which holds all it needs to know, and what that cost."""
        ...


@runtime_checkable
class Learned(Protocol):
    """What ``fit`` returns: frozen, serialisable, and able to leave evidence on a batch."""

    bill: Bill

    def evidence(self, batch: Batch) -> Evidence: ...

    def save(self) -> dict[str, Array]:
        """Plain arrays from which the object can be rebuilt (``type(x).load(x.save())``)."""
        ...


#: Keyword of :func:`apportion.assign` -> the protocol a source must satisfy.
SOURCES: dict[str, Any] = {"sampler": Sampler, "policy": Policy, "judge": Judge, "author": Author}
