"""T-REG (Zhou et al. 2025, arXiv 2412.02685): preference learning whose token rewards a contrast of prompts regularises."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Evidence, Policy
from ..evidence.outcomes import LearnedContrast, fit_outcomes
from ..ops.groups import standardise
from ..ops.pairs import best_and_worst, log_sigmoid_pull
from ..registry import method
from ..structure import Float
from ..words import Single, check_word

Form = Literal["dpo", "simpo", "advantage", "reward"]

#: What is put before a response to ask for a better and for a worse one; the first word tells a simulated policy which.
BETTER = "success is wanted: rewrite the answer so that it is more helpful, correct, coherent and concise."
WORSE = "failure is wanted: rewrite the answer so that it is less helpful, incorrect, incoherent and verbose."


def collect(
    batch: Batch, policy: Policy, *, rng: np.random.Generator, better: str = BETTER, worse: str = WORSE
) -> Evidence:  # fmt: skip
    """Ask for the log-probability of every token under a prompt for better and a prompt for worse text.

    The paper asks the frozen reference model, once, before training. Two scoring passes. better, worse: the texts.
    """
    found = {
        name: policy.logp(batch, rng, hindsight=[text] * batch.n_trajectories)
        for name, text in (("better_logp", better), ("worse_logp", worse))
    }
    bill = found["better_logp"].bill + found["worse_logp"].bill
    return Evidence({n: a.values for n, a in found.items()}, dict.fromkeys(found, "token"), bill, policy.provenance)


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
) -> LearnedContrast:
    """The contrast learned from the outcomes of this batch, without a language model: ours, not the paper's.

    Log-probabilities of each action knowing that it will succeed, and that it will fail (``evidence.outcomes``).
    """
    return LearnedContrast(*fit_outcomes(batch, rng, folds=folds, ridge=ridge, buckets=buckets, actions=action_tokens))


@method(
    unit="token",
    reads={"reward", "group", "logp", "ref_logp"},
    may_read=set(),
    unless={"logp": ("form", ("advantage", "reward")), "ref_logp": ("form", ("simpo", "advantage", "reward"))},
    evidence={"better_logp": "token", "worse_logp": "token"},
    source="policy",
    collect=collect,
    fit=fit,
    cost="two passes of the reference model over T tokens",
    status="secondary",
    unbiased="no: it descends a preference loss, not the return",
    smallest=(
        "(Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], group=[0, 0], logp=[-0.6, -1.0], ref_logp=[-0.7, -0.9]), "
        "{'better_logp': [-0.5, -1.5], 'worse_logp': [-0.9, -0.4]})"
    ),
    scope="group",
)
def t_reg(
    batch: Batch,
    *,
    better_logp: Float,
    worse_logp: Float,
    form: Form = "dpo",
    alpha: float = 0.25,
    beta: float = 0.1,
    margin: float = 0.0,
    margin_in_weight: bool = False,
    single: Single = "error",
) -> Credit:
    """DPO's gradient, each token's share rescaled by how much better text would rather have said it.

        rhat_t = sigmoid(log pi(y_t | better) - log pi(y_t | worse)) - 1/2          in [-1/2, 1/2]
        L = L_DPO + alpha w (L_reg(chosen) + L_reg(rejected)),      L_reg(y) = - sum_t beta rhat_t log pi(y_t)
        A_t = -dL/dlog pi(y_t) = beta w (1 + alpha rhat_t)  chosen,   -beta w (1 - alpha rhat_t)  rejected
        w = sigmoid(r(rejected) - r(chosen)),      r(y) = beta sum_t (log pi - log pi_ref)

    better_logp, worse_logp: log-probability of every token under two opposed prompts, shape (T,), from a frozen
    model. ``logp``, ``ref_logp``: of the policy and the reference. The pair of a prompt is the best and the worst of
    its rollouts by total reward (the paper: of five); ties are averaged over all such pairs. All others have
    no credit and leave the loss (``keep`` and ``scored`` False), as does a prompt whose rewards are all equal.

    form: "dpo" (DPO-REG); "simpo" (SimPO-REG): r = beta/|y| sum_t log pi with no reference, the regulariser
    as it is; "advantage", ours, for on-policy training: A_t = A (1 + alpha rhat_t sign A) with A the leave-one-out
    advantage, the same rescaling, no pairs; "reward" is rhat itself. The last two need no log-probabilities but the evidence.
    alpha: .1, .25 or .5 in the paper. beta: 0.1, DPO's usual; the paper takes SimPO's settings per model. margin: SimPO's
    gamma, 0; margin_in_weight: whether w has it too (not known). single: what "advantage" gives a lone rollout.

    w is a constant of the loss (inferred). Equal prompts give rhat = 0: plain DPO. Null (NaN) log-probabilities likewise.
    alpha = 0 is DPO, or, with form="advantage", RLOO. L is averaged over the pairs of a prompt and summed over prompts.
    diagnostics: ``loss``, L; ``pairs``, how many prompts have one.

    Source: Zhou et al., ACL 2025 (2412.02685), from two summaries that agree; the announced code was not found.
    Ours: the wording of the prompts, pairs of ties, "advantage".
    """
    check_word(form, Form, "form")
    check_word(single, Single, "single")
    if alpha < 0 or beta <= 0:
        raise OptionError(f"alpha = {alpha}, beta = {beta}: expected at least 0 and above 0")
    rhat = _contrast(batch, better_logp, worse_logp)
    if form == "reward":
        return Credit(batch, "token", rhat, rhat, kind="reward")
    owner, over = batch.within("token", "trajectory"), batch.within("trajectory", "group")
    if form == "advantage":
        a = standardise(batch.reward, over, baseline="leave_one_out", single=single)[owner]
        token = np.where(batch.action, a + alpha * rhat * np.abs(a), 0.0)
        return Credit(batch, "token", token, token)
    logp = np.where(batch.action, batch.need("logp"), 0.0)
    n, length = batch.n_trajectories, batch.action_count("trajectory").astype(np.float64)
    implicit = logp if form == "simpo" else logp - np.where(batch.action, batch.need("ref_logp"), 0.0)
    scale = beta / length if form == "simpo" else np.full(n, beta)
    score = scale * np.bincount(owner, weights=implicit, minlength=n)
    pairs = best_and_worst(batch.reward, over)
    up, down, loss = log_sigmoid_pull(score, *pairs, margin=margin)
    drawn = [up, down] if margin_in_weight or not margin else list(log_sigmoid_pull(score, *pairs)[:2])
    regularised = alpha * beta * (drawn[0] + drawn[1])  # beta alpha w, whichever side of the pair
    token = np.where(batch.action, (scale * (up - down))[owner] + regularised[owner] * rhat, 0.0)
    paired = np.zeros(n, dtype=np.bool_)
    paired[np.concatenate(pairs[:2])] = True
    loss -= float((regularised[owner] * rhat * logp).sum())
    return Credit(
        batch, "token", token, token, keep=batch.action & paired[owner], scored=paired[owner],
        diagnostics={"loss": loss, "pairs": float(np.unique(over[pairs[0]]).size)},
    )  # fmt: skip


def _contrast(batch: Batch, better: Float, worse: Float) -> Float:
    """rhat of every token, 0 where nothing is known and on observation tokens."""
    for name, logp in (("better_logp", better), ("worse_logp", worse)):
        positive = batch.action & (logp > 1e-3)
        if positive.any():
            i = int(np.argmax(positive))
            raise OptionError(f"evidence '{name}'[{i}] = {logp[i]:g}: a log-probability is at most 0")
    known = batch.action & ~np.isnan(better) & ~np.isnan(worse)
    gap = np.where(known, better, 0.0) - np.where(known, worse, 0.0)
    rhat: Float = np.where(known, 0.5 * np.tanh(0.5 * gap), 0.0)  # sigmoid - 1/2
    return rhat
