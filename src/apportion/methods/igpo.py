"""IGPO (Wang et al. 2025, arXiv 2510.14967): what a turn adds to the policy's belief in the right answer."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Evidence, Policy
from ..evidence.belief import answer_belief
from ..evidence.prefix import LearnedBelief, fit_prefix, own_ends
from ..ops.groups import group_spread, standardise
from ..ops.scans import discounted_suffix
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Denominator, Spread, check_word

Gain = Literal["prob", "log"]
Normalise = Literal["joint", "separate"]


def collect(batch: Batch, policy: Policy, *, rng: np.random.Generator) -> Evidence:
    """Ask the policy how likely the reference answer is if it had to answer after each turn (teacher forcing).

    Privileged: the reference answer is not what the policy sees when it acts. How the answer is forced
    (the sentence and tags before and after it) is the source's to choose; one scoring pass a turn.
    """
    asked = answer_belief(batch, policy, rng, "igpo")
    return Evidence({"answer_logp": asked.values}, {"answer_logp": "prefix"}, bill=asked.bill, provenance="privileged")


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
) -> LearnedBelief:
    """Belief in success, learned from outcomes: log P(success | prefix) stands in for the answer's log-probability.

    Cross-fitted linear models of hashed features (``evidence.prefix``). Not the paper's quantity, and not
    privileged: it knows which prefixes ended well elsewhere in this batch, and no reference answer.
    """
    before, after, bill = fit_prefix(
        batch, "turn", own_ends(batch, "turn"), rng, folds=folds, ridge=ridge, buckets=buckets, actions=action_tokens
    )  # fmt: skip
    return LearnedBelief(before, after, bill)


@method(
    unit="turn",
    reads={"reward", "group"},
    evidence={"answer_logp": "prefix"},
    source="policy",
    collect=collect,
    fit=fit,
    cost="N scoring passes over the context so far and the answer",
    status="verified",
    unbiased="no: the policy's belief in the answer is not its chance of success, and rewards are divided by a spread",
    smallest=(
        "(Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0]), "
        "{'answer_logp': [-2.0, -1.0, -0.5, -2.0, -2.5, -3.0]})"
    ),
    scope="group",
)
def igpo(
    batch: Batch,
    *,
    answer_logp: Float,
    gain: Gain = "prob",
    normalise: Normalise = "joint",
    gamma: float = 1.0,
    spread: Spread = "population",
    eps: float = 1e-6,
    outcome_weight: float = 1.0,
    gain_weight: float = 1.0,
    denominator: Denominator = "token",
) -> Credit:
    """Turns are rewarded for how much likelier they make the right answer, the last one for the outcome.

        p_t = exp(mean_j log pi(a_j | context after turn t, a_<j))      t = 0 (the prompt) .. T - 1
        r_t = p_t - p_{t-1}        (gain="log": log p_t - log p_{t-1})          t = 1 .. T - 1
        r_T = R
        n(x) = (x - mean S) / (std S + eps),    std = sqrt(var + 1e-8), population
        A_t = n(r_t) + gamma A_{t+1}

    answer_logp: mean log-probability per token of the reference answer a at each prefix, shape (turns +
    trajectories,); the last one of a trajectory is not read. R (N,) is the total reward, taken as earned
    by the last turn (the paper's word F1, or its penalty of -2 for a bad format: make it the outcome). One
    value per turn; parts: ``gain`` and ``outcome``, what either kind of reward adds to A.

    normalise: S, within the prompt's rollouts, is "joint", all gains and outcomes together (paper, the code's
    default), or "separate", gains among gains and outcomes among outcomes (what users of the code mostly run).
    spread: "population", or "none", no division (the code's norm_adv_by_std=False). A set of one gets 0, so a lone
    rollout has no outcome term in "separate".
    gain: "prob" (paper) or "log". gamma: 1. eps: 1e-6, beside 1e-8 in the variance.
    outcome_weight, gain_weight: multiply R and the gains before they are normalised (the code's curriculum, off); in
    "separate" a constant weight cancels but for eps.
    denominator: "token", as the code averages.

    A gain of exactly 0 is a reward like others: it counts in the statistics and its turn keeps its own value. The
    code finds turns by looking for rewards that are not 0 and so loses such a turn, whose tokens then take the
    next turn's value; all else agrees. One turn: the outcome term alone. Outcomes all equal: gains still tell
    turns apart. A turn beside a null (NaN) has no known gain: it enters no statistic and passes on what
    comes after it (nothing with gamma = 0: then it is not ``scored``); diagnostics["asked"] is the share of gains that
    are known.

    Biased: the answer's probability can rise without the chance of success, and a z-score is no advantage.
    With gamma = 1 and spread="none" the gains of a trajectory telescope to p_{T-1} - p_0 less their mean each.

    Source: Wang et al., ICLR 2026 (2510.14967); GuoqingWang1/IGPO: belief, gain and reward of November 2025,
    normalisation and accumulation at 49a8c4e (``core_algos``). The code of November 2025 took returns per token
    position less the group's mean instead.
    """
    check_word(gain, Gain, "gain")
    check_word(normalise, Normalise, "normalise")
    check_word(spread, Spread, "spread")
    check_word(denominator, Denominator, "denominator")
    if not 0 <= gamma <= 1:
        raise OptionError(f"gamma = {gamma}: expected a number from 0 to 1")
    if spread == "sample":
        raise OptionError("spread = 'sample': igpo divides by the population's spread, or by none")
    positive = answer_logp > 1e-3
    if positive.any():
        i = int(np.argmax(positive))
        raise OptionError(f"evidence 'answer_logp'[{i}] = {answer_logp[i]:g}: a log-probability is at most 0")
    belief = np.exp(answer_logp) if gain == "prob" else answer_logp
    last = np.zeros(batch.n_turns, dtype=np.bool_)
    last[batch.trajectory_turns[1:] - 1] = True
    rise = belief[batch.prefix_before + 1] - belief[batch.prefix_before]
    known = last | ~np.isnan(rise)
    reward = np.where(last, outcome_weight * batch.reward[batch.within("turn", "trajectory")], gain_weight * rise)
    over = batch.within("turn", "group")
    if normalise == "separate":
        over = 2 * over + last
    n = _normal(np.where(known, reward, 0.0), over, known, spread, eps)
    parts = {
        name: discounted_suffix(np.where(mine & known, n, 0.0), batch.trajectory_turns, gamma)
        for name, mine in (("gain", ~last), ("outcome", last))
    }
    told = known[~last]
    return Credit.of(
        batch, "turn", parts["gain"] + parts["outcome"], parts=parts, scored=known | (gamma > 0),
        loss=Loss(denominator=denominator), diagnostics={"asked": float(told.mean()) if told.size else 1.0},
    )  # fmt: skip


def _normal(x: Float, over: Int, counted: Bool, spread: Spread, eps: float) -> Float:
    """(x - mean) / (sqrt(var + 1e-8) + eps) of each set, 0 in a set of one."""
    centred = standardise(x, over, counted=counted, single="zero")
    if spread == "none":
        return centred
    scale = np.sqrt(group_spread(x, over, ddof=0, counted=counted) ** 2 + 1e-8) + eps
    return centred / scale[over]
