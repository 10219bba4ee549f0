"""The complete parameter update a credit produces, and how it compares with the exact gradient."""

from __future__ import annotations

import numpy as np

from ..credit import Credit
from ..errors import OptionError
from .tabular import Float, Int, Task
from .world import actions_of


def token_weights(credit: Credit) -> Float:
    """Weight of every token's grad log pi in the update: credit, mask and denominator together.

    The denominators are those of :class:`apportion.Loss`. On policy (one step on the data that was
    sampled) ratios are 1 and clips do nothing, so neither enters here.
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


def update(task: Task, theta: Float, credit: Credit, where: Int | None = None, parts: int = 1) -> Float:
    """sum_tokens w grad_theta log pi(token), shape (D, A): ascent direction of the policy.

    A token's log-probability is that of the actions still possible after it, given those possible
    before it, so token-level credit is honoured exactly. ``where`` (per trajectory, 0..parts-1)
    splits the sum: shape (parts, D, A).
    """
    if credit.kind != "advantage":
        raise OptionError(f"the benchmark scores advantages; {credit.method} gives a {credit.kind}")
    batch = credit.batch
    pi = task.policy(theta)
    C, A = pi.shape
    L = task.words.shape[1]
    context, action = actions_of(task, batch)
    weight = token_weights(credit)
    first = batch.turn_offsets[1:] - L
    part = np.zeros(batch.n_turns, dtype=np.int64) if where is None else where[batch.within("turn", "trajectory")]
    cell = (part * C + context) * A + action
    coefficient = np.zeros((parts, C, A))
    before = np.broadcast_to(pi[:, None, :], (C, A, A))
    for j in range(L):
        possible = pi[:, None, :] * task.spelling[None, :, j + 1, :]
        after = possible / possible.sum(axis=2, keepdims=True)
        total = np.bincount(cell, weights=weight[first + j], minlength=parts * C * A).reshape(parts, C, A)
        coefficient += np.einsum("kca,cab->kcb", total, after - before)
        before = after
    g: Float = np.einsum("cd,kca->kda", task.features, coefficient)
    return g[0] if where is None else g


def turn_update(task: Task, pi: Float, prompt: Int, context: Int, action: Int, weight: Float) -> Float:
    """sum_turns w grad_theta log pi(action), by prompt: (P, D, A); all but prompt are (n, T)."""
    C, A = pi.shape
    cell = (prompt[:, None] * C + context) * A + action
    total = np.bincount(cell.ravel(), weights=weight.ravel(), minlength=task.prompts * C * A).reshape(-1, C, A)
    coefficient = total - total.sum(axis=2, keepdims=True) * pi
    g: Float = np.einsum("cd,pca->pda", task.features, coefficient)
    return g
