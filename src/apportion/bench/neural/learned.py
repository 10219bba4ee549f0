"""The checkpoint that training starts from: a transformer that has learned to write as the rollouts it has read.

It reads rollouts of the task's own starting policy and learns to predict the words that were written, in half of the
texts with the outcome said before them, and how the rollout ended from any text along the way. So it starts with that
policy's tastes, and can do what a language model brings from its pretraining: say how likely its words are once the
outcome is known, and how likely success is. All of it is learned from samples; it sees no truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tabular import Float, Int, Task
from ..world import observe, roll
from .model import Shape, initial, logits, one_thread
from .text import ACT, ANSWER, FAILURE, SUCCESS, Vocabulary, with_cue


@dataclass(frozen=True)
class Reading:
    """How the first checkpoint is made: rollouts read, steps of Adam, texts a step of each kind, seed."""

    rollouts: int = 4096
    steps: int = 300
    actions: int = 192
    answers: int = 64
    rate: float = 0.01
    seed: int = 0


def first_checkpoint(base: Task, window: int, vocabulary: Vocabulary, shape: Shape, reading: Reading) -> Float:
    """Parameters (n,) after reading rollouts of ``base``."""
    import torch
    from torch.nn import functional

    rng = np.random.default_rng(reading.seed)
    r = roll(base, base.start_theta, reading.rollouts, 1, rng)
    texts = rollout_texts(base, window, vocabulary, r.prompt, r.states, r.actions)
    words = vocabulary.spell(r.actions)
    n, T = r.actions.shape
    L = words.shape[2]
    ended = np.where(r.reward > 0, SUCCESS, FAILURE)
    with one_thread():
        flat = torch.from_numpy(initial(shape, reading.seed).astype(np.float32)).requires_grad_(True)
        adam = torch.optim.Adam([flat], lr=reading.rate, betas=(0.9, 0.99))
        for step in range(reading.steps):
            adam.param_groups[0]["lr"] = reading.rate * (1.0 - step / reading.steps)
            i, t = rng.integers(n, size=reading.actions), rng.integers(T, size=reading.actions)
            said = texts[i, t].copy()
            said[:, -1] = np.where(rng.random(reading.actions) < 0.5, ACT, ended[i])
            whole = np.concatenate([said, words[i, t][:, : L - 1]], axis=1)
            out = logits(shape, flat, torch.from_numpy(whole), L)
            loss = functional.cross_entropy(out.flatten(0, 1), torch.from_numpy(words[i, t].ravel()))
            j, u = rng.integers(n, size=reading.answers), rng.integers(T + 1, size=reading.answers)
            asked = logits(shape, flat, torch.from_numpy(with_cue(texts[j, u], ANSWER)), 1)[:, 0]
            loss = loss + functional.cross_entropy(asked, torch.from_numpy(ended[j]))
            adam.zero_grad()
            loss.backward()
            adam.step()
    found: Float = flat.detach().numpy().astype(np.float64)
    return found


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
