"""Truth, one per estimand: what "the credit of a choice" means is a choice of its own.

    advantage    Q(h, a) - E_{b ~ pi} Q(h, b)                       the policy goes on, h is what it sees
    contrast     Q^rho(s, a) - E_{b ~ q} Q^rho(s, b)                from the restored state; reference q, protocol rho
    leave_one_out  W(s, a) - E_{b ~ pi} W(s, b)                     from the restored state, later actions as they were
    shapley      mean over orders of v(S + t) - v(S)                choices outside S drawn from the policy
    difference   v(N) - v(N without agent i)                        all choices of agent i drawn from the policy

v(S) is the expected reward from the rollout's own first state when the choices in S are as they were and all
others are drawn from the policy, which sees where that leads; the dice are thrown anew. Everything is exact.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..errors import OptionError
from ..ops.shapley import coalitions, shapley
from .oracle import Truth, oracle, truth
from .tabular import Bool, Float, Int, Task
from .world import Rollouts

Reference = Literal["policy", "uniform"]
Downstream = Literal["policy", "best"]

#: The estimands besides the advantage.
OTHERS = ("contrast", "leave_one_out", "shapley", "difference", "team_shapley")

#: More players than this would need more coalitions than are worth waiting for.
MOST = 10


def estimands(rollouts: Rollouts) -> Truth:
    """Every estimand of every choice, (n, T) each; readable inside ``oracle()`` only, as all truth.

    advantage, contrast (uniform reference, the policy goes on), leave_one_out, shapley (players: the choices at forks;
    all others are null players), difference and team_shapley (players: agents; an agent's number at all its turns).
    NaN where a task has more than ``MOST`` players, and outside teams.
    """
    task, (n, T) = rollouts.task, rollouts.actions.shape
    blank = np.full((n, T), np.nan)
    made = {
        "contrast": contrast(rollouts, "uniform"),
        "leave_one_out": leave_one_out(rollouts),
        "shapley": blank, "difference": blank, "team_shapley": blank,
    }  # fmt: skip
    fork = task.fork[rollouts.prompt]
    if fork.any(axis=1).all() and int(fork.sum(axis=1).max()) <= MOST:
        made["shapley"] = shapley_of_forks(rollouts)
    if task.roles is not None and task.agents <= MOST:
        made["difference"], made["team_shapley"] = of_agents(rollouts)
    return Truth(**made, advantage=_advantage(rollouts))


def _advantage(rollouts: Rollouts) -> Float:
    task, (_, T) = rollouts.task, rollouts.actions.shape
    with oracle():
        table: Float = truth(task, rollouts.theta).A
    at: Float = table[rollouts.prompt[:, None], np.arange(T)[None, :], rollouts.states[:, :T], rollouts.actions]
    return at


def contrast(rollouts: Rollouts, reference: Reference = "uniform", downstream: Downstream = "policy") -> Float:
    """Delta(q; rho) of every choice, (n, T): its value less the mean of the reference's, from the state it was made in.

    reference q: "policy" (then, where nothing is hidden, the advantage) or "uniform" over actions. downstream rho: who
    acts afterwards, the "policy" or the "best" that any policy that sees the state could do.
    """
    task, (_, T) = rollouts.task, rollouts.actions.shape
    with oracle():
        q = _best_q(task) if downstream == "best" else truth(task, rollouts.theta).Q
    here = q[rollouts.prompt[:, None], np.arange(T)[None, :], rollouts.states[:, :T]]
    taken = np.take_along_axis(here, rollouts.actions[:, :, None], axis=2)[:, :, 0]
    rows = np.full((1, 1, task.actions), 1.0 / task.actions) if reference == "uniform" else _rows(rollouts)
    value: Float = taken - (rows * here).sum(axis=2)
    return value


def leave_one_out(rollouts: Rollouts) -> Float:
    """Of every choice, (n, T): drawn anew from the policy instead, all later actions as they were."""
    task, (n, T) = rollouts.task, rollouts.actions.shape
    pi, each = task.policy(rollouts.theta), np.arange(n)
    after = task.success[rollouts.prompt]  # W (n, S): expected reward when the later actions are as they were
    found = np.empty((n, T))
    for t in reversed(range(T)):
        kernel = task.kernels[task.kernel_of[rollouts.prompt, t]]
        q = np.einsum("nsau,nu->nsa", kernel, after)
        here = q[each, rollouts.states[:, t]]
        chance = pi[task.context[rollouts.prompt, t, rollouts.states[:, t]]]
        found[:, t] = here[each, rollouts.actions[:, t]] - (chance * here).sum(axis=1)
        after = q[each, :, rollouts.actions[:, t]]
    return found


def shapley_of_forks(rollouts: Rollouts) -> Float:
    """Shapley value of every choice at a fork, (n, T); 0 elsewhere (a routine choice is a null player)."""
    task, n = rollouts.task, rollouts.prompt.size
    fork = task.fork[rollouts.prompt]
    most = int(fork.sum(axis=1).max())
    number = np.where(fork, np.cumsum(fork, axis=1) - 1, most)  # a rollout with fewer forks has idle players
    values = _coalition_values(rollouts, number, most)
    worth = np.concatenate([shapley(values), np.zeros((n, 1))], axis=1)
    out: Float = np.take_along_axis(worth, number, axis=1)
    return out


def of_agents(rollouts: Rollouts) -> tuple[Float, Float]:
    """Difference reward and Shapley value of the agent whose turn it is, (n, T) each."""
    task, (n, T) = rollouts.task, rollouts.actions.shape
    if task.roles is None:
        raise OptionError(f"{task.id} has one agent: difference rewards are for teams")
    number = np.broadcast_to(task.roles, (n, T))
    values = _coalition_values(rollouts, number, task.agents)
    members = coalitions(task.agents)
    whole = members.all(axis=1)
    without = [values[:, (~members[:, i]) & np.delete(members, i, axis=1).all(axis=1)][:, 0] for i in range(task.agents)]
    difference = values[:, whole] - np.stack(without, axis=1)
    return difference[:, task.roles], shapley(values)[:, task.roles]


def _coalition_values(rollouts: Rollouts, player: Int, count: int) -> Float:
    """v(S) of every coalition of ``count`` players, (n, 2^count); ``player`` (n, T) names who makes each choice."""
    if count > MOST:
        raise OptionError(f"{count} players make {2**count} coalitions: at most {MOST} are computed exactly")
    task, (n, T) = rollouts.task, rollouts.actions.shape
    mixed = _mixed(task, rollouts.theta)
    members = np.concatenate([coalitions(count), np.zeros((2**count, 1), dtype=np.bool_)], axis=1)
    d = np.zeros((n, 2**count, task.kernels.shape[1]))  # all coalitions of a rollout move together
    d[np.arange(n), :, rollouts.states[:, 0]] = 1.0
    for t in range(T):
        forced = task.kernels[task.kernel_of[rollouts.prompt, t], :, rollouts.actions[:, t]]
        kept = members[:, player[:, t]].T[:, :, None]
        d = np.where(kept, d @ forced, d @ mixed[rollouts.prompt, t])
    value: Float = np.einsum("ncs,ns->nc", d, task.success[rollouts.prompt])
    return value


def coalition_value(rollouts: Rollouts, kept: Bool) -> Float:
    """Expected reward (n,) from each first state when ``kept`` (n, T) choices are as they were and others are drawn."""
    task, (n, T) = rollouts.task, rollouts.actions.shape
    mixed = _mixed(task, rollouts.theta)
    d = np.zeros((n, task.kernels.shape[1]))
    each = np.arange(n)
    d[each, rollouts.states[:, 0]] = 1.0
    for t in range(T):
        forced = task.kernels[task.kernel_of[rollouts.prompt, t], :, rollouts.actions[:, t]]
        step = np.where(kept[:, t, None, None], forced, mixed[rollouts.prompt, t])
        d = np.einsum("ns,nsu->nu", d, step)
    value: Float = (d * task.success[rollouts.prompt]).sum(axis=1)
    return value


def _mixed(task: Task, theta: Float) -> Float:
    """(P, T, S, S): how the state moves when the policy chooses."""
    rows = task.policy(theta)[task.context]
    moved: Float = np.einsum("ptsa,ptsau->ptsu", rows, task.kernels[task.kernel_of])
    return moved


def _rows(rollouts: Rollouts) -> Float:
    task, T = rollouts.task, rollouts.actions.shape[1]
    at = task.context[rollouts.prompt[:, None], np.arange(T)[None, :], rollouts.states[:, :T]]
    rows: Float = task.policy(rollouts.theta)[at]
    return rows


def _best_q(task: Task) -> Float:
    """Q (P, T, S, A) when the best action is taken from the next turn on."""
    P, T, S = task.context.shape
    q = np.empty((P, T, S, task.actions))
    v = task.success
    for t in reversed(range(T)):
        q[:, t] = np.einsum("psan,pn->psa", task.kernels[task.kernel_of[:, t]], v)
        v = q[:, t].max(axis=-1)
    return q
