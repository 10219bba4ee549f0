"""Simulated sources that look at the truth: every row that asks one is labelled oracle.

Their errors are frozen per text: the same text is misjudged the same way every time it is shown,
because errors drawn anew average away and flatter whoever asks often.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Asked, Bill
from ..words import Axis, Provenance
from .oracle import oracle, truth
from .tabular import Float, Int
from .world import Rollouts, actions_of


def exact_credit(rollouts: Rollouts, batch: Batch) -> Credit:
    """The exact advantage A(h, a) of every turn, given what the policy saw."""
    with oracle():
        table = truth(rollouts.task, rollouts.theta).A
    return Credit.of(batch, "turn", table[situation(rollouts, batch)], method="exact")


def situation(rollouts: Rollouts, batch: Batch) -> tuple[Int, Int, Int, Int]:
    """Prompt, turn, latent state and action of every turn of the batch: indices into truth."""
    row = np.asarray([int(batch.trajectory.name(i)) for i in range(batch.n_trajectories)], dtype=np.int64)
    row = row[batch.within("turn", "trajectory")]
    time = batch.turn_index
    return rollouts.prompt[row], time, rollouts.states[row, time], rollouts.actions[row, time]


def frozen_uniform(*keys: Int) -> Float:
    """One number in [0, 1) per item, the same whenever the keys are the same."""
    z = np.zeros(np.broadcast(*keys).shape, dtype=np.uint64)
    for key in keys:
        z = (z ^ np.asarray(key).astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    uniform: Float = (z >> np.uint64(11)).astype(np.float64) / 2.0**53
    return uniform


class SimulatedJudge:
    """A process reward 2 P(success | step taken) - 1, wrong with a declared frequency.

    With chance 1 - accuracy a text (the observation and the action) is misjudged for good: its
    score is that of another action in the same place. One judge call a unit.
    """

    provenance: Provenance = "oracle"

    def __init__(self, rollouts: Rollouts, accuracy: float = 1.0) -> None:
        if not 0 <= accuracy <= 1:
            raise OptionError(f"accuracy = {accuracy}: expected a share between 0 and 1")
        self.rollouts, self.accuracy = rollouts, accuracy

    def score(self, batch: Batch, unit: Axis, rng: np.random.Generator) -> Asked:
        task = self.rollouts.task
        with oracle():
            q = truth(task, self.rollouts.theta).seen
        prompt, time, state, action = situation(self.rollouts, batch)
        seen = task.observation[prompt, time, state]
        wrong = frozen_uniform(seen, action) >= self.accuracy
        other = (action + 1 + (frozen_uniform(action, seen) * (task.actions - 1)).astype(np.int64)) % task.actions
        score = 2.0 * q[prompt, time, state, np.where(wrong, other, action)] - 1.0
        return Asked(score, Bill(judge_calls=float(score.size)))


class SimulatedHindsight:
    """log pi(a | s, outcome): the exact conditional, mixed with the policy.

    skill 1 is the exact posterior pi(a | s) P(outcome | s, a) / P(outcome | s); skill 0 the policy
    itself. A turn's tokens share its change in proportion to their own log-probability, so that none
    becomes positive. Scores every token of the batch once.
    """

    provenance: Provenance = "oracle"

    def __init__(self, rollouts: Rollouts, skill: float = 1.0) -> None:
        if not 0 <= skill <= 1:
            raise OptionError(f"skill = {skill}: expected a share between 0 and 1")
        self.rollouts, self.skill = rollouts, skill

    def logp(self, batch: Batch, rng: np.random.Generator, *, hindsight: Sequence[str | None] | None = None) -> Asked:
        base = batch.need("logp")
        bill = Bill(scored=float(batch.n_tokens))
        if hindsight is None:
            return Asked(base, bill)
        task = self.rollouts.task
        with oracle():
            solved = truth(task, self.rollouts.theta)
            q, pi = solved.seen, solved.pi
        prompt, time, state, action = situation(self.rollouts, batch)
        context, _ = actions_of(task, batch)
        won = (batch.reward > 0)[batch.within("turn", "trajectory")]
        chance = np.where(won[:, None], q[prompt, time, state], 1.0 - q[prompt, time, state])
        prior = pi[context]
        mixed = prior * ((1 - self.skill) + self.skill * chance / np.maximum((prior * chance).sum(1, keepdims=True), 1e-300))
        pick = np.arange(action.size)
        factor = np.log(np.maximum(mixed[pick, action], 1e-300)) / np.minimum(np.log(prior[pick, action]), -1e-12)
        return Asked(np.where(batch.action, base * factor[batch.within("token", "turn")], 0.0), bill)
