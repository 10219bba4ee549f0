"""Continuations in an environment of the user's own, from places that are had again by a snapshot or by replay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..batch import Batch
from ..bench.tabular import Float, Int
from ..edges.word_pieces import word_ids
from ..errors import BenchError, OptionError
from ..evidence import Asked, Bill
from ..words import Axis, Provenance, Unit
from .environment import Environment, Episode, begun, can, steps_of, taken
from .policies import Policy, act


class EnvironmentSampler:
    """Goes on from prefixes of episodes; see :class:`apportion.evidence.Sampler`. Trajectories are found by their id.

    Where every episode has snapshots they are loaded ("exact"); else the environment is reset and told the same actions,
    and every observation and reward on the way is compared with the recorded one ("replayed"). Raises where an episode is
    longer than continuations may become.
    """

    provenance: Provenance = "exact_restore"

    def __init__(self, env: Environment, policy: Policy, episodes: Sequence[Episode]) -> None:
        most, longest = steps_of(env), max((len(one.actions) for one in episodes), default=0)
        for i, one in enumerate(episodes):
            if len(one.actions) > most:
                raise BenchError(
                    f"rollout {i} (prompt {one.prompt!r:.60}) has {len(one.actions)} actions, but continuations end after "
                    f"{most}: set the environment's limit to the most actions of a rollout, at least {longest}"
                )
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
        seen = begun(self.env, one.prompt)
        if seen != one.observations[0]:
            raise _unlike(one, 0, f"shows {seen!r:.60}", f"{one.observations[0]!r:.60}")
        if self.fresh and one.dice is not None:
            self.env.reseed(one.dice)
        earned = 0.0
        for s in range(t):
            earned += self._again(one, s)
        if one.total and t == len(one.actions) and not _close(earned, one.rewards[-1]):
            raise _unlike(one, t, f"earned {earned:g} in all", f"{one.rewards[-1]:g}")
        return t

    def _again(self, one: Episode, s: int) -> float:
        """Take a recorded action of a replay; raises where anything is not as recorded. The reward it earned."""
        seen, reward, done = taken(self.env, one.actions[s])
        last = s + 1 == len(one.actions)
        if seen != one.observations[s + 1]:
            raise _unlike(one, s + 1, f"shows {seen!r:.60}", f"{one.observations[s + 1]!r:.60}")
        if not one.total and not _close(reward, one.rewards[s]):
            raise _unlike(one, s + 1, f"earned {reward:g} with the last of them", f"{one.rewards[s]:g}")
        if one.total and not self.fresh and not last and reward:
            # reward + V after - V before would be without it
            raise BenchError(
                f"prompt {one.prompt!r}: replay earned {reward:g} with action {s + 1}, and the log says only the reward of all; "
                'give "rewards", one an action'
            )
        if done and not last:
            raise _unlike(one, s + 1, "is over", f"{len(one.actions)} actions")
        if last and one.done and not done and len(one.actions) < steps_of(self.env):
            raise _unlike(one, s + 1, "goes on", "ended", "; rollouts that are cut off somewhere need that as the limit")
        return reward


def _close(one: float, other: float) -> bool:
    """The same reward, as far as writing it down keeps it."""
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)


def _unlike(one: Episode, actions: int, replay: str, rollout: str, more: str = "") -> BenchError:
    return BenchError(
        f"prompt {one.prompt!r}: after {actions} actions replay {replay}, the rollout had {rollout}; it cannot be replayed: "
        f"seed all dice in reset, or offer save and load{more}"
    )


class DicedSampler(EnvironmentSampler):
    """One whose dice can be thrown anew, so that an action can be taken again and answered afresh."""

    def after_action(self, batch: Batch, units: Int, k: int, rng: np.random.Generator, *, level: Unit) -> Asked:
        owner = batch.within("turn", "trajectory")[units]
        return self._ask(batch, owner, units - np.searchsorted(batch.within("turn", "trajectory"), owner), k, rng, retake=True)


def sampler(env: Environment, policy: Policy, episodes: Sequence[Episode]) -> EnvironmentSampler:
    """The sampler for what the environment can do."""
    return (DicedSampler if can(env, "reseed") else EnvironmentSampler)(env, policy, episodes)


class Trial(NamedTuple):
    """places: prefixes had again. same: those where the recorded action, taken again twice, was answered as in the rollout.
    unchecked: rollouts whose total reward could not be compared.
    """

    places: int
    same: int
    unchecked: int = 0


def verify(made: EnvironmentSampler, places: Sequence[tuple[int, int]]) -> Trial:
    """Have every place (episode, actions before it) again, and take the recorded action there; twice, to find out snapshots
    that the first continuation spoils.

    Rollouts that are replayed are so to their end: one that shows, earns or ends otherwise than recorded raises. Snapshots
    show nothing until the next step, and with dice that they do not hold, or that nobody recorded, its answer may rightly
    be another: those are counted, and for the reader to judge.
    """
    same, certain, unchecked = 0, dict[int, bool](), 0
    for number in sorted({number for number, _ in places}):
        one = made.episodes[number]
        certain[number] = not made.exact and not (made.fresh and one.dice is None)
        if certain[number]:
            for _ in range(2):
                made.restore(one, len(one.actions))
        else:
            unchecked += one.total
    for number, t in places:
        one = made.episodes[number]
        same += certain[number] or all(_answered(made, one, t) for _ in range(2))
    return Trial(len(places), same, unchecked)


def _answered(made: EnvironmentSampler, one: Episode, t: int) -> bool:
    """Whether the recorded action, taken again at the place after ``t`` actions, is answered as in the rollout."""
    made.restore(one, t)
    seen, reward, _ = taken(made.env, one.actions[t])
    return seen == one.observations[t + 1] and (one.total or _close(reward, one.rewards[t]))
