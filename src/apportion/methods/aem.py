"""AEM (Zhao et al. 2026, arXiv 2605.00425): sure responses weigh more in any advantage, unsure ones less."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..ops.groups import group_mean, standardise
from ..registry import method
from ..structure import Float, Int
from ..words import Denominator, Single, Spread, check_word

Base = Literal["grpo", "given"]
Uncertainty = Literal["entropy", "surprisal"]
Over = Literal["group", "trajectory", "batch"]


@method(
    unit="turn",
    reads={"reward", "group", "entropy"},
    may_read={"logp", "limit"},
    evidence={"advantage": "token"},
    unless={"advantage": ("base", "grpo"), "reward": ("base", "given"), "entropy": ("uncertainty", "surprisal")},
    cost="0",
    status="secondary",
    unbiased="no: how sure the policy was is not what a turn was worth, and advantages no longer have mean 0",
    smallest="Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], entropy=[0.2, 0.5, 0.8, 0.3])",
    scope="group",
    widens={"over": "batch"},
)
def aem(
    batch: Batch,
    *,
    advantage: Float | None = None,
    base: Base = "grpo",
    uncertainty: Uncertainty = "entropy",
    lam: float = 1.0,
    least_range: float = 0.1,
    over: Over = "group",
    spread: Spread = "sample",
    eps: float = 1e-6,
    single: Single = "error",
    denominator: Denominator = "sequence",
) -> Credit:
    """Advantages rescaled turn by turn: a turn weighs more the surer the policy was of it, whatever its sign.

        H_j = mean over the policy tokens of turn j of the policy's entropy
        h_j = (H_j - min_g H) / (max_g H - min_g H)
        alpha_j = exp(-lam h_j) / mean_{k in g} exp(-lam h_k)
        A'_t = alpha_j A_t                          every policy token t of turn j

    g: all turns of all rollouts of the prompt; alpha has mean 1 there and counts every turn once, long or short.
    Where H ranges over less than ``least_range`` in g (one turn, equal entropies), alpha = 1. One value per turn, the
    mean of A' over its policy tokens; parts: ``base``, A as it was, and ``modulation``, (alpha - 1) A.

    base: the advantage that is rescaled. "grpo", A_i = (R_i - mean_G R) / (std_G R + eps) of the total reward, with
    ``spread``, ``eps``, ``single`` and ``denominator`` as in ``grpo``; or "given", ``advantage`` (T,), any other
    method's ``credit.token``, read at policy tokens (then rewards and groups of one are no concern of AEM's).
    An ``advantage`` that is passed is only read with base="given".
    uncertainty: "entropy", the column ``entropy`` of the full distribution, which comes with the pass that
    recomputes log-probabilities; "surprisal", -``logp`` of the sampled tokens, its estimate from one sample.
    lam: 1 (paper). 0 changes nothing; below 0 the order is reversed, the paper's ablation, which does worse.
    least_range: 0.1 nats (paper).
    over: "group" (paper), or its weaker ablations: min, max and mean over the "trajectory" or the whole "batch".

    With lam = 0 (or H nearly equal) it is ``grpo``, to the last bit. Equal rewards give 0. All advantages of a group
    no longer sum to 0 afterwards: what confident turns gain is not taken from others of the same sign.

    Biased: alpha is a function of the action that was sampled, so the update is not the gradient of the return; it
    steers entropy (up while failures dominate, down once successes do) more than it finds who earned the reward.

    Added after the survey. Source: Zhao et al. (2605.00425 v3), at second hand: abstract and three readers' notes,
    which agree on the formula, lam and least_range; no code. Assumed: GRPO's own statistics (the house's defaults).
    """
    check_word(base, Base, "base")
    check_word(uncertainty, Uncertainty, "uncertainty")
    check_word(over, Over, "over")
    check_word(denominator, Denominator, "denominator")
    if not np.isfinite(lam):
        raise OptionError(f"lam = {lam}: expected a finite number")
    if not least_range >= 0:
        raise OptionError(f"least_range = {least_range}: expected a number of nats, at least 0")
    if denominator == "limit":
        batch.need("limit", "for aem with denominator='limit'")
    token = _base(batch, advantage, base, spread, eps, single)
    turn, size = batch.within("token", "turn"), batch.action_count("turn")
    at = np.zeros(batch.n_turns, dtype=np.int64) if over == "batch" else batch.within("turn", over)
    alpha = modulation(_uncertainty(batch, uncertainty), at, lam, least_range)
    plain = np.bincount(turn, weights=token, minlength=batch.n_turns) / size
    if base == "grpo":  # the same on all tokens of a turn: no rounding of their mean
        plain = token[batch.last_action("turn")]
    parts = {"base": plain, "modulation": (alpha - 1.0) * plain}
    return Credit(
        batch, "turn", unit=alpha * plain, token=alpha[turn] * token, parts=parts, loss=Loss(denominator=denominator),
        diagnostics={"least_alpha": float(alpha.min()), "most_alpha": float(alpha.max())},
    )  # fmt: skip


def modulation(h: Float, over: Int, lam: float, least_range: float) -> Float:
    """alpha of every turn, mean 1 in every set; 1 exactly where a set's uncertainties range over too little."""
    n = int(over.max()) + 1
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, over, h)
    np.maximum.at(high, over, h)
    span = high - low
    flat = (span < least_range) | (span == 0)
    weight = np.exp(-lam * (h - low[over]) / np.where(flat, 1.0, span)[over])
    return np.where(flat[over], 1.0, weight / group_mean(weight, over)[0][over])


def _base(batch: Batch, advantage: Float | None, base: Base, spread: Spread, eps: float, single: Single) -> Float:
    """The advantage of every token that is to be rescaled, 0 on observation tokens."""
    if base == "grpo":
        mine = standardise(batch.reward, batch.within("trajectory", "group"), spread=spread, eps=eps, single=single)
        return np.where(batch.action, mine[batch.within("token", "trajectory")], 0.0)
    assert advantage is not None  # the registry asked for it
    unknown = batch.action & np.isnan(advantage)
    if unknown.any():
        raise OptionError(f"evidence 'advantage'[{int(np.argmax(unknown))}] is null: expected a number at every policy token")
    return np.where(batch.action, advantage, 0.0)


def _uncertainty(batch: Batch, uncertainty: Uncertainty) -> Float:
    """Mean over the policy tokens of every turn."""
    x = batch.need("entropy") if uncertainty == "entropy" else -batch.need("logp", "for aem with uncertainty='surprisal'")
    total = np.bincount(batch.within("token", "turn"), weights=np.where(batch.action, x, 0.0), minlength=batch.n_turns)
    mean: Float = total / batch.action_count("turn")
    return mean
