"""ITPO (Wang et al. 2026, arXiv 2603.23550): the outcome split over turns by an implicit reward model."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Evidence, Policy
from ..evidence.implicit import LearnedImplicit, fit_implicit, log_ratio
from ..evidence.implicit_design import Reference
from ..ops.groups import standardise, whiten
from ..ops.scans import discounted_suffix
from ..ops.unit_means import against_means
from ..registry import method
from ..structure import Float
from ..words import Denominator, Single, check_word

Variant = Literal["paper", "code"]
Estimator = Literal["rloo", "grpo"]


def collect(batch: Batch, policy: Policy, *, rng: np.random.Generator) -> Evidence:
    """Ask the implicit reward model (a language model trained on outcomes) for its log-probability of every token."""
    asked = policy.logp(batch, rng)
    return Evidence({"prm_logp": asked.values}, {"prm_logp": "token"}, bill=asked.bill, provenance=policy.provenance)


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    beta: float = 0.05,
    reference: Reference = "frozen",
    folds: int = 5,
    ridge: float = 10.0,
    buckets: int = 2**14,
    steps: int = 30,
) -> LearnedImplicit:
    """An implicit reward model of this batch: sigmoid(beta sum log pi/pi_ref) fitted to the outcome by cross-entropy.

    Soft labels: the rewards themselves where all lie in [0, 1], else success. A log-linear policy on hashed text
    features, cross-fitted by trajectory (see ``evidence.implicit``); the paper's is as large as the policy.
    """
    r = batch.reward
    labels = r if ((r >= 0) & (r <= 1)).all() else batch.solved.astype(np.float64)
    given = {"beta": beta, "reference": reference, "folds": folds, "ridge": ridge, "buckets": buckets, "steps": steps}
    return fit_implicit(batch, "prm_logp", rng, labels=labels, **given)  # type: ignore[arg-type]


@method(
    unit="turn",
    reads={"reward", "group", "ref_logp"},
    may_read={"logp"},
    unless={"ref_logp": ("reference", "policy")},
    evidence={"prm_logp": "token"},
    source="policy",
    collect=collect,
    fit=fit,
    cost="2 T tokens scored (reward model and reference), T trained",
    status="verified",
    unbiased="no: learned weights place the outcome, turns are compared with means of other turns, whitening shifts all",
    smallest=(
        "(Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], group=[0, 0], ref_logp=[-1.0, -0.5, -2.0]), "
        "{'prm_logp': [-0.5, -0.4, -2.5]})"
    ),
    scope="batch",
)
def itpo(
    batch: Batch,
    *,
    prm_logp: Float,
    norm: bool = True,
    beta: float = 0.05,
    eta: float = 0.4,
    variant: Variant = "paper",
    estimator: Estimator = "rloo",
    length_weight: float = 0.0,
    reference: Reference = "frozen",
    single: Single = "error",
    denominator: Denominator = "token",
) -> Credit:
    """Turn rewards from sums of token log-ratios, compared within the prompt, as returns, whitened.

        l_t = log pi_phi(y_t) - log pi_ref(y_t),        I_k = beta sum_{t in turn k} l_t
        r_k = I_k                                        ITPO       (norm=False)
        r_k = softmax_k(I_k / eta) R                     Norm-ITPO  (the default)
        a_{i,k} = r_{i,k} G/(G-1) - sum_j m_j/(G-1),     m_j = mean of r over the turns of rollout j
        ret_{i,k} = sum_{k' >= k} a_{i,k'},              A = (ret - mean)/sqrt(var + 1e-8) over all policy tokens

    prm_logp: log-probability of every token under the reward model, shape (T,), in nats; it was trained
    so that sigmoid(beta sum_t l_t) is the outcome. R (N,) is the total reward, which the r_k of a rollout add
    up to under Norm-ITPO; ITPO sees it through the model alone. G rollouts a prompt; the sum over j includes i.
    The variance is the unbiased one. One value per turn.

    beta: 0.05; the scripts have 0.0035 to 0.05 by task (0.01 for Norm on mathematics). eta: 0.4 (0.7 in the code).
    variant: "code" adds what the released recipe does: the score of each rollout's last token is 0, scores
    are divided by max |sum_{j >= t} beta l_j| + 1e-6 over the batch, and the weights are softmax of the turn's *mean*
    score times the batch's mean turn length over eta. "paper" is the softmax of sums.
    estimator: "grpo" standardises turn rewards over all turns of the prompt (ddof 1, eps 1e-6) and does
    not whiten: RECONSTRUCTED, the paper has it and the code has not; what is pooled and eps are ours.
    length_weight: added to r_k for every policy token of turn k (the scripts: -5e-5 for every word; ours
    counts tokens). RLOO is linear, so a stream of its own with the same coefficient is the same.
    reference: "frozen" compares with ``ref_logp``, "policy" with ``logp``.
    single: a prompt with one rollout is an error, keeps its own r ("raw") or gets 0.
    denominator: "token" (verl). Clipped token ratio; the scripts keep a KL loss of 1e-3. Coefficients of a single
    stream cancel in the whitening and are left out. The PPO form needs a critic over turns and is left out.

    One turn a rollout: Norm-ITPO is RLOO, whitened. R = 0: r is 0 throughout, and others' successes still count
    against it. Equal I: R is split evenly. Rewards all equal and not 0: turns still differ by their weights.

    Source: Wang et al. (2603.23550), the softmax of sums through two summaries; Graph-COM/ITPO,
    ``itpo_core_algos.py``, ``prime_dp_rm.py``. Ours: norms and mean lengths span the batch, not a worker's share.
    """
    for name, value, words in (("variant", variant, Variant), ("estimator", estimator, Estimator)):
        check_word(value, words, name)
    check_word(denominator, Denominator, "denominator")
    for name, number in (("beta", beta), ("eta", eta)):
        if number <= 0:
            raise OptionError(f"{name} = {number}: expected above 0")
    owner, over = batch.within("turn", "trajectory"), batch.within("trajectory", "group")
    length = batch.action_count("turn").astype(np.float64)
    r = _implicit(batch, beta * log_ratio(batch, prm_logp, "prm_logp", reference), variant)
    if norm:
        if variant == "code":
            r = r / length * length.mean()
        r = _softmax(r / eta, batch) * batch.reward[owner]
    r = r + length_weight * length
    if estimator == "grpo":
        a = standardise(r, over[owner], spread="sample", eps=1e-6, single=single, what="prompt (in turns)")
    else:
        a = against_means(r, owner, over, np.ones(batch.n_turns, dtype=np.bool_), single=single)
    turn = discounted_suffix(a, batch.trajectory_turns)
    if estimator == "rloo":
        token = whiten(turn[batch.within("token", "turn")], batch.action)
        turn = token[batch.last_action("turn")]
    return Credit.of(batch, "turn", turn, loss=Loss(denominator=denominator))


def _implicit(batch: Batch, score: Float, variant: Variant) -> Float:
    """Sum of the scores of each turn; as the code has them, without the last token and divided by the largest return."""
    if variant == "code":
        score[batch.last_action("trajectory")] = 0.0
        score = score / (np.abs(discounted_suffix(score, batch.offsets("trajectory"))).max() + 1e-6)
    return np.bincount(batch.within("token", "turn"), weights=score, minlength=batch.n_turns).astype(np.float64)


def _softmax(x: Float, batch: Batch) -> Float:
    """Softmax over the turns of each trajectory."""
    owner, starts = batch.within("turn", "trajectory"), batch.trajectory_turns[:-1]
    e = np.exp(x - np.maximum.reduceat(x, starts)[owner])
    weight: Float = e / np.add.reduceat(e, starts)[owner]
    return weight
