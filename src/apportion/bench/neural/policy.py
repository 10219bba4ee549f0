"""What a method may ask of the transformer itself: no truth, only what the model says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ...evidence import Asked, Bill
from ...words import Axis, Provenance
from ..layouts import choices, place, situation
from ..world import Rollouts
from .task import NeuralTask
from .text import ACT, ANSWER, SUCCESS, told, with_cue


class TransformerPolicy:
    """The policy that made the rollouts, asked again; see :class:`apportion.evidence.Policy` and ``Answerer``.

    ``logp`` with hindsight puts the outcome's word where the cue to act stands, just before the action: the first
    word of the text that the model knows, "success" or "failure"; a text without either changes nothing.
    ``answer_logp`` is the log-probability that the model, asked how the rollout ends, says "success".
    """

    provenance: Provenance = "model_judgement"

    def __init__(self, rollouts: Rollouts) -> None:
        if not isinstance(rollouts.task, NeuralTask):
            raise OptionError(f"task {rollouts.task.id} has no model to ask: take neural/{rollouts.task.id}")
        self.rollouts, self.task = rollouts, rollouts.task

    def logp(self, batch: Batch, rng: np.random.Generator, *, hindsight: Sequence[str | None] | None = None) -> Asked:
        task, theta = self.task, self.rollouts.theta
        cues = np.asarray([told(text) for text in hindsight or [None] * batch.n_trajectories])
        prompt, time, state, action = situation(self.rollouts, batch)
        at = choices(task, batch)
        context, cue = task.context[prompt, time, state], cues[batch.within(at.level, "trajectory")]
        L = task.words.shape[1]
        values = np.zeros(batch.n_tokens)
        for which in np.unique(cue):
            pi = task.policy(theta) if which == ACT else task.reader.table(theta, with_cue(task.texts, int(which)))
            here = cue == which
            slots = at.first[here][:, None] + np.arange(L)
            values[slots.ravel()] = task.token_probabilities(pi)[0][context[here], action[here]].ravel()
        return Asked(values, Bill(scored=float(batch.n_tokens)))

    def answer_logp(self, batch: Batch, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        r, task = self.rollouts, self.task
        row, time = place(task, batch, axis)
        prompt, state, T = r.prompt[row], r.states[row, time], task.horizon
        said = [task.reader.token(r.theta, with_cue(texts, ANSWER), SUCCESS) for texts in (task.texts, task.ends)]
        middle = said[0][task.context[prompt, np.minimum(time, T - 1), state]]
        values = np.where(time < T, middle, said[1][task.end[prompt, state]])
        return Asked(np.minimum(values, 0.0), Bill(scored=float(batch.n_tokens)))
