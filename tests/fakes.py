"""Small deterministic live sources for tests: they follow the protocols and know nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apportion.batch import Batch
from apportion.evidence import Asked, Bill, Intervention, Rubric
from apportion.ids import Codes
from apportion.words import Axis, Provenance

Array = NDArray[Any]


@dataclass
class FakeSampler:
    """Continuations worth ``answer(prefix)`` (default: coin flips), branches of ``turns`` more turns.

    ``asked`` holds the prefixes of every call; a continuation costs 10 tokens, a branch 2 a turn.
    """

    answer: Callable[[int], Sequence[float]] | None = None
    turns: int = 2
    outcomes: Sequence[float] = ()
    provenance: Provenance = "exact_restore"
    asked: list[tuple[str, list[int]]] = field(default_factory=list)

    def continuations(self, batch: Batch, prefixes: Array, k: int, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        assert prefixes.min() >= 0
        assert prefixes.max() < batch.count(axis)
        self.asked.append((axis, prefixes.tolist()))
        if self.answer is None:
            values = rng.integers(0, 2, (prefixes.size, k)).astype(np.float64)
        else:
            values = np.array([self.answer(p) for p in prefixes.tolist()], dtype=np.float64)
        return Asked(values, Bill(generated=10.0 * k * prefixes.size))

    def branch(self, batch: Batch, prefixes: Array, rng: np.random.Generator) -> tuple[Batch, Bill]:
        self.asked.append(("prefix", prefixes.tolist()))
        owner = batch.within("prefix", "trajectory")[prefixes]
        kept = prefixes - batch.prefix_offsets[owner]
        lengths = np.diff(batch.turn_offsets)
        first, stop = batch.trajectory_turns[:-1], batch.trajectory_turns[1:]
        nested = [lengths[a:b].tolist() for a, b in zip(first, stop, strict=True)]
        nested += [lengths[first[i] : first[i] + n].tolist() + [2] * self.turns for i, n in zip(owner, kept, strict=True)]
        columns = {name: self._column(batch, name, owner, kept, rng) for name in ("action", *batch.present) if name != "group"}
        names = [*batch.trajectory.to_list(), *(f"branch {batch.n_trajectories + j}" for j in range(prefixes.size))]
        group = None if batch.group is None else Codes.of(batch.group.to_list() + [batch.group.name(int(i)) for i in owner])
        new = Batch.from_turns(nested, trajectory=names, group=group, **columns)
        return new, Bill(generated=2.0 * self.turns * prefixes.size)

    def replay(self, batch: Batch, fresh: Array, k: int, rng: np.random.Generator) -> Asked:
        """Coin flips; a choice drawn anew costs 10 tokens, and an episode without one costs nothing."""
        self.asked.append(("step", np.flatnonzero(fresh).tolist()))
        values = rng.integers(0, 2, (batch.count("episode"), k)).astype(np.float64)
        return Asked(values, Bill(generated=10.0 * k * float(fresh.sum())))

    def greedy(self, batch: Batch, rng: np.random.Generator) -> Asked:
        """Coin flips, 10 tokens each."""
        values = rng.integers(0, 2, batch.count("group")).astype(np.float64)
        return Asked(values, Bill(generated=10.0 * values.size))

    def actions(self, batch: Batch, prefixes: Array, k: int, rng: np.random.Generator) -> tuple[Batch, Bill]:
        """Actions of two tokens after as many of context as turns stand before; a token costs 1."""
        self.asked.append(("prefix", prefixes.tolist()))
        owner = batch.within("prefix", "trajectory")[prefixes]
        before = prefixes - batch.prefix_offsets[owner]
        lengths = np.repeat(before, k) + 2
        ends = np.cumsum(lengths)
        action = np.zeros(ends[-1], dtype=np.bool_)
        action[ends - 1] = action[ends - 2] = True
        drawn = -rng.exponential(1.0, action.size) * action
        columns = {name: drawn for name in ("logp", "ref_logp") if getattr(batch, name) is not None}
        group = [f"{batch.trajectory.name(int(i))}@{n}" for i, n in zip(owner, before, strict=True) for _ in range(k)]
        ids = rng.integers(0, 6, action.size)
        new = Batch.from_turns(lengths[:, None].tolist(), action=action, ids=ids, group=group, **columns)
        return new, Bill(generated=2.0 * k * prefixes.size)

    def intervene(self, batch: Batch, rng: np.random.Generator) -> Intervention:
        """A wrong step anywhere in each rollout and two tokens in its place; reading costs a token each, writing 2."""
        self.asked.append(("trajectory", list(range(batch.n_trajectories))))
        owner = batch.within("step", "trajectory")
        step = np.floor(rng.random(batch.n_trajectories) * np.bincount(owner))
        length = np.diff(batch.offsets("step"))
        lengths = [[*length[owner == i][: int(t)].tolist(), 2] for i, t in enumerate(step)]
        parts: dict[str, Any] = {} if batch.step_offsets is None else {"steps": lengths}
        turns = lengths if batch.step_offsets is None else [[sum(x)] for x in lengths]
        names = [f"edited {name}" for name in batch.trajectory.to_list()]
        edited = Batch.from_turns(turns, trajectory=names, group=batch.group, **parts)
        bill = Bill(generated=2.0 * step.size, scored=float(batch.n_tokens))
        return Intervention(step, edited, np.zeros(step.size, dtype=bool), bill)

    def _column(self, batch: Batch, name: str, owner: Array, kept: Array, rng: np.random.Generator) -> list[Any]:
        axis = "token" if name == "action" else batch.columns()[name]["axis"]
        held = getattr(batch, name)
        old: list[Any] = held.to_list() if isinstance(held, Codes) else list(held)
        new: list[Any] = []
        for j, (i, n) in enumerate(zip(owner.tolist(), kept.tolist(), strict=True)):
            turn = int(batch.trajectory_turns[i])
            if axis == "trajectory":
                new.append(self._outcome(rng) if name == "outcome" else old[i])
            elif axis == "turn":
                node = int(batch.need("node").max()) + 1 + j * self.turns
                fresh = np.arange(node, node + self.turns)
                above = int(batch.need("node")[turn + n - 1]) if n else -1
                made = {"node": fresh.tolist(), "parent": [above, *fresh[:-1].tolist()]}
                new += old[turn : turn + n] + made.get(name, [None if name == "text" else 0.0] * self.turns)
            elif axis == "prefix":
                at = int(batch.prefix_offsets[i])
                new += old[at : at + n + 1] + [f"fresh {rng.integers(3)}" for _ in range(self.turns)]
            elif axis == "token":
                a, b = batch.turn_offsets[turn], batch.turn_offsets[turn + n]
                new += old[a:b] + self._tokens(name, 2 * self.turns, rng)
            else:
                raise NotImplementedError(f"fake branches have no {axis} columns")
        return old + new

    def _tokens(self, name: str, n: int, rng: np.random.Generator) -> list[Any]:
        if name == "action":
            return [True] * n
        if name == "ids":
            return list(rng.integers(0, 50, n).tolist())
        return list((-rng.exponential(1.0, n) if "logp" in name else np.zeros(n)).tolist())

    def _outcome(self, rng: np.random.Generator) -> float:
        drawn = float(rng.integers(2))
        if not self.outcomes:
            return drawn
        reward, *rest = self.outcomes
        self.outcomes = rest
        return reward


@dataclass
class FakePolicy:
    """Every policy token has log-probability -1, or -1/2 where hindsight was given."""

    provenance: Provenance = "text_refeed"
    seen: list[Sequence[str | None] | None] = field(default_factory=list)

    def logp(self, batch: Batch, rng: np.random.Generator, *, hindsight: Sequence[str | None] | None = None) -> Asked:
        self.seen.append(hindsight)
        told = np.array([t is not None for t in hindsight or [None] * batch.n_trajectories])
        values = np.where(told[batch.within("token", "trajectory")], -0.5, -1.0) * batch.action
        return Asked(values, Bill(scored=float(batch.n_tokens)))

    def answer_logp(self, batch: Batch, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        self.seen.append([axis])
        return Asked(-rng.exponential(1.0, batch.count(axis)), Bill(scored=float(batch.n_tokens)))


@dataclass
class FakeJudge:
    """Scores drawn from ``rng``, uniform in [-1, 1] or levels of the rubric; the units in ``mute`` get no answer."""

    mute: Sequence[int] = ()
    provenance: Provenance = "model_judgement"

    def score(self, batch: Batch, unit: Axis, rng: np.random.Generator, *, rubric: Rubric | None = None) -> Asked:
        n = batch.count(unit)
        values = rng.uniform(-1, 1, n) if rubric is None else rng.choice(rubric.levels, n)
        values[list(self.mute)] = np.nan
        return Asked(values, Bill(judge_calls=float(values.size)))


@dataclass
class FakeAuthor:
    """Gives these answers one after the other, the last one for ever; by default a program both kinds of request accept.

    ``asked`` holds the requests. An answer costs a call.
    """

    answers: Sequence[str] = ()
    provenance: Provenance = "model_judgement"
    asked: list[str] = field(default_factory=list)

    def write(self, request: str, rng: np.random.Generator) -> tuple[str, Bill]:
        self.asked.append(request)
        answers = self.answers or ("```python\nreturn mean(q)\n```" if "- q:" in request else "[seen, written, position]",)
        return answers[min(len(self.asked), len(answers)) - 1], Bill(judge_calls=1.0)
