"""The complete parameter update a credit produces, and how it compares with the exact gradient."""

from __future__ import annotations

import numpy as np

from ..credit import Credit
from ..errors import OptionError
from ..ops.surrogate import shared
from .layouts import choices, situation
from .tabular import Float, Int, Task
from .world import Rollouts


def token_weights(credit: Credit) -> Float:
    """Weight of every token's grad log pi in the update: credit, mask and denominator together.

    The denominators are those of :class:`apportion.Loss`. On policy (one step on the data that was
    sampled) ratios are 1 and clips do nothing, so neither enters here; but tokens that share one ratio
    share their mean weight in the update (:func:`ratio_owner`).
    """
    batch, kept = credit.batch, credit.kept
    weight = np.where(kept, credit.token, 0.0)
    how = credit.loss.denominator
    if how == "trajectory":
        return weight / batch.n_trajectories
    if how == "token":
        return weight / max(int(kept.sum()), 1)
    if how == "unit":
        owner = batch.within("token", credit.level)
        return weight / max(np.unique(owner[kept]).size, 1)
    row = batch.within("token", "row")
    if how == "sequence":
        length = np.bincount(row, weights=kept, minlength=batch.n_rows)
        used = max(int((length > 0).sum()), 1)
        return weight / np.maximum(length, 1)[row] / used
    if batch.limit is None:
        raise OptionError("loss.denominator 'limit' needs batch.limit, the generation limit")
    return weight / batch.limit / batch.n_rows


def ratio_owner(credit: Credit) -> Int | None:
    """The unit whose importance ratio every token shares, shape (T,); None where each has its own."""
    if credit.loss.ratio == "token":
        return None
    return credit.batch.within("token", "turn" if credit.loss.ratio == "turn" else "row")


def update(
    rollouts: Rollouts, credit: Credit, where: Int | None = None, parts: int = 1,
    *, theta: Float | None = None, weight: Float | None = None,
) -> Float:  # fmt: skip
    """sum_tokens w grad_theta log pi(token), shape (D, A): ascent direction of the policy.

    A token's log-probability is that of the actions still possible after it, given those possible
    before it, so token-level credit is honoured exactly. ``where`` (per trajectory, 0..parts-1)
    splits the sum: shape (parts, D, A). theta: where the gradient is taken, if not where the
    rollouts were sampled. weight: w, if not that of an update on the policy itself.
    """
    if credit.kind != "advantage":
        raise OptionError(f"the benchmark scores advantages; {credit.method} gives a {credit.kind}")
    task, batch = rollouts.task, credit.batch
    pi = task.policy(rollouts.theta if theta is None else theta)
    C, A = pi.shape
    L = task.words.shape[1]
    at = choices(task, batch)
    prompt, time, state, action = situation(rollouts, batch)
    context, first = task.context[prompt, time, state], at.first
    weight = shared(token_weights(credit), ratio_owner(credit), credit.kept) if weight is None else weight
    part = np.zeros(at.row.size, dtype=np.int64) if where is None else where[batch.within(at.level, "trajectory")]
    cell = (part * C + context) * A + action
    coefficient = np.zeros((parts, C, A))
    before = np.broadcast_to(pi[:, None, :], (C, A, A))
    for j in range(L):
        possible = pi[:, None, :] * task.spelling[None, :, j + 1, :]
        after = possible / possible.sum(axis=2, keepdims=True)
        total = np.bincount(cell, weights=weight[first + j], minlength=parts * C * A).reshape(parts, C, A)
        coefficient += np.einsum("kca,cab->kcb", total, after - before)
        before = after
    g = task.pull_back(rollouts.theta if theta is None else theta, coefficient)
    return g[0] if where is None else g


def turn_update(task: Task, theta: Float, prompt: Int, context: Int, action: Int, weight: Float) -> Float:
    """sum_turns w grad_theta log pi(action), by prompt: (P, D, A); all but prompt are (n, T)."""
    pi = task.policy(theta)
    C, A = pi.shape
    cell = (prompt[:, None] * C + context) * A + action
    total = np.bincount(cell.ravel(), weights=weight.ravel(), minlength=task.prompts * C * A).reshape(-1, C, A)
    coefficient = total - total.sum(axis=2, keepdims=True) * pi
    return task.pull_back(theta, coefficient)
