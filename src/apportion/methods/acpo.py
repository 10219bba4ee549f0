"""ACPO (Yin et al. 2025, arXiv 2510.08899): outcome credit shared out by what each step adds to the answer's likelihood."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Evidence, Policy
from ..evidence.belief import answer_belief
from ..evidence.prefix import LearnedBelief, fit_prefix, own_ends
from ..ops.groups import standardise
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Axis, Denominator, Single, Spread, check_word

Answer = Literal["gold", "own"]


def collect(batch: Batch, policy: Policy, *, rng: np.random.Generator) -> Evidence:
    """Ask the policy for the mean log-probability of the reference answer, forced after every step prefix.

    Privileged: the reference answer is not what the policy sees when it acts.
    """
    axis: Axis = "prefix" if batch.step_offsets is None else "step_prefix"
    asked = answer_belief(batch, policy, rng, "acpo", axis=axis)
    return Evidence({"answer_logp": asked.values}, {"answer_logp": "step_prefix"}, bill=asked.bill, provenance="privileged")


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
) -> LearnedBelief:
    """log P(success | prefix), learned from outcomes, in place of the answer's log-probability.

    Cross-fitted linear models of hashed features (``evidence.prefix``): not the paper's quantity, and not privileged.
    """
    before, after, bill = fit_prefix(
        batch, "step", own_ends(batch, "step"), rng, folds=folds, ridge=ridge, buckets=buckets, actions=action_tokens
    )  # fmt: skip
    return LearnedBelief(before, after, bill)


@method(
    unit="step",
    reads={"reward", "group"},
    may_read={"steps"},
    evidence={"answer_logp": "step_prefix"},
    source="policy",
    collect=collect,
    fit=fit,
    cost="N + 1 scoring passes over the answer (T tokens and N + 1 answers with a cache)",
    status="reconstructed",
    unbiased="no: weights depend on the actions they multiply, and the first factor is divided by a spread",
    smallest=(
        "(Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], group=[0, 0]), {'answer_logp': [-2.0, -1.0, -0.5, -2.0, -3.0]})"
    ),
    scope="group",
)
def acpo(
    batch: Batch,
    *,
    answer_logp: Float,
    tau: float = 1.0,
    answer: Answer = "gold",
    confidence: bool = False,
    spread: Spread = "sample",
    eps: float = 1e-6,
    single: Single = "error",
    denominator: Denominator = "token",
) -> Credit:
    """GRPO's advantage times a weight per step: how much the step told about the answer.

        psi_k = 1/|a| log pi(a | x, s_1..s_k)     k = 0..K        I_k = psi_k - psi_{k-1}
        A_i = (R_i - mean_G R) / (std_G R + eps)                    g = +1 if A_i >= 0, else -1
        w_k = exp(g I_k / tau) sum_j L_j / sum_j L_j exp(g I_j / tau)
        A_{i,k} = A_i w_k

    **Reconstructed**: the paper's equations were not readable. Its abstract and public summaries have
    steps cut at entropy peaks, contributions from a surrogate of mutual information, a factorised reward and two stages;
    the formulas above are the simplest that fit, and every constant is ours. The paper's
    equations 1-10 would settle the factorisation; one list that follows the survey calls it gradient-based.

    answer_logp: psi, at most 0, at every prefix between steps, shape (steps + trajectories,). L: policy
    tokens of a step. w has token-weighted mean 1 in every trajectory and is above 0: the sign of the
    outcome is kept, and so is the trajectory's mean credit. A step beside a null (NaN) psi has w = 1 and takes no
    part in the sums. Steps are the batch's (turns where it has none); :func:`entropy_steps` cuts them as the
    paper's summaries say. One step: w = 1, GRPO. All rewards equal: 0.

    tau: 1, temperature; small values give all credit to one step.
    answer: "gold", the reference; "own", psi of the trajectory's own answer, where no reference is at hand: g is
    then +1 for wrong answers too, because a step that makes the wrong answer likelier is to blame.
    confidence: True is the second stage: R_i is multiplied by exp(psi_K) before standardising, so that a right but
    unsure answer may fall below the mean. Its pull to a reference policy belongs in ``token_reward`` or the loss,
    the first stage's entropy bonus (steps with |I| above the trajectory's median) in the loss.
    spread, eps, single: as in GRPO. denominator: "token".

    Source: Yin et al. (2510.08899), abstract and public summaries; no code.
    """
    check_word(answer, Answer, "answer")
    check_word(denominator, Denominator, "denominator")
    if tau <= 0:
        raise OptionError(f"tau = {tau}: expected above 0")
    positive = answer_logp > 1e-3
    if positive.any():
        i = int(np.argmax(positive))
        raise OptionError(f"evidence 'answer_logp'[{i}] = {answer_logp[i]:g}: a log-probability is at most 0")
    reward = batch.reward
    if confidence:
        reward = reward * np.exp(_final(batch, answer_logp))
    advantage = standardise(reward, batch.within("trajectory", "group"), spread=spread, eps=eps, single=single)
    sign = np.where((advantage >= 0) | (answer == "own"), 1.0, -1.0)
    owner = batch.within("step", "trajectory")
    weight = _weights(batch, answer_logp, sign[owner] / tau)
    return Credit.of(
        batch, "step", advantage[owner] * weight, loss=Loss(denominator=denominator),
        diagnostics={"asked": float(np.mean(~np.isnan(_gains(batch, answer_logp)))), "weight_max": float(weight.max())},
    )  # fmt: skip


def _gains(batch: Batch, psi: Float) -> Float:
    """I_k of every step, NaN beside a null."""
    before = np.arange(batch.n_steps) + batch.within("step", "trajectory")
    gains: Float = psi[before + 1] - psi[before]
    return gains


def _weights(batch: Batch, psi: Float, scale: Float) -> Float:
    """exp(scale I) of every step over its token-weighted mean in the trajectory; 1 where I is null."""
    owner, n = batch.within("step", "trajectory"), batch.n_trajectories
    x = scale * _gains(batch, psi)
    known = ~np.isnan(x)
    best = np.full(n, -np.inf)
    np.maximum.at(best, owner[known], x[known])
    u = np.where(known, np.exp(np.where(known, x - best[owner], 0.0)), 0.0)  # the scale cancels in w
    length = np.where(known, batch.action_count("step"), 0).astype(np.float64)
    tokens, total = (np.bincount(owner, weights=y, minlength=n) for y in (length, length * u))
    return np.where(known, u * (tokens / np.where(total > 0, total, 1.0))[owner], 1.0)


def _final(batch: Batch, psi: Float) -> Float:
    """psi_K of every trajectory; the second stage cannot do without."""
    last = psi[batch.step_prefix_offsets[1:] - 1]
    if np.isnan(last).any():
        i = int(batch.step_prefix_offsets[1:][np.isnan(last)][0] - 1)
        raise OptionError(f"evidence 'answer_logp'[{i}] is null: confidence=True needs it at the end of every trajectory")
    return last


def entropy_steps(batch: Batch, *, quantile: float = 0.8, min_tokens: int = 8) -> Batch:
    """The batch with steps that start where the policy was unsure: at tokens whose entropy is in the upper tail.

    Within each turn a step starts at policy tokens with H_t >= the ``quantile`` of H over the trajectory's
    policy tokens (linear interpolation); a start closer than ``min_tokens`` policy tokens to the one before (or to
    the turn's) is dropped, and so is the turn's last one where fewer than ``min_tokens`` follow. Equal entropies:
    every token passes, and steps have ``min_tokens`` each. Reconstructed; the constants are ours. Recorded
    process scores are dropped: they are keyed by other steps.
    """
    if not 0 <= quantile <= 1:
        raise OptionError(f"quantile = {quantile}: expected a number from 0 to 1")
    if min_tokens < 1:
        raise OptionError(f"min_tokens = {min_tokens}: expected at least 1")
    entropy = batch.need("entropy", "to cut steps where the policy was unsure")
    offsets = batch.offsets("trajectory")
    peak = np.zeros(batch.n_tokens, dtype=np.bool_)
    for a, b in pairwise(offsets.tolist()):
        inside = np.flatnonzero(batch.action[a:b]) + a
        if inside.size:
            peak[inside] = entropy[inside] >= np.quantile(entropy[inside], quantile)
    starts = [_starts(batch.action, peak, a, b, min_tokens) for a, b in pairwise(batch.turn_offsets.tolist())]
    cut: Int = np.append(np.concatenate(starts), batch.n_tokens).astype(np.int64)
    return batch.with_columns(step_offsets=cut, process=None)


def _starts(action: Bool, peak: Bool, begin: int, end: int, least: int) -> list[int]:
    """Where the steps of one turn start; the first takes the observation before it along."""
    acts = np.flatnonzero(action[begin:end]) + begin
    kept = [0]  # in policy tokens of the turn
    for j in np.flatnonzero(peak[acts]).tolist():
        if j - kept[-1] >= least:
            kept.append(j)
    if len(kept) > 1 and acts.size - kept[-1] < least:
        kept.pop()
    return [begin, *(int(acts[j]) for j in kept[1:])]
