"""Rollouts of a tabular task: what happened, the world's side included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ops.markov import sample
from .tabular import Float, Int, Task


@dataclass(frozen=True, eq=False)
class Rollouts:
    """What happened, the world's side included: states (n, T + 1), actions (n, T), prompt (n,)."""

    task: Task
    theta: Float
    states: Int
    actions: Int
    prompt: Int
    group: Int
    reward: Float


def roll(task: Task, theta: Float, n_groups: int, size: int, rng: np.random.Generator) -> Rollouts:
    """Sample ``n_groups`` prompts at random and ``size`` rollouts of each."""
    drawn = rng.integers(task.prompts, size=n_groups)
    prompt = np.repeat(drawn, size)
    start = (rng.random(prompt.size)[:, None] >= np.cumsum(task.start[prompt], axis=1)[:, :-1]).sum(axis=1)
    seeds = rng.integers(2**63, size=prompt.size, dtype=np.uint64)
    time = np.zeros(prompt.size, dtype=np.int64)
    tables = (task.kernels, task.kernel_of, task.context, task.policy(theta), task.success)
    states, actions, reward = sample(*tables, prompt, time, start.astype(np.int64), seeds)
    return Rollouts(task, theta, states, actions, prompt, np.repeat(np.arange(n_groups), size), reward)


def observe(task: Task, prompt: Int, states: Int) -> Int:
    """What the world shows before each turn and at the end, shape (n, T + 1)."""
    keys = task.observation if task.shown is None else task.shown
    seen: Int = keys[prompt[:, None], np.arange(states.shape[1])[None, :], states]
    return seen
