"""A simulated editor that looks at the truth: it finds the step that cost most, and writes the best one instead."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..evidence import Asked, Bill, Intervention
from ..words import Axis
from .layouts import rows_of, situation, to_batch
from .oracle import oracle, truth
from .replay import Replay
from .samplers import TabularSampler
from .sources import frozen_uniform
from .tabular import Float, Int
from .world import Rollouts


class SimulatedEditor(TabularSampler):
    """Names the step with the greatest fall V(s) - Q(s, a), the first of equals, and writes the best other action there.

    With chance 1 - accuracy a rollout is misread for good (frozen per text): the step named is another one of it,
    drawn evenly. A share ``unreadable`` of the texts gets an answer without a step. It finds no error where no
    step lost anything. A corrected last step gives the answer away. Reads every token of what it is shown, and
    writes the words of one step; continuations are the sampler's own. For tasks of layout "steps".
    """

    def __init__(
        self, rollouts: Rollouts, accuracy: float = 1.0, unreadable: float = 0.0, replay: Replay = "exact",
        replay_noise: float = 0.0,
    ) -> None:  # fmt: skip
        for name, share in (("accuracy", accuracy), ("unreadable", unreadable)):
            if not 0 <= share <= 1:
                raise OptionError(f"{name} = {share}: expected a share between 0 and 1")
        if rollouts.task.layout != "steps":
            raise OptionError(f"steps are edited; {rollouts.task.id} has layout {rollouts.task.layout!r}")
        super().__init__(rollouts, replay, replay_noise)
        self.provenance = "oracle"
        self.accuracy, self.unreadable = accuracy, unreadable
        self._edited = rollouts  # those of ``rollouts`` first: what was edited is no rollout of the policy

    def continuations(self, batch: Batch, prefixes: Int, k: int, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        return TabularSampler(self._edited, self.restore.mode, self.restore.noise).continuations(
            batch, prefixes, k, rng, axis=axis
        )

    def intervene(self, batch: Batch, rng: np.random.Generator) -> Intervention:
        task, T = self.rollouts.task, self.rollouts.task.horizon
        prompt, time, state, action = (x.reshape(-1, T) for x in situation(self.rollouts, batch))
        with oracle():
            table = truth(task, self.rollouts.theta)
            q, fall = table.seen[prompt, time, state], -table.A[prompt, time, state, action]
        n = np.arange(prompt.shape[0])
        at = fall.argmax(axis=1)
        text = (prompt[:, 0], *action.T)
        misread = frozen_uniform(*text) >= self.accuracy
        other = (at + 1 + (frozen_uniform(*text, np.int64(1)) * (T - 1)).astype(np.int64)) % T
        at = np.where(misread, other, at)
        step: Float = np.where(fall.max(axis=1) <= 1e-9, -1.0, at)
        step[frozen_uniform(*text, np.int64(2)) < self.unreadable] = np.nan
        q[n, at, action[n, at]] = -np.inf  # something else than what was done
        better = q[n, at].argmax(axis=1)
        edit = np.flatnonzero(step >= 0)
        bill = Bill(scored=float(batch.n_tokens), generated=float(edit.size * (task.words.shape[1] + 2)))
        edited = self._write(batch, edit, at[edit], better[edit], rng) if edit.size else None
        return Intervention(step, edited, at == T - 1, bill)

    def _write(self, batch: Batch, edit: Int, at: Int, better: Int, rng: np.random.Generator) -> Batch:
        """Rollouts ``edit`` of the batch up to step ``at``, which is ``better``; remembered, so that they can go on."""
        r, task, j = self.rollouts, self.rollouts.task, np.arange(edit.size)
        row = rows_of(task, batch)[edit]
        states, actions, prompt = r.states[row], r.actions[row], r.prompt[row]
        actions[j, at] = better
        reach = np.cumsum(task.kernels[task.kernel_of[prompt, at], states[j, at], better], axis=1)
        states[j, at + 1] = np.minimum((rng.random((edit.size, 1)) >= reach).sum(axis=1), reach.shape[1] - 1)
        held = self._edited
        made = Rollouts(task, r.theta, states, actions, prompt, r.group[row], np.zeros(edit.size))
        self._edited = Rollouts(
            task, r.theta, np.concatenate([held.states, states]), np.concatenate([held.actions, actions]),
            np.concatenate([held.prompt, prompt]), np.concatenate([held.group, made.group]),
            np.concatenate([held.reward, made.reward]),
        )  # fmt: skip
        whole = to_batch(made, logp=batch.logp is not None, reference=batch.ref_logp is not None)
        step = whole.within("token", "step")
        kept = np.flatnonzero(step % task.horizon <= at[step // task.horizon])
        width = whole.n_tokens // whole.n_steps
        columns = {
            name: getattr(whole, name)[kept]
            for name, about in Batch.columns().items()
            if about["axis"] == "token" and getattr(whole, name) is not None
        }
        named = whole.trajectory if batch.group is None else batch.group.take(edit)
        return Batch.from_turns(
            [[width * (t + 1)] for t in at.tolist()], steps=[[width] * (t + 1) for t in at.tolist()], action=whole.action[kept],
            trajectory=np.arange(held.reward.size, held.reward.size + edit.size), group=named, limit=batch.limit, **columns,
        )  # fmt: skip
