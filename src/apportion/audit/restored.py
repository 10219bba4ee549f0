"""Continuations in an environment of the user's own, from places that are had again by a snapshot or by replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..batch import Batch
from ..bench.tabular import Float, Int
from ..edges.word_pieces import word_ids
from ..errors import BenchError, OptionError
from ..evidence import Asked, Bill
from ..words import Axis, Provenance, Unit
from .environment import Environment, Episode, Policy, act, can, steps_of, taken


class EnvironmentSampler:
    """Goes on from prefixes of episodes; see :class:`apportion.evidence.Sampler`. Trajectories are found by their id.

    Where every episode has snapshots they are loaded ("exact"); else the environment is reset and told the same actions,
    and every observation on the way is compared with the recorded one ("replayed").
    """

    provenance: Provenance = "exact_restore"

    def __init__(self, env: Environment, policy: Policy, episodes: Sequence[Episode]) -> None:
        self.env: Any = env
        self.policy, self.episodes = policy, list(episodes)
        self.exact = can(env, "save", "load") and all(len(one.snapshots) >= len(one.actions) for one in episodes)
        self.fresh = can(env, "reseed")

    def continuations(self, batch: Batch, prefixes: Int, k: int, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        if axis != "prefix" and not (axis == "step_prefix" and batch.step_offsets is None):
            raise OptionError(f"this sampler goes on between turns, not from axis={axis!r}")
        owner = batch.within("prefix", "trajectory")[prefixes]
        return self._ask(batch, owner, prefixes - batch.prefix_offsets[owner], k, rng, retake=False)

    def branch(self, batch: Batch, prefixes: Int, rng: np.random.Generator) -> tuple[Batch, Bill]:
        raise OptionError("an environment of your own is asked for continuations; no branches are grown in it")

    def _ask(self, batch: Batch, owner: Int, time: Int, k: int, rng: np.random.Generator, *, retake: bool) -> Asked:
        values: Float = np.empty((owner.size, k))
        bill = np.zeros(2)
        names = batch.trajectory.to_list()
        for i, (row, t) in enumerate(zip(owner.tolist(), time.tolist(), strict=True)):
            one = self.episodes[int(names[row])]
            if t >= len(one.actions):
                raise OptionError("a sampler was asked to continue a finished trajectory: leave the last prefix out")
            for j in range(k):
                values[i, j] = self._go_on(one, t, rng, retake, bill)
        return Asked(values, Bill(generated=float(bill[0]), env_steps=float(bill[1])))

    def _go_on(self, one: Episode, t: int, rng: np.random.Generator, retake: bool, bill: Any) -> float:
        bill[1] += self.restore(one, t)
        if self.fresh:
            self.env.reseed(int(rng.integers(2**31)))
        history, total, done, count = one.history(t), 0.0, False, t
        while not done and count < steps_of(self.env):
            again = retake and count == t
            action = one.actions[t] if again else act(self.policy, history, rng)
            seen, reward, done = taken(self.env, action)
            history = [*history, action, seen]
            bill += (0 if again else len(word_ids(action)), 1)
            total, count = total + reward, count + 1
        return total

    def restore(self, one: Episode, t: int) -> int:
        """Bring the environment to the place after ``t`` actions; how many steps that took."""
        if self.exact:
            self.env.load(one.snapshots[t])
            return 0
        seen = self.env.reset(one.prompt)
        if self.fresh and one.dice is not None:
            self.env.reseed(one.dice)
        for s in range(t + 1):
            if seen != one.observations[s]:
                raise BenchError(
                    f"prompt {one.prompt!r}: after {s} actions replay shows {seen!r:.60}, the rollout had "
                    f"{one.observations[s]!r:.60}; it cannot be replayed: seed all dice in reset, or offer save and load"
                )
            if s < t:
                seen, _, _ = taken(self.env, one.actions[s])
        return t


class DicedSampler(EnvironmentSampler):
    """One whose dice can be thrown anew, so that an action can be taken again and answered afresh."""

    def after_action(self, batch: Batch, units: Int, k: int, rng: np.random.Generator, *, level: Unit) -> Asked:
        owner = batch.within("turn", "trajectory")[units]
        return self._ask(batch, owner, units - np.searchsorted(batch.within("turn", "trajectory"), owner), k, rng, retake=True)


def sampler(env: Environment, policy: Policy, episodes: Sequence[Episode]) -> EnvironmentSampler:
    """The sampler for what the environment can do."""
    return (DicedSampler if can(env, "reseed") else EnvironmentSampler)(env, policy, episodes)


class Trial(NamedTuple):
    """places: prefixes had again. same: those whose next recorded action, taken again twice, was answered as in the rollout."""

    places: int
    same: int


def verify(made: EnvironmentSampler, places: Sequence[tuple[int, int]]) -> Trial:
    """Have every place (episode, actions before it) again, and take the recorded action there; twice, to find out snapshots
    that the first continuation spoils.

    A replay that shows anything but the recorded observations raises. Snapshots show nothing until the next step, and
    with dice that they do not hold its answer may rightly be another: those are counted, and for the reader to judge.
    """
    same = 0
    for number, t in places:
        one, answers = made.episodes[number], set()
        for _ in range(2):
            made.restore(one, t)
            answers.add(taken(made.env, one.actions[t])[0])
        same += answers == {one.observations[t + 1]}
    return Trial(len(places), same)
