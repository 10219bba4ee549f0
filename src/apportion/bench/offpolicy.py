"""Several steps on one batch: importance ratios, clips, and what a rescaled update divides by."""

from __future__ import annotations

import numpy as np

from ..credit import Credit
from .gradient import token_weights, update
from .layouts import choices, situation
from .tabular import Bool, Float, Int
from .world import Rollouts

#: The usual bounds of the ratio, where the credit brings none of its own.
CLIP = (0.8, 1.2)


def surrogate_update(rollouts: Rollouts, credit: Credit, theta: Float) -> Float:
    """Gradient at ``theta`` of the clipped surrogate on rollouts sampled at ``rollouts.theta``, (D, A).

        sum_t w_t min(rho A_t, clip(rho, low, high) A_t)

    rho is the ratio of the token, of its turn or of its row, as ``credit.loss`` says: the geometric
    mean over the unit's kept tokens, or their product. Every token of a unit shares the unit's mean
    of w A: what the objectives of turn-level PPO and of GSPO come to. loss.rescale = "clipped_norm"
    divides by the norm of what was clipped away, never by less than 1.
    """
    batch, loss = credit.batch, credit.loss
    ratio, owner = _ratios(rollouts, credit, theta)
    low, high = (np.full(batch.n_tokens, bound) for bound in CLIP)
    if loss.clip is not None:
        unit = batch.within("token", credit.level)
        low, high = loss.clip[unit, 0], loss.clip[unit, 1]
    advantage = credit.token
    clipped = ((advantage > 0) & (ratio > high)) | ((advantage < 0) & (ratio < low))
    g = update(rollouts, credit, theta=theta, weight=_weights(credit, ratio, owner, ~clipped))
    if loss.rescale is None:
        return g
    lost = update(rollouts, credit, theta=theta, weight=_weights(credit, ratio, owner, clipped))
    return g / max(float(np.sqrt((lost**2).sum())), 1.0)


def _ratios(rollouts: Rollouts, credit: Credit, theta: Float) -> tuple[Float, Int | None]:
    """rho of every token, and the unit it is shared over (None: each token has its own)."""
    task, batch = rollouts.task, credit.batch
    at, (prompt, time, state, action) = choices(task, batch), situation(rollouts, batch)
    context, L = task.context[prompt, time, state], task.words.shape[1]
    new, old = (task.token_probabilities(task.policy(x))[0][context, action] for x in (theta, rollouts.theta))
    change = np.zeros(batch.n_tokens)
    change[(at.first[:, None] + np.arange(L)).ravel()] = (new - old).ravel()
    if credit.loss.ratio == "token":
        return np.exp(change), None
    owner = batch.within("token", "turn" if credit.loss.ratio == "turn" else "row")
    kept = credit.kept
    total = np.asarray(np.bincount(owner, weights=np.where(kept, change, 0.0)), dtype=np.float64)
    size = np.bincount(owner, weights=kept)
    log = total / np.maximum(size, 1) if credit.loss.form == "geometric" else total
    return np.exp(log)[owner], owner


def _weights(credit: Credit, ratio: Float, owner: Int | None, active: Bool) -> Float:
    weight = np.where(active, token_weights(credit), 0.0)
    if owner is None:
        return weight * ratio
    kept = credit.kept
    mean = np.bincount(owner, weights=weight) / np.maximum(np.bincount(owner, weights=kept), 1)
    return np.where(kept, mean[owner] * ratio, 0.0)
