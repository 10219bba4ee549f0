"""The checkpoint that training starts from: a transformer that has learned to write as the rollouts it has read.

It reads rollouts of the task's own starting policy and learns to predict the words that were written, with and
without the outcome said before them, and how the rollout ended from any text along the way. So it starts with that
policy's tastes, and can do what a language model brings from its pretraining: say how likely its words are once the
outcome is known, and how likely success is. All of it is learned from samples; it sees no truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tabular import Float, Int, Task
from ..world import observe, roll
from .model import initial, logits, one_thread
from .table import Reader
from .text import ACT, ANSWER, FAILURE, SUCCESS, Vocabulary, with_cue


@dataclass(frozen=True)
class Reading:
    """How the first checkpoint is made: rollouts read, steps of Adam over all of them, its first rate, seed."""

    rollouts: int = 32_768
    steps: int = 320
    rate: float = 0.01
    seed: int = 0


def first_checkpoint(base: Task, window: int, reader: Reader, vocabulary: Vocabulary, reading: Reading) -> Float:
    """Parameters (n,) after reading rollouts of ``base``.

    Equal texts are read once, with the shares of what followed them: each step is over all that was read.
    """
    import torch

    rng = np.random.default_rng(reading.seed)
    r = roll(base, base.start_theta, reading.rollouts, 1, rng)
    texts = rollout_texts(base, window, vocabulary, r.prompt, r.states, r.actions)
    width, T = texts.shape[2], base.horizon
    ended = np.where(r.reward > 0, SUCCESS, FAILURE)
    seen = texts[:, :T].reshape(-1, width)
    told = seen.copy()
    told[:, -1] = np.repeat(ended, T)
    acts, chosen = _shares(np.concatenate([seen, told]), np.tile(r.actions.ravel(), 2), base.actions)
    asked = with_cue(texts.reshape(-1, width), ANSWER)
    ends, happened = _shares(asked, np.repeat(ended - SUCCESS, T + 1), FAILURE - SUCCESS + 1)
    with one_thread():
        flat = torch.from_numpy(initial(reader.shape, reading.seed).astype(np.float32)).requires_grad_(True)
        adam = torch.optim.Adam([flat], lr=reading.rate, betas=(0.9, 0.99))
        weights = [torch.from_numpy(x.astype(np.float32)) for x in (chosen, happened)]
        for step in range(reading.steps):
            adam.param_groups[0]["lr"] = reading.rate * (1.0 - step / reading.steps)
            words = (weights[0] * reader.log_policy(flat, acts, legal=False)).sum()
            answers = logits(reader.shape, flat, torch.from_numpy(ends), 1)[:, 0].log_softmax(dim=1)
            loss = -words - (weights[1] * answers[:, SUCCESS : FAILURE + 1]).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
    found: Float = flat.detach().numpy().astype(np.float64)
    return found


def _shares(texts: Int, followed: Int, kinds: int) -> tuple[Int, Any]:
    """Each different text once, and the share of all texts that are this one, followed by each kind, (n, kinds)."""
    once, index = np.unique(texts, axis=0, return_inverse=True)
    count = np.bincount(index.ravel() * kinds + followed, minlength=len(once) * kinds)
    return once, count.reshape(-1, kinds) / len(texts)


def rollout_texts(base: Task, window: int, vocabulary: Vocabulary, prompt: Int, states: Int, actions: Int) -> Int:
    """What the policy reads before each choice of rollouts of ``base`` and at their end, (n, T + 1, length)."""
    n, T = actions.shape
    looks = observe(base, prompt, states) % base.looks
    past = np.full((n, window), -1)
    seen, done = np.concatenate([past, looks], axis=1), np.concatenate([past, actions], axis=1)
    return np.stack(
        [
            vocabulary.context(prompt, np.full(n, t), looks[:, t], seen[:, t : t + window], done[:, t : t + window], ACT)
            for t in range(T + 1)
        ],
        axis=1,
    )
