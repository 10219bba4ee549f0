"""Adaptive segment-level reward (Li et al. 2024, arXiv 2411.00809): only segments that agree with the outcome are touched."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Bill, Evidence, Judge
from ..evidence.reward_model import LearnedTokenReward
from ..evidence.text_model import fit_text
from ..ops.groups import standardise
from ..ops.pairs import best_and_worst, log_sigmoid_pull
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Denominator, Single, check_word

Form = Literal["ppo", "dpo", "rejection"]
Segment = Literal["mean", "sum", "last"]
Rated = Literal["step", "token"]


def collect(batch: Batch, judge: Judge, *, rng: np.random.Generator, rated: Rated = "step") -> Evidence:
    """Ask a reward model that rates parts of text. rated: each "token", or each "step", whose tokens then share its score."""
    check_word(rated, Rated, "rated")
    asked = judge.score(batch, rated, rng)
    values = np.asarray(asked.values, dtype=np.float64)
    if values.shape != (batch.count(rated),):
        raise OptionError(f"the judge answered with shape {values.shape}, expected ({batch.count(rated)},): one per {rated}")
    score = values if rated == "token" else values[batch.within("token", "step")]
    return Evidence({"token_score": score}, {"token_score": "token"}, asked.bill, judge.provenance)


def fit(
    batch: Batch, *, rng: np.random.Generator, folds: int = 5, ridge: float = 3.0, buckets: int = 512
) -> LearnedTokenReward:  # fmt: skip
    """Token rewards learned from outcomes: what a reward model of complete texts gives each step's words.

    Cross-fitted (``evidence.text_model``). The paper's token-level model is trained on preference data.
    """
    model = fit_text(batch, "step", rng, rows="complete", folds=folds, ridge=ridge, buckets=buckets)
    return LearnedTokenReward(model, Bill(trained=float(batch.action.sum())))


@method(
    unit="token",
    reads={"reward", "group"},
    may_read={"steps", "logp", "ref_logp", "success"},
    evidence={"token_score": "token"},
    source="judge",
    collect=collect,
    fit=fit,
    cost="one pass of a token-level reward model over T tokens",
    status="reconstructed",
    unbiased="no: what disagrees with the outcome is left out, so the update is no longer the gradient",
    smallest="(Batch.from_turns([[2], [2]], outcome=[1.0, 0.0], group=[0, 0]), {'token_score': [0.5, -0.5, 0.2, -0.4]})",
    scope="group",
)
def adaptive_segment(
    batch: Batch,
    *,
    token_score: Float,
    form: Form = "ppo",
    delta: float | None = 0.4,
    segment_reward: Segment = "mean",
    threshold: float = 0.0,
    beta: float = 0.1,
    denominator: Denominator = "token",
    single: Single = "error",
) -> Credit:
    """A mask: the sequence's advantage, on those of its segments whose own reward has the same sign.

        a segment starts at t where |r_t - r_{t-1}| > delta;       rbar_S = mean of r over S
        m_t = 1[rbar_S > threshold]  where A >= 0,   1[rbar_S < threshold]  where A < 0          form "ppo"
        A_t = m_t A,     tokens with m_t = 0 leave the loss and its denominator

    token_score: r, the score of every token by a token-level reward or value model, shape (T,); t - 1 is the policy
    token before. A: the trajectory's advantage, here leave-one-out among the rollouts of its prompt (the paper's is PPO's).
    A segment at the threshold is masked either way. All of a trajectory masked: it adds nothing.

    form: "ppo" (APPO); "dpo" (ADPO), the gradient of -log sigmoid(beta (sum_chosen m log pi/pi_ref - sum_rejected m
    log pi/pi_ref)) for the best and the worst rollout of each prompt (ties averaged; chosen by rbar > threshold, rejected
    by rbar < threshold), needs ``logp`` and ``ref_logp``; "rejection" (ARJ), weights 1 on the good segments of solved
    rollouts (``success``, else reward > 0), to be imitated.
    delta: how large a jump cuts. 0 cuts between any unequal neighbours; inf never. None: the .9 quantile of the
    trajectory's own jumps. 0.4, for scores in [-1, 1], is reconstructed. segment_reward: "mean", "sum" or the "last" token's.
    threshold: the constant the paper calls a baseline; 0 in the authors' other code. beta: of "dpo".
    denominator: the mean over unmasked tokens by default. single: what A is for a prompt with one rollout.

    A null (NaN) token is a segment of its own that no one has judged: it keeps A (form "ppo") and is left out elsewhere.
    diagnostics: ``kept``, share of policy tokens not masked; ``segments`` per trajectory; for "dpo" the summed ``loss``.

    Reconstructed: the cut, the segment's mean, delta. Verified in the authors' later code (Equilibrate-RLHF), token by token:
    the mask and the threshold. The paper's text would settle the rest.

    Source: Li et al. (2411.00809), withdrawn from ICLR 2025; Yingshui-Tan/Equilibrate-RLHF.
    """
    check_word(form, Form, "form")
    check_word(segment_reward, Segment, "segment_reward")
    check_word(denominator, Denominator, "denominator")
    check_word(single, Single, "single")
    if (delta is not None and delta < 0) or beta <= 0:
        raise OptionError(f"delta = {delta}, beta = {beta}: expected None or at least 0, and above 0")
    if denominator == "limit":
        raise OptionError("denominator = 'limit' is constant, and masking is about what is averaged: choose another")
    reward, judged, segments = _segments(batch, token_score, delta, segment_reward)
    owner, over, n = batch.within("token", "trajectory"), batch.within("trajectory", "group"), batch.n_trajectories
    good, bad = judged & (reward > threshold), judged & (reward < threshold)
    more: dict[str, float] = {}
    if form == "ppo":
        a = standardise(batch.reward, over, baseline="leave_one_out", single=single)
        keep = batch.action & (np.where(a[owner] >= 0, good, bad) | ~judged)
        token = np.where(keep, a[owner], 0.0)
    elif form == "rejection":
        keep = good & batch.solved[owner]
        token = keep.astype(np.float64)
    else:
        ratio = np.where(batch.action, batch.need("logp", "for form='dpo'") - batch.need("ref_logp", "for form='dpo'"), 0.0)
        winner, loser, weight = best_and_worst(batch.reward, over)
        won, lost = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
        won[winner], lost[loser] = True, True
        keep = (good & won[owner]) | (bad & lost[owner])  # no one is both best and worst
        score = beta * np.bincount(owner, weights=np.where(keep, ratio, 0.0), minlength=n).astype(np.float64)
        up, down, more["loss"] = log_sigmoid_pull(score, winner, loser, weight)
        token = np.where(keep, beta * (up - down)[owner], 0.0)
    more |= {"kept": float(keep.sum() / batch.action.sum()), "segments": segments / n}
    kind: Literal["weight", "advantage"] = "weight" if form == "rejection" else "advantage"
    return Credit(batch, "token", token, token, kind=kind, keep=keep, loss=Loss(denominator=denominator), diagnostics=more)


def _segments(batch: Batch, score: Float, delta: float | None, how: Segment) -> tuple[Float, Bool, int]:
    """Reward of the segment each token lies in, which tokens were judged, and how many segments there are."""
    policy: Int = np.flatnonzero(batch.action)
    owner = batch.within("token", "trajectory")[policy]
    r, known = score[policy], ~np.isnan(score[policy])
    opens = np.append(True, owner[1:] != owner[:-1])
    jump = np.append(0.0, np.abs(np.diff(np.where(known, r, 0.0))))
    between = ~opens & known & np.append(False, known[:-1])  # two judged neighbours of one trajectory
    limit = np.full(batch.n_trajectories, delta) if delta is not None else _usual(jump, between, owner, batch.n_trajectories)
    cut = ~between | (jump > limit[owner])
    segment = np.cumsum(cut) - 1
    value = np.where(known, r, 0.0)
    total = np.bincount(segment, weights=value).astype(np.float64)
    if how == "mean":
        total = total / np.bincount(segment)
    elif how == "last":
        total = value[np.append(np.flatnonzero(cut)[1:], policy.size) - 1]
    reward, judged = np.zeros(batch.n_tokens), np.zeros(batch.n_tokens, dtype=np.bool_)
    reward[policy], judged[policy] = total[segment], known
    return reward, judged, int(cut.sum())


def _usual(jump: Float, between: Bool, owner: Int, n: int) -> Float:
    """The .9 quantile of each trajectory's jumps (nearest rank from below), 0 where it has none."""
    x, of = jump[between], owner[between]
    order = np.lexsort((x, of))
    size = np.bincount(of, minlength=n)
    at = np.cumsum(size) - size + np.floor(0.9 * np.maximum(size - 1, 0)).astype(np.int64)
    usual = np.zeros(n)
    usual[size > 0] = x[order][at[size > 0]]
    return usual
