"""Demonstrations of the best policy there is: an entrant that is shown them is an oracle row."""

from __future__ import annotations

from functools import cache

import numpy as np

from ..batch import Batch
from ..ops.markov import backward, forward, sample
from .layouts import to_batch
from .tabular import Float, Task
from .world import Rollouts


def demonstrations(task: Task, rng: np.random.Generator, demonstrations: int = 64) -> Batch:
    """Rollouts of the expert on prompts drawn at random, in the tokens the policy would write."""
    prompt = rng.integers(task.prompts, size=demonstrations)
    start = (rng.random(prompt.size)[:, None] >= np.cumsum(task.start[prompt], axis=1)[:, :-1]).sum(axis=1)
    seeds, time = rng.integers(2**63, size=prompt.size, dtype=np.uint64), np.zeros(prompt.size, dtype=np.int64)
    tables = (task.kernels, task.kernel_of, task.context, expert_policy(task), task.success)
    states, actions, reward = sample(*tables, prompt, time, start.astype(np.int64), seeds)
    group = np.arange(prompt.size)
    return to_batch(Rollouts(task, task.start_theta, states, actions, prompt, group, reward), logp=False)


@cache
def expert_policy(task: Task, rounds: int = 20) -> Float:
    """pi (C, A) by policy iteration on what the policy sees; all actions that are as good as the best, equally often.

    Exact where the policy sees the state. Where something is hidden, states that look alike are averaged by how often they
    are met and a round may make things worse: the best one found is taken.
    """
    pi = task.policy(task.start_theta)
    best, found = -np.inf, pi
    for _ in range(rounds):
        v, q = backward(task.kernels, task.kernel_of, task.context, pi, task.success)
        value = float((task.start * v[:, 0]).sum() / task.prompts)
        if value <= best + 1e-12:
            break
        best, found = value, pi
        weight = (forward(task.kernels, task.kernel_of, task.context, pi, task.start)[:, :-1] + 1e-12).ravel()
        C, A = pi.shape
        total = np.bincount(task.context.ravel(), weights=weight, minlength=C)
        score = np.stack(
            [np.bincount(task.context.ravel(), weights=weight * q[..., a].ravel(), minlength=C) for a in range(A)], axis=1
        ) / np.maximum(total, 1e-300)[:, None]  # fmt: skip
        good = score >= score.max(axis=1, keepdims=True) - 1e-9
        pi = good / good.sum(axis=1, keepdims=True)
    return found
