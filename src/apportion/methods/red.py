"""RED (Li et al. 2025, arXiv 2411.08302): each token is paid the rise of the reward model's score that it caused."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Bill
from ..evidence.reward_model import LearnedReward
from ..evidence.text_model import fit_text
from ..ops.groups import standardise
from ..ops.scans import discounted_suffix, gae_and_returns, segment_sum
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Single, check_word

Form = Literal["mixed", "to_go", "return", "gae", "reward"]
First = Literal["difference", "zero"]
Residual = Literal["none", "last"]


def fit(
    batch: Batch, *, rng: np.random.Generator, folds: int = 5, ridge: float = 3.0, buckets: int = 512
) -> LearnedReward:  # fmt: skip
    """A reward model for this batch, fitted on its complete texts only and then read at every token.

    A cross-fitted linear model of the pieces of a text (see ``evidence.text_model``); the paper takes
    an off-the-shelf model with a scalar head. It is as good on prefixes as complete texts make it.
    """
    model = fit_text(batch, "step", rng, rows="complete", folds=folds, ridge=ridge, buckets=buckets)
    return LearnedReward(model, Bill(trained=float(batch.action.sum())))


@method(
    unit="token",
    reads={"reward", "group"},
    may_read={"steps", "logp", "ref_logp", "value", "truncated", "bootstrap"},
    evidence={"prefix_score": "token", "final_score": "trajectory"},
    fit=fit,
    cost="one pass of the reward model over T tokens, its head read at each of them",
    status="secondary",
    unbiased="no: 'mixed' adds the reward model's opinion of single tokens to the advantage",
    smallest=(
        "(Batch.from_turns([[2], [2]], outcome=[1.0, 0.0], group=[0, 0]), "
        "{'prefix_score': [0.5, 0.6, 0.5, 0.2], 'final_score': [0.9, 0.1]})"
    ),
    scope="group",
)
def red(
    batch: Batch,
    *,
    prefix_score: Float,
    final_score: Float,
    form: Form = "mixed",
    alpha: float = 1.0,
    beta_c: float = 1.0,
    beta: float = 0.0,
    first_token: First = "difference",
    residual: Residual = "none",
    gamma: float = 1.0,
    lam: float = 0.95,
    single: Single = "error",
) -> Credit:
    """The increments of a sequence reward model, read at every prefix, as rewards of the tokens.

        rt_t = P_{t+1} - P_t                      P_t: score of what stands before token t; P_T: of the whole
        r_t  = beta_c rt_t + (1 - beta_c) R 1[t last] - beta (log pi - log pi_ref)
        A_t  = (R_i - mean_{j != i} R_j) + alpha (r_t - mean_t r)                  form "mixed"

    prefix_score: P before every policy token, shape (T,), observations between two of them included, so
    that what they bring is paid to the token before them. final_score: P of each complete text, (N,).
    t + 1 is the next *policy* token. The increments add up to final_score - P_0: a potential, so no
    policy is favoured that was not before. R is the total reward of the batch; in the paper it is final_score.

    form: the paper hands r to PPO ("gae": needs ``value``, with gamma and lam) and, saying nothing of how,
    to RLOO. As a "return", sum_t r_t against the mean of the others', all but the ends cancel: plain RLOO
    wherever a prompt has one P_0 (and final_score is R or residual="last"). "mixed", the default, is the
    rule of a third-party reproduction: RLOO's advantage plus each token's reward against the mean of its
    own rollout. "to_go" is sum_{u >= t} r_u, what is still to be paid: with residual="last" it is R - P_t,
    that is gae with value=prefix_score and gamma = lam = 1. "reward" gives r itself, to be turned into an advantage.
    alpha: weight of the token term of "mixed"; 1 (the reproduction).
    beta_c: share of redistributed reward; the paper's 1 (.5 once). beta: weight of the KL penalty, the
    signed log-ratio; the paper's is .02, 0 here because trainers have their own. Needs ``logp`` and ``ref_logp``.
    first_token: "zero" drops the first increment (the paper's ablation and figure).
    residual: "last" puts R - final_score, what a learned model missed, on the last policy token (times beta_c).
    gamma, lam: of "gae" only; the paper gives none. single: what RLOO's term gives a prompt with one
    rollout: an error by default, "raw" or "zero".

    Two models, a reward and a cost to be kept low: pass half the difference of their scores. Scores of
    another tokenizer: :func:`at_policy_tokens`. A null (NaN) score is no increment on either side of it: the one that
    spans it goes to the token after which a score is known again; a rollout without any has r = 0 there.
    diagnostics: the shares of policy tokens (``scored``) and of rollouts (``ended``) whose score is known.

    Source: Li et al., EMNLP 2025 (2411.08302), equations 6-8, as cited by a third-party reproduction;
    no code published. Ours: what to do with observations, nulls, the residual, "mixed" and "to_go".
    """
    check_word(form, Form, "form")
    check_word(first_token, First, "first_token")
    check_word(residual, Residual, "residual")
    check_word(single, Single, "single")
    if not 0 <= beta_c <= 1:
        raise OptionError(f"beta_c = {beta_c}: expected a share from 0 to 1")
    for name, factor in (("gamma", gamma), ("lam", lam)):
        if not 0 <= factor <= 1:
            raise OptionError(f"{name} = {factor}: expected a number from 0 to 1")
    offsets, last = batch.offsets("trajectory"), batch.last_action("trajectory")
    paid, known = _increments(batch, prefix_score, final_score, first_token)
    if residual == "last":
        paid[last] += np.where(known, batch.reward - np.where(known, final_score, 0.0), 0.0)
    r = beta_c * paid
    r[last] += (1.0 - beta_c) * batch.reward
    if beta:
        r -= np.where(batch.action, beta * (batch.need("logp", "for beta") - batch.need("ref_logp", "for beta")), 0.0)
    found = {"scored": float(np.isfinite(prefix_score[batch.action]).mean()), "ended": float(known.mean())}
    owner, over = batch.within("token", "trajectory"), batch.within("trajectory", "group")
    if form == "reward":
        return Credit(batch, "token", r, r, kind="reward", diagnostics=found)
    if form == "gae":
        value = np.where(batch.action, batch.need("value", "for red with form='gae'"), 0.0)
        credit, returns = gae_and_returns(r, value, batch.action, offsets, gamma, lam, _end(batch))
        return Credit(batch, "token", credit, credit, targets={"value": returns}, diagnostics=found)
    if form == "to_go":
        credit = np.where(batch.action, discounted_suffix(r, offsets), 0.0)
        return Credit(batch, "token", credit, credit, diagnostics=found)
    total = segment_sum(r, offsets)
    base = standardise(batch.reward if form == "mixed" else total, over, baseline="leave_one_out", single=single)[owner]
    base = np.where(batch.action, base, 0.0)
    if form == "return":
        return Credit(batch, "token", base, base, diagnostics=found)
    mean = total / batch.action_count("trajectory")
    own = np.where(batch.action, alpha * (r - mean[owner]), 0.0)
    token = base + own
    return Credit(batch, "token", token, token, parts={"sequence": base, "token": own}, diagnostics=found)


def at_policy_tokens(scores: Float, ends: Int, policy_ends: Int, empty: float) -> tuple[Float, float]:
    """One rollout's scores of another tokenizer, read before every policy token, and after the last.

    scores, ends: score after each reward-model token and the byte it ends at; policy_ends: the byte each
    policy token ends at; empty: the score before anything. A reward-model token belongs to the policy token that
    holds its last byte; a policy token that owns none pays nothing. Returns (prefix_score, final_score).
    """
    known = np.concatenate(([empty], np.asarray(scores, dtype=np.float64)))
    after = known[np.searchsorted(np.asarray(ends), np.asarray(policy_ends), side="right")]
    return np.concatenate(([empty], after[:-1])), float(after[-1])


def _increments(batch: Batch, before: Float, final: Float, first_token: First) -> tuple[Float, Bool]:
    """rt of every token (0 where nothing is paid), and which rollouts have a final score."""
    owner, policy = batch.within("token", "trajectory"), np.flatnonzero(batch.action)
    at = policy[np.isfinite(before[policy])]
    if not at.size:
        return np.zeros(batch.n_tokens), np.isfinite(final)
    following = np.append(at[1:], at[0])
    follows = np.append(owner[at[1:]] == owner[at[:-1]], False)  # the next known score is of the same rollout
    gain = np.where(follows, before[following], final[owner[at]]) - before[at]
    gain[~np.isfinite(gain)] = 0.0
    if first_token == "zero":
        gain[np.isin(at, policy[np.searchsorted(policy, batch.offsets("trajectory")[:-1])])] = 0.0
    before_it = policy[np.searchsorted(policy, following) - 1]  # the policy token right before the next known one
    place = np.where(follows, before_it, batch.last_action("trajectory")[owner[at]])
    paid = np.zeros(batch.n_tokens)
    np.add.at(paid, place, gain)
    return paid, np.isfinite(final)


def _end(batch: Batch) -> Float:
    """Value after the last token: 0, or the bootstrap value of a truncated trajectory."""
    if batch.bootstrap is None:
        return np.zeros(batch.n_trajectories)
    return batch.bootstrap if batch.truncated is None else np.where(batch.truncated, batch.bootstrap, 0.0)
