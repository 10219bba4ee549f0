"""Several steps on one batch: importance ratios, clips, and what a rescaled update divides by."""

from __future__ import annotations

import numpy as np

from ..credit import Credit
from ..ops.surrogate import surrogate_weights
from .gradient import ratio_owner, token_weights, update
from .layouts import choices, situation
from .tabular import Float
from .world import Rollouts

#: The usual bounds of the ratio, where the credit brings none of its own.
CLIP = (0.8, 1.2)


def surrogate_update(rollouts: Rollouts, credit: Credit, theta: Float) -> Float:
    """Gradient at ``theta`` of the clipped surrogate on rollouts sampled at ``rollouts.theta``, (D, A).

        sum_t w_t min(rho A_t, clip(rho, low, high) A_t)

    rho is the ratio of the token, of its turn or of its row, as ``credit.loss`` says: the geometric
    mean over the unit's kept tokens, or their product. Every token of a unit shares the unit's mean
    of w A: what the objectives of turn-level PPO and of GSPO come to. loss.rescale = "clipped_norm"
    divides by the norm of what was clipped away, never by less than 1; "clipped_norm_raw" by whatever it
    is, where anything was.
    """
    batch, loss = credit.batch, credit.loss
    low, high = (np.full(batch.n_tokens, bound) for bound in CLIP)
    if loss.clip is not None:
        unit = batch.within("token", credit.level)
        low, high = loss.clip[unit, 0], loss.clip[unit, 1]
    kept, lost = surrogate_weights(
        log_ratio(rollouts, credit, theta), token_weights(credit), ratio_owner(credit), credit.kept,
        form=loss.form, low=low, high=high,
    )  # fmt: skip
    g = update(rollouts, credit, theta=theta, weight=kept)
    if loss.rescale is None:
        return g
    norm = float(np.linalg.norm(update(rollouts, credit, theta=theta, weight=lost)))
    if loss.rescale == "clipped_norm":
        return g / max(norm, 1.0)
    return g / max(norm, 1e-8) if lost.any() else g


def log_ratio(rollouts: Rollouts, credit: Credit, theta: Float) -> Float:
    """log pi_theta - log pi of every token, shape (T,); 0 where nothing was chosen."""
    task, batch = rollouts.task, credit.batch
    at, (prompt, time, state, action) = choices(task, batch), situation(rollouts, batch)
    context, L = task.context[prompt, time, state], task.words.shape[1]
    new, old = (task.token_probabilities(task.policy(x))[0][context, action] for x in (theta, rollouts.theta))
    change = np.zeros(batch.n_tokens)
    change[(at.first[:, None] + np.arange(L)).ravel()] = (new - old).ravel()
    return change
