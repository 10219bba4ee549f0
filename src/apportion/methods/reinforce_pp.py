"""REINFORCE++ (Hu et al. 2025, arXiv 2501.03262): one normalisation over the tokens of the whole batch."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..ops.groups import standardise
from ..ops.groups import whiten as whitened
from ..ops.scans import discounted_suffix, gae
from ..registry import method
from ..structure import Float
from ..words import Single, check_word

Variant = Literal["plain", "baseline"]
Semantics = Literal["verl", "openrlhf"]


@method(
    unit="token",
    reads={"reward"},
    may_read={"group", "logp", "ref_logp"},
    cost="0; a reference pass over T tokens where beta > 0",
    status="verified",
    unbiased="no: a rollout is part of the batch's mean, and the batch's spread divides all of it",
    smallest="Batch.from_turns([[1], [1]], outcome=[1.0, 0.0])",
    scope="batch",
)
def reinforce_pp(
    batch: Batch,
    *,
    variant: Variant = "plain",
    gamma: float = 1.0,
    beta: float = 0.0,
    semantics: Semantics = "verl",
    single: Single = "raw",
) -> Credit:
    """Return to go of every token, standardised over all policy tokens of the batch.

        r_t = -beta (log pi - log pi_ref)_t + rewards at t        G_t = r_t + gamma G_{t+1}            "plain"
        G_t = R_i - mean_G R                                       on all tokens of rollout i          "baseline"
        A_t = (G_t - mean G) / sqrt(var G + 1e-8)                  over all policy tokens of the batch

    R (N,) is the total reward. Every policy token counts once, so long rollouts weigh more in mean and
    variance. Rewards sit on the last policy token of what they belong to. One value per token.

    variant: "plain" needs one rollout a prompt and no groups; "baseline" (column ``group``) subtracts the
    mean of the prompt first, without a std. The mean over the *batch* comes on top, so a prompt with equal
    rewards still gets credit, unless G is the same on all tokens of the batch: then all get exactly 0.
    gamma: 1. beta: weight of the KL penalty in the reward (columns ``logp``, ``ref_logp``); 0, as trainers put it
    into ``token_reward`` or the loss; the paper's is 0.01. "plain" only: "baseline" has it as a loss
    term, where gamma and beta are refused.
    semantics: "verl" (0.9.1): observation tokens are skipped, G carried through them; variance with ddof 1,
    sqrt(var + 1e-8). "openrlhf": they carry no reward but count for gamma; population variance, clamped
    at 1e-8. verl before 0.9 started anew at every observation, so earlier turns never saw R: not offered. A reward on
    an observation token moves to the last policy token of its step; verl's "plain" drops it.
    single: what a prompt of one rollout gets under "baseline": "raw", R (verl), "zero" or "error".

    Source: Hu et al. (2501.03262); OpenRLHF 0.11.2 ``experience_maker.py`` (estimators ``reinforce``,
    ``reinforce_baseline``), verl 0.9.1 ``compute_reinforce_plus_plus_outcome_advantage`` and
    ``..._baseline_outcome_advantage``: both read, verl's also run against this.
    """
    check_word(variant, Variant, "variant")
    check_word(semantics, Semantics, "semantics")
    check_word(single, Single, "single")
    if not 0 <= gamma <= 1 or beta < 0:
        raise OptionError(f"gamma = {gamma}, beta = {beta}: expected a number from 0 to 1, and one of at least 0")
    if variant == "baseline":
        if gamma != 1 or beta != 0:
            raise OptionError(f"gamma = {gamma}, beta = {beta}: variant='baseline' has neither: leave them out")
        batch.need("group", "for reinforce_pp with variant='baseline'")
        centred = standardise(batch.reward, batch.within("trajectory", "group"), single=single)
        g = centred[batch.within("token", "trajectory")]
    else:
        g = _returns(batch, gamma, beta, semantics)
    a = whitened(g, batch.action) if semantics == "verl" else whitened(g, batch.action, spread="population", clamp=True)
    return Credit(batch, "token", unit=a, token=a, loss=Loss(denominator="token"))


def _returns(batch: Batch, gamma: float, beta: float, semantics: Semantics) -> Float:
    r = batch.rewards("token")
    if beta:
        why = "for reinforce_pp with beta > 0"
        r = r - np.where(batch.action, beta * (batch.need("logp", why) - batch.need("ref_logp", why)), 0.0)
    offsets = batch.offsets("trajectory")
    if semantics == "openrlhf":
        return discounted_suffix(r, offsets, gamma)
    return gae(r, np.zeros(r.size), batch.action, offsets, gamma, 1.0, np.zeros(batch.n_trajectories))
