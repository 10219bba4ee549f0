"""A function that joins the values of agents to that of their team: written once, checked, frozen.

    Q_tot = n f(q_1..q_n, s)          weight_i = dQ_tot / dq_i

f is data (:mod:`apportion.edges.expressions`): one number per joint step, out of every agent's q and features
of what each was shown. What acts together: the turns at the same place of their trajectories in one episode.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from ..batch import Batch
from ..edges.expressions import Expression, ExpressionError, evaluate, parse
from ..structure import Float, Int
from .bill import Bill
from .sources import Array
from .text_features import Vocabulary, described, text_features

#: What an author is told besides the features.
OWN: Mapping[str, str] = {
    "q": "each agent's own value of what it did",
    "agent": "which agent it is: 0, 1, … in the order of their names",
    "agents": "how many agents act in this step",
}
#: The plain sum of the agents' values, as a function that is multiplied by n: value decomposition (VDN).
PLAIN = "mean(q)"
#: Rows and agents of the arrays a function is tried on, as in the released code but for its number of agents.
_TRIED = (60, 3)


@dataclass(frozen=True)
class Mixer:
    """text: of f. vocabulary: words its features count. agents: names, in the order of their numbers. tried and
    refused: answers of the author while it was made, and how many of them were not usable. bill: what that cost."""

    text: str = PLAIN
    vocabulary: Vocabulary = Vocabulary()
    agents: tuple[str, ...] = ()
    tried: int = 0
    refused: int = 0
    bill: Bill = Bill()

    @cached_property
    def expression(self) -> Expression:
        return parse(self.text, names(self.vocabulary), members="agents")

    def total(self, batch: Batch, q: Float) -> tuple[Float, Int]:
        """Q_tot of every joint step, shape (joint steps,), and the joint step of every turn, shape (turns,)."""
        value, of = np.zeros(0), np.zeros(batch.n_turns, dtype=np.int64)
        for turns, given in self._together(batch):
            of[turns] = value.size + np.arange(turns.shape[0])[:, None]
            value = np.append(value, _total(self.expression, given, q[turns]))
        return value, of

    def weights(self, batch: Batch, q: Float) -> Float:
        """dQ_tot/dq_i of every turn, at these values: central differences, exact where f is linear in q."""
        out = np.zeros(batch.n_turns)
        for turns, given in self._together(batch):
            out[turns] = derivative(self.expression, given, q[turns])
        return out

    def _together(self, batch: Batch) -> list[tuple[Int, dict[str, Float]]]:
        """Turns that act together, (rows, n), for every n there is, and what is known of them."""
        wanted = [n for n in self.expression.reads if n not in OWN]
        found = text_features(batch, "turn", wanted)
        found["agent"] = self._numbers(batch)[batch.within("turn", "trajectory")]
        out = []
        for turns in together(batch, found["agent"]):
            given = {n: found[n][turns] for n in (*wanted, "agent")}
            out.append((turns, {**given, "agents": np.full(turns.shape[0], float(turns.shape[1]))}))
        return out

    def _numbers(self, batch: Batch) -> Float:
        """Number of the agent of each trajectory; agents that were not known when it was written come after those."""
        if batch.agent is None:
            return np.zeros(batch.n_trajectories)
        known = {name: i for i, name in enumerate(self.agents)}
        for name in sorted({str(n) for n in batch.agent.names} - set(known)):
            known[name] = len(known)
        number = np.asarray([*(known[str(n)] for n in batch.agent.names), len(known)], dtype=np.float64)
        return np.asarray(number[batch.agent.codes])

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``Mixer.load(x.save())`` is equal to it."""
        return {
            "mixer.text": np.asarray(self.text), "mixer.agents": np.asarray(list(self.agents), dtype=np.str_),
            "mixer.counts": np.asarray([self.tried, self.refused]), "mixer.bill": np.asarray(list(asdict(self.bill).values())),
            **self.vocabulary.save("mixer"),
        }  # fmt: skip

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> Mixer:
        tried, refused = saved["mixer.counts"].tolist()
        agents, bill = tuple(saved["mixer.agents"].tolist()), Bill(*saved["mixer.bill"].tolist())
        return cls(saved["mixer.text"].item(), Vocabulary.load(saved, "mixer"), agents, tried, refused, bill)


def names(vocabulary: Vocabulary) -> tuple[str, ...]:
    """All that a mixing function may read."""
    return (*OWN, *described("turn", vocabulary, done=False))


def mixer_of(written: Mixer | str, batch: Batch) -> Mixer:
    """The mixer itself; or one of your own text, read with the words and the agents of this batch."""
    if isinstance(written, Mixer):
        return written
    vocabulary = Vocabulary(saw=tuple(dict.fromkeys(re.findall(r"\bsaw_(\w+)", written, re.ASCII))))
    checked(written, vocabulary)
    return Mixer(written, vocabulary, agent_names(batch))


def agent_names(batch: Batch) -> tuple[str, ...]:
    """Names of the agents in the order of their numbers."""
    return () if batch.agent is None else tuple(sorted({str(name) for name in batch.agent.names}))


def checked(text: str, vocabulary: Vocabulary, *, monotone: bool = True, rng: np.random.Generator | None = None) -> Expression:
    """The function as read, or an ExpressionError: tried on zeros and on random values, as one number per joint step.

    monotone: refuse one that falls in some agent's q, where the team's best would not be everybody's best.
    """
    expression = parse(text, names(vocabulary), members="agents")
    rng = np.random.default_rng(0) if rng is None else rng
    rows, n = _TRIED
    varied = {name: rng.integers(0, 12, (rows, n)).astype(np.float64) for name in expression.names}
    varied |= {"agent": np.tile(np.arange(n), (rows, 1)).astype(np.float64), "agents": np.full(rows, float(n))}
    zeros = {name: np.zeros_like(x) for name, x in varied.items()} | {"agents": varied["agents"], "agent": varied["agent"]}
    moved = False
    for given, q, what in ((zeros, np.zeros((rows, n)), "on zeros"), (varied, rng.normal(size=(rows, n)), "on random values")):
        (found,) = _tried(expression, {**given, "q": q}, what)
        if found.shape != (rows, 1):
            shape = f"one number per joint step, {(rows, 1)}, not one per agent: sum over them"
            raise ExpressionError(f"{what} of {rows} steps and {n} agents it returns shape {found.shape}: expected {shape}")
        slope = derivative(expression, given, q)
        moved |= bool(np.abs(slope).max() > 1e-9)
        if monotone and slope.min() < -1e-9:
            raise ExpressionError(f"{what} the team's value falls where an agent's q rises (slope {slope.min():.3g})")
    if not moved:
        raise ExpressionError("what it returns does not depend on q: nobody would get any credit")
    return expression


def _tried(expression: Expression, given: Mapping[str, Float], what: str) -> tuple[Float, ...]:
    try:
        return evaluate(expression, given)
    except ExpressionError as error:
        raise ExpressionError(f"{what}, {error.says}") from None


def _total(expression: Expression, given: Mapping[str, Float], q: Float) -> Float:
    """n f, shape (rows,)."""
    (found,) = evaluate(expression, {**given, "q": q})
    if found.shape[1] != 1:
        raise ExpressionError(f"the mixing function returns shape {found.shape}: expected one number per joint step")
    total: Float = q.shape[1] * found[:, 0]
    return total


def derivative(expression: Expression, given: Mapping[str, Float], q: Float) -> Float:
    """dQ_tot/dq of every agent, shape (rows, n)."""
    step = 1e-3 * np.maximum(np.abs(q), 1.0)
    out = np.zeros_like(q)
    for i in range(q.shape[1]):
        up, down = q.copy(), q.copy()
        up[:, i] += step[:, i]
        down[:, i] -= step[:, i]
        out[:, i] = (_total(expression, given, up) - _total(expression, given, down)) / (up[:, i] - down[:, i])
    return out


def together(batch: Batch, number: Float) -> list[Int]:
    """Turns of one episode at the same place of their trajectories, (rows, n), for every n; agents by number."""
    owner, when = batch.within("turn", "trajectory"), batch.turn_index
    joint = batch.within("turn", "episode") * (int(when.max()) + 1) + when
    order = np.lexsort((owner, number, joint))
    first, size = np.unique(joint[order], return_index=True, return_counts=True)[1:]
    return [order[first[size == n][:, None] + np.arange(n)] for n in np.unique(size).tolist()]
