"""A2TGPO (Chen et al. 2026, arXiv 2605.06200): gains of belief in the answer, each compared with the same turn's of others."""

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
from ..words import Spread, check_word

Gain = Literal["prob", "log"]


def collect(batch: Batch, policy: Policy, *, rng: np.random.Generator) -> Evidence:
    """Ask the policy how likely the reference answer is if it had to answer before and after each turn.

    Privileged: the reference answer is not what the policy sees when it acts. One scoring pass a turn.
    """
    asked = answer_belief(batch, policy, rng, "a2tgpo")
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

    Cross-fitted linear models of hashed features (``evidence.prefix``). Not the paper's quantity, and not privileged.
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
    cost="N + 1 scoring passes over the context so far and the answer",
    status="secondary",
    unbiased="no: the policy's belief in the answer is not its chance of success, and rewards are divided by a spread",
    smallest=(
        "(Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0]), "
        "{'answer_logp': [-2.0, -1.0, -0.5, -2.0, -2.5, -3.0]})"
    ),
    scope="group",
)
def a2tgpo(
    batch: Batch,
    *,
    answer_logp: Float,
    gain: Gain = "prob",
    alpha: float = 0.3,
    gamma: float = 1.0,
    spread: Spread = "population",
    eps: float = 1e-6,
    clip_low: float = 3e-3,
    clip_high: float = 4e-3,
    width: float = 0.3,
) -> Credit:
    """The outcome's advantage, plus gains of belief in the right answer, compared turn by turn; they set the clip as well.

        g_t = p_t - p_{t-1},   p = exp(answer_logp)      (gain="log": of the log-probabilities)     t = 1 .. T - 1
        n_t = (g_t - mean) / (std + eps)            over the rollouts of the prompt that have a gain at turn t
        D_t = n_t + gamma D_{t+1}                   of m_t terms
        A_t = alpha D_t / sqrt(m_t) + O             A_T = O, the last turn, which answers and has no gain
        O = (R - mean) / (std + eps)                over the rollouts of the prompt;  std = sqrt(var + 1e-8), population
        c_t = 1 + width (2 sigmoid(n_t) - 1),  c_T = 1;      ratio of the turn within 1 - c clip_low .. 1 + c clip_high

    answer_logp: mean log-probability per token of the reference answer at each prefix, shape (turns + trajectories,);
    the last one of a trajectory is not read. R (N,) is the total reward. One value per turn; parts: ``gain``
    (alpha D / sqrt(m)) and ``outcome`` (O). loss.clip: the turn's own bounds, on a turn-level (geometric) ratio;
    loss.denominator "sequence".

    gain: "prob" (the paper's rise of the predicted probability) or "log". alpha: 0.3, gamma: 1 (paper).
    spread: "population", or "none", no division (the code's norm_adv_by_std=False). eps: 1e-6, beside 1e-8 in the
    variance. A set of one (a turn that no other rollout reaches, a lone rollout) gets 0, so its clip range is the plain one.
    clip_low, clip_high: 3e-3 and 4e-3; width: 0.3, so that c lies in 0.7 .. 1.3; 0 leaves the range alone.

    Dividing by sqrt(m) keeps the spread of a sum of m z-scores at that of one, so that early turns do not drown late
    ones. Rollouts without a gain (one turn): GRPO with the population's spread. Equal outcomes: gains still tell
    turns apart. A gain of exactly 0 counts like any other (the code takes it for no turn at all), and turns are
    told by their indices (the code's loss looks for changes of the advantage and so joins equal neighbours).
    A turn beside a null (NaN) has no known gain: that enters no statistic, no sum and no m, and the turn has what is known
    of later ones and the outcome; diagnostics["asked"] is the share of gains that are known.

    Biased: the answer's probability can rise without the chance of success, and a z-score is no advantage.

    Added after the survey. Source: Chen et al. (2605.06200): abstract, and a third-party copy of its ``core_algos``
    (mode "turn-group-v1d"); the official repository was not to be had. That p is a probability is from the abstract.
    """
    check_word(gain, Gain, "gain")
    check_word(spread, Spread, "spread")
    if not 0 <= gamma <= 1:
        raise OptionError(f"gamma = {gamma}: expected a number from 0 to 1")
    if spread == "sample":
        raise OptionError("spread = 'sample': a2tgpo divides by the population's spread, or by none")
    if not 0 <= width < 1:
        raise OptionError(f"width = {width}: expected a number from 0 to below 1")
    for name, bound in (("clip_low", clip_low), ("clip_high", clip_high)):
        if not 0 <= bound < 1:
            raise OptionError(f"{name} = {bound}: expected a number from 0 to below 1")
    positive = answer_logp > 1e-3
    if positive.any():
        i = int(np.argmax(positive))
        raise OptionError(f"evidence 'answer_logp'[{i}] = {answer_logp[i]:g}: a log-probability is at most 0")
    belief = np.exp(answer_logp) if gain == "prob" else answer_logp
    last = np.zeros(batch.n_turns, dtype=np.bool_)
    last[batch.trajectory_turns[1:] - 1] = True
    rise = belief[batch.prefix_before + 1] - belief[batch.prefix_before]
    known = ~last & ~np.isnan(rise)
    peers = batch.within("turn", "group") * (int(batch.turn_index.max()) + 1) + batch.turn_index
    over = np.unique(peers, return_inverse=True)[1]
    n = np.where(known, _normal(np.where(known, rise, 0.0), over, known, spread, eps), 0.0)
    terms = discounted_suffix(known.astype(np.float64), batch.trajectory_turns)
    gained = alpha * discounted_suffix(n, batch.trajectory_turns, gamma) / np.sqrt(np.maximum(terms, 1.0))
    everyone = np.ones(batch.n_trajectories, dtype=np.bool_)
    own = _normal(batch.reward, batch.within("trajectory", "group"), everyone, spread, eps)
    outcome = own[batch.within("turn", "trajectory")]
    scale = 1.0 + width * np.tanh(n / 2.0)  # 2 sigmoid(n) - 1
    told = known[~last]
    return Credit.of(
        batch, "turn", gained + outcome, parts={"gain": gained, "outcome": outcome},
        loss=Loss(
            ratio="turn", clip=np.stack([1.0 - scale * clip_low, 1.0 + scale * clip_high], axis=1), denominator="sequence"
        ),
        diagnostics={"asked": float(told.mean()) if told.size else 1.0},
    )  # fmt: skip


def _normal(x: Float, over: Int, counted: Bool, spread: Spread, eps: float) -> Float:
    """(x - mean) / (sqrt(var + 1e-8) + eps) of each set, 0 in a set of one."""
    if not counted.any():
        return np.zeros_like(x)
    centred = standardise(x, over, counted=counted, single="zero")
    if spread == "none":
        return centred
    scale = np.sqrt(group_spread(x, over, ddof=0, counted=counted) ** 2 + 1e-8) + eps
    return centred / scale[over]
