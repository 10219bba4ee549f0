"""Rollouts of a tabular task as batches, and the live sources that question the same world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..evidence import Asked, Bill
from ..ids import Codes
from ..ops.markov import continue_from, sample
from ..words import Provenance
from .tabular import PROMPT, RESULT, SEEN, TURN, Bool, Float, Int, Task


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
    """What the policy sees before each turn and at the end, shape (n, T + 1)."""
    seen: Int = task.observation[prompt[:, None], np.arange(states.shape[1])[None, :], states]
    return seen


def to_batch(
    rollouts: Rollouts, *, text: bool = False, logp: bool = True, node: Int | None = None, parent: Int | None = None
) -> Batch:
    """The agent's side: tokens, log-probabilities, state keys and outcomes; no latent state.

    A turn reads ``[prompt or result] [turn] [what is seen]`` and then the tokens of the action.
    ``logp`` False leaves log-probabilities and entropies out (most methods read neither).
    """
    task, (n, T) = rollouts.task, rollouts.actions.shape
    seen = observe(task, rollouts.prompt, rollouts.states)
    pi = task.policy(rollouts.theta)
    context = task.context_of[seen[:, :T]]
    L = task.words.shape[1]
    ids = np.empty((n, T, 3 + L), dtype=np.int64)
    ids[:, :, 0] = RESULT
    ids[:, 0, 0] = PROMPT + rollouts.prompt
    ids[:, :, 1] = TURN + np.arange(T)
    ids[:, :, 2] = SEEN + seen[:, :T] % (task.context.shape[2])  # the look of the place, not the key
    ids[:, :, 3:] = task.words[rollouts.actions]
    columns: dict[str, Any] = {}
    for name, table in zip(("logp", "entropy"), task.token_probabilities(pi) if logp else (), strict=False):
        padded = np.zeros((n, T, 3 + L))
        padded[:, :, 3:] = table[context, rollouts.actions]
        columns[name] = padded.ravel()
    action = np.zeros((n, T, 3 + L), dtype=np.bool_)
    action[:, :, 3:] = True
    turns = np.arange(n + 1) * T
    return Batch(
        turn_offsets=np.arange(n * T + 1) * (3 + L),
        row_turns=turns,
        trajectory_rows=np.arange(n + 1),
        action=action.ravel(),
        trajectory=Codes.of(np.arange(n)),
        group=Codes.of(rollouts.group),
        outcome=rollouts.reward,
        state=Codes.of(seen.ravel()),
        ids=ids.ravel(),
        limit=T * (3 + L),
        text=_texts(rollouts, seen) if text else None,
        node=node,
        parent=parent,
        **columns,
    )


def _texts(rollouts: Rollouts, seen: Int) -> tuple[str, ...]:
    task = rollouts.task
    S = task.context.shape[2]
    return tuple(
        f"prompt {rollouts.prompt[i]}, turn {t + 1} of {task.horizon}: sees view {seen[i, t] % S}, takes action {a}"
        for i, row in enumerate(rollouts.actions)
        for t, a in enumerate(row)
    )


def actions_of(task: Task, batch: Batch) -> tuple[Int, Int]:
    """Context and action of every turn, read off the batch's own keys and tokens."""
    state = batch.need("state", "to find the policy's context")
    names = np.asarray(state.names, dtype=np.int64)
    context = task.context_of[names[state.codes[batch.prefix_before]]]
    first = batch.turn_offsets[1:] - task.words.shape[1]
    spelled = batch.need("ids")[first[:, None] + np.arange(task.words.shape[1])]
    order = np.lexsort(task.words.T[::-1])
    code = _pack(task.words)
    action = order[np.searchsorted(code[order], _pack(spelled))]
    return context, action


def _pack(words: Int) -> Int:
    """One integer per spelling, in the order of the spellings."""
    packed = np.zeros(words.shape[0], dtype=np.int64)
    for j in range(words.shape[1]):
        packed = packed * 1_009 + words[:, j]
    return packed


class TabularSampler:
    """Runs the current policy again from any prefix, restoring the world's state exactly."""

    provenance: Provenance = "exact_restore"

    def __init__(self, rollouts: Rollouts) -> None:
        self.rollouts = rollouts

    def _situation(self, batch: Batch, prefixes: Int) -> tuple[Int, Int]:
        """Row of the rollouts and turn of each prefix; trajectories are found by their id."""
        owner = batch.within("prefix", "trajectory")[prefixes]
        row = np.asarray([int(batch.trajectory.name(i)) for i in range(batch.n_trajectories)], dtype=np.int64)[owner]
        time = prefixes - batch.prefix_offsets[owner]
        if (time >= self.rollouts.task.horizon).any():
            raise OptionError("a sampler was asked to continue a finished trajectory: leave the last prefix out")
        return row, time

    def continuations(self, batch: Batch, prefixes: Int, k: int, rng: np.random.Generator) -> Asked:
        r = self.rollouts
        row, time = self._situation(batch, prefixes)
        seeds = rng.integers(2**63, size=row.size, dtype=np.uint64)
        tables = (r.task.kernels, r.task.kernel_of, r.task.context, r.task.policy(r.theta), r.task.success)
        values = continue_from(*tables, r.prompt[row], time, r.states[row, time], k, seeds)
        return Asked(values, self._bill(time, k))

    def branch(self, batch: Batch, prefixes: Int, rng: np.random.Generator) -> tuple[Batch, Bill]:
        r, T = self.rollouts, self.rollouts.task.horizon
        row, time = self._situation(batch, prefixes)
        seeds = rng.integers(2**63, size=row.size, dtype=np.uint64)
        tables = (r.task.kernels, r.task.kernel_of, r.task.context, r.task.policy(r.theta), r.task.success)
        states, actions, reward = sample(*tables, r.prompt[row], time, r.states[row, time], seeds)
        shared = np.arange(T)[None, :] < time[:, None]
        actions = np.where(shared, r.actions[row], actions)
        states = np.where(np.arange(T + 1)[None, :] <= time[:, None], r.states[row], states)
        node, parent = self._nodes(batch, row, shared)
        self.rollouts = Rollouts(
            r.task, r.theta, np.concatenate([r.states, states]), np.concatenate([r.actions, actions]),
            np.concatenate([r.prompt, r.prompt[row]]), np.concatenate([r.group, r.group[row]]),
            np.concatenate([r.reward, reward]),
        )  # fmt: skip
        return to_batch(self.rollouts, node=node, parent=parent), self._bill(time, 1)

    def _nodes(self, batch: Batch, row: Int, shared: Bool) -> tuple[Int, Int]:
        """Tree nodes of all turns, the new trajectories' included: shared turns keep their node."""
        n, T = self.rollouts.actions.shape
        node = (np.arange(n * T) if batch.node is None else batch.node).reshape(n, T)
        fresh = node.max() + 1 + np.arange(row.size * T).reshape(-1, T)
        node = np.concatenate([node, np.where(shared, node[row], fresh)])
        parent = np.concatenate([np.full((node.shape[0], 1), -1), node[:, :-1]], axis=1)
        return node.ravel(), parent.ravel()

    def _bill(self, time: Int, k: int) -> Bill:
        turns = float((self.rollouts.task.horizon - time).sum() * k)
        return Bill(generated=turns * self.rollouts.task.words.shape[1], env_steps=turns)
