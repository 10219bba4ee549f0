"""How rollouts read as batches, and where in the rollouts a batch's choices were made.

turns  a trajectory a rollout, a turn a choice: ``[prompt or result] [turn] [what is seen]``, then the action
steps  one turn a rollout, a step a choice: ``[prompt or turn]``, the action, ``[what it led to]``; all but
       the prompt is written by the policy, and what is no choice has probability 1
team   a trajectory per rollout and agent, an episode a rollout; its turns read as under "turns"
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..batch import Batch
from ..ids import Codes
from ..words import Axis, Unit
from .tabular import PROMPT, RESULT, SEEN, TURN, Int, Task
from .world import Rollouts, observe


@dataclass(frozen=True, eq=False)
class Choices:
    """The choices a batch holds, in its order: units of ``level``, the row of the rollouts and the time
    each was made at, and the first token of the action's words."""

    level: Unit
    row: Int
    time: Int
    first: Int


def level(task: Task) -> Unit:
    """What a choice is in the batches of the task."""
    return "step" if task.layout == "steps" else "turn"


def rows_of(task: Task, batch: Batch) -> Int:
    """Row of the rollouts of each trajectory, read off its id (a copy's "7#1" is row 7; of "7@3" only turn 3 is shown)."""
    return _named(batch)[0] // task.agents


def _named(batch: Batch) -> tuple[Int, Int]:
    """The number in the id of each trajectory, and the time of its one turn (-1: all of its turns are there)."""
    parts = [str(name).split("#")[0].partition("@") for name in batch.trajectory.to_list()]
    number, time = ([int(p[i] or -1) for p in parts] for i in (0, 2))
    return np.asarray(number, dtype=np.int64), np.asarray(time, dtype=np.int64)


def choices(task: Task, batch: Batch) -> Choices:
    """Where the batch's choices were made."""
    unit = level(task)
    owner = batch.within(unit, "trajectory")
    offsets = batch.offsets(unit)
    place = np.arange(owner.size) - np.searchsorted(owner, np.arange(batch.n_trajectories))[owner]
    first = offsets[1:] - task.words.shape[1] - (1 if task.layout == "steps" else 0)
    return Choices(unit, rows_of(task, batch)[owner], times(task, batch)[owner, place], first)


def times(task: Task, batch: Batch) -> Int:
    """Time of each choice of each trajectory (N, T); a team's agents have fewer, the rest is T."""
    T, n = task.horizon, batch.n_trajectories
    number, single = _named(batch)
    table: Int = np.broadcast_to(np.arange(T), (n, T))
    if task.roles is not None:
        own = task.roles[None, :] == np.arange(task.agents)[:, None]
        table = np.sort(np.where(own, np.arange(T)[None, :], T), axis=1)[number % task.agents]
    if (single >= 0).any():
        alone = np.where(np.arange(T)[None, :] == 0, single[:, None], T)
        table = np.where(single[:, None] >= 0, alone, table)
    return np.asarray(table, dtype=np.int64)


def place(task: Task, batch: Batch, axis: Axis) -> tuple[Int, Int]:
    """Row of the rollouts and time of every prefix of the batch; after an agent's last turn the others go on."""
    owner = batch.within(axis, "trajectory")
    offsets = batch.step_prefix_offsets if axis == "step_prefix" else batch.prefix_offsets
    index = np.arange(owner.size) - offsets[owner]
    if task.layout == "steps" and axis == "prefix":  # before the answer, and after it
        index = index * task.horizon
    at = times(task, batch)[owner]
    last, each = (at < task.horizon).sum(axis=1) - 1, np.arange(owner.size)
    time = np.where(index > last, at[each, last] + 1, at[each, np.minimum(index, last)])
    return rows_of(task, batch)[owner], time


def situation(rollouts: Rollouts, batch: Batch) -> tuple[Int, Int, Int, Int]:
    """Prompt, time, latent state and action of every choice of the batch: indices into truth."""
    at = choices(rollouts.task, batch)
    return rollouts.prompt[at.row], at.time, rollouts.states[at.row, at.time], rollouts.actions[at.row, at.time]


def to_batch(
    rollouts: Rollouts,
    *,
    text: bool = False,
    logp: bool = True,
    reference: bool = False,
    node: Int | None = None,
    parent: Int | None = None,
) -> Batch:
    """The policy's side: tokens, log-probabilities, state keys and outcomes; no latent state.

    ``logp`` False leaves log-probabilities and entropies out (most methods read neither);
    ``reference`` adds the reference policy's. node, parent: per (row, time), shape (n T,).
    """
    task, (n, T) = rollouts.task, rollouts.actions.shape
    seen = observe(task, rollouts.prompt, rollouts.states)
    # choices in the batch's order: by row, then (in a team) by agent, then by time
    row, time = (x.ravel() for x in np.indices((n, T)))
    roles = np.zeros(T, dtype=np.int64) if task.roles is None else task.roles
    order = np.lexsort((time, roles[time], row))
    row, time = row[order], time[order]
    agents = task.agents
    trajectory, start = np.unique(row * agents + roles[time], return_index=True)
    turns = np.append(start, row.size)
    opens = np.zeros(row.size, dtype=np.bool_)
    opens[start] = True
    ids, action = _tokens(rollouts, seen, row, time, opens)
    width = ids.shape[1]
    columns = _scored(rollouts, row, time, width, logp=logp, reference=reference)
    steps = task.layout == "steps"
    ends = np.append(start[1:], row.size) - 1
    if steps:
        columns["step_offsets"] = np.arange(row.size + 1) * width
        keys = np.stack([seen[:, 0], seen[:, T]], axis=1).ravel()
    else:
        keys = np.insert(seen[row, time], ends + 1, seen[row[ends], time[ends] + 1])
    team: dict[str, Any] = {}
    if task.layout == "team":
        team = {"agent": Codes.of(trajectory % agents), "episode": Codes.of(trajectory // agents)}
    of = trajectory // agents
    return Batch(
        turn_offsets=turns * width if steps else np.arange(row.size + 1) * width,
        row_turns=np.arange(trajectory.size + 1) if steps else turns,
        trajectory_rows=np.arange(trajectory.size + 1),
        action=action.ravel(),
        trajectory=Codes.of(trajectory),
        group=Codes.of(rollouts.group[of]),
        outcome=rollouts.reward[of],
        state=Codes.of(keys),
        ids=ids.ravel(),
        limit=T * width,
        text=_texts(rollouts, seen, row, time, turns) if text else None,
        node=None if node is None else node.reshape(n, T)[row, time],
        parent=None if parent is None else parent.reshape(n, T)[row, time],
        **team,
        **columns,
    )


def _tokens(rollouts: Rollouts, seen: Int, row: Int, time: Int, opens: Any) -> tuple[Int, Any]:
    """Token ids and policy mask of every choice, (n T, width)."""
    task, L = rollouts.task, rollouts.task.words.shape[1]
    look = task.looks  # the look of a place is its key modulo the number of looks
    words = task.words[rollouts.actions[row, time]]
    prompt = PROMPT + rollouts.prompt[row]
    if task.layout == "steps":
        lead, echo = np.where(opens, prompt, TURN + time), SEEN + seen[row, time + 1] % look
        ids = np.concatenate([lead[:, None], words, echo[:, None]], axis=1)
        action = np.ones(ids.shape, dtype=np.bool_)
        action[opens, 0] = False
        return ids, action
    before = np.stack([np.where(opens, prompt, RESULT), TURN + time, SEEN + seen[row, time] % look], axis=1)
    action = np.zeros((row.size, 3 + L), dtype=np.bool_)
    action[:, 3:] = True
    return np.concatenate([before, words], axis=1), action


def _scored(rollouts: Rollouts, row: Int, time: Int, width: int, *, logp: bool, reference: bool) -> dict[str, Any]:
    """Columns of log-probabilities and entropies; a token that is no choice has both 0."""
    task, L = rollouts.task, rollouts.task.words.shape[1]
    prompt, state = rollouts.prompt[row], rollouts.states[row, time]
    context, taken = task.context[prompt, time, state], rollouts.actions[row, time]
    first = 1 if task.layout == "steps" else 3
    wanted: list[tuple[str, Any]] = []
    if logp:
        wanted += zip(("logp", "entropy"), task.token_probabilities(task.policy(rollouts.theta)), strict=True)
    if reference:
        wanted.append(("ref_logp", task.token_probabilities(task.reference_policy)[0]))
    columns: dict[str, Any] = {}
    for name, table in wanted:
        padded = np.zeros((row.size, width))
        padded[:, first : first + L] = table[context, taken]
        columns[name] = padded.ravel()
    return columns


def _texts(rollouts: Rollouts, seen: Int, row: Int, time: Int, turns: Int) -> tuple[str, ...]:
    task = rollouts.task
    S = task.looks
    who = [""] * task.horizon if task.roles is None else [f"agent {a}, " for a in task.roles]
    lines = [
        f"prompt {rollouts.prompt[i]}, {who[t]}{level(task)} {t + 1} of {task.horizon}: "
        f"sees view {seen[i, t] % S}, takes action {rollouts.actions[i, t]}"
        for i, t in zip(row.tolist(), time.tolist(), strict=True)
    ]
    if task.layout != "steps":
        return tuple(lines)
    return tuple("\n".join(lines[a:b]) for a, b in pairwise(turns))
