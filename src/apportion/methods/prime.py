"""PRIME (Cui et al. 2025, arXiv 2502.01456): token rewards from an implicit process reward model, learned from outcomes."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..evidence import Evidence, Policy
from ..evidence.implicit import LearnedImplicit, fit_implicit, log_ratio
from ..evidence.implicit_design import Reference
from ..ops.groups import standardise, whiten
from ..ops.scans import discounted_suffix
from ..ops.unit_means import against_means
from ..registry import method
from ..structure import Float
from ..words import Denominator, Single, check_word

Granularity = Literal["token", "whole"]
Variant = Literal["paper", "verl"]


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
    """An implicit reward model of this batch: sigmoid(beta sum log pi/pi_ref) fitted to success by cross-entropy.

    A log-linear policy on hashed text features, cross-fitted by trajectory (see ``evidence.implicit``); the
    paper's is as large as the policy, and scores a batch by weights it has or has not yet updated on it.
    """
    given = {"beta": beta, "reference": reference, "folds": folds, "ridge": ridge, "buckets": buckets, "steps": steps}
    return fit_implicit(batch, "prm_logp", rng, labels=batch.solved.astype(np.float64), **given)  # type: ignore[arg-type]


@method(
    unit="token",
    reads={"reward", "group", "ref_logp"},
    may_read={"logp"},
    unless={"ref_logp": ("reference", "policy")},
    evidence={"prm_logp": "token"},
    source="policy",
    collect=collect,
    fit=fit,
    cost="2 T tokens scored (reward model and reference), T trained",
    status="verified",
    unbiased="no: process rewards of a learned model are added to the outcome, and whitening shifts every advantage",
    smallest=(
        "(Batch.from_turns([[2], [1]], outcome=[1.0, 0.0], group=[0, 0], ref_logp=[-1.0, -0.5, -2.0]), "
        "{'prm_logp': [-0.5, -0.4, -2.5]})"
    ),
    scope="group",
    widens={"norm": True, "whitening": True},
)
def prime(
    batch: Batch,
    *,
    prm_logp: Float,
    process_coef: float = 1.0,
    outcome_coef: float = 1.0,
    granularity: Granularity = "token",
    variant: Variant = "paper",
    reference: Reference = "frozen",
    norm: bool = True,
    whitening: bool = True,
    single: Single = "raw",
    denominator: Denominator = "token",
) -> Credit:
    """Leave-one-out outcomes plus leave-one-out implicit token rewards, as returns, whitened.

        q_t = log pi_psi(y_t) - log pi_ref(y_t),          q <- q / (max |sum_{j >= t} q_j| + 1e-6)   over the batch
        v_{i,t} = q_{i,t} n/(n-1) - sum_j m_j/(n-1),       m_j = mean of q over the tokens of response j
        o_i = R_i n/(n-1) - sum_j R_j/(n-1)                on the last token of response i
        G_{i,t} = sum_{j >= t} (process_coef v_{i,j} + outcome_coef o_{i,j}),      A = (G - mean)/sqrt(var + 1e-8)

    prm_logp: log-probability of every token under the implicit reward model, shape (T,), in nats; it was
    trained so that sigmoid(beta sum_t q_t) tells solved from unsolved. n responses a prompt; the sums run over
    all of them, i included. R (N,) is the total reward. Mean and unbiased variance run over all policy tokens
    of the batch. One value per token; parts ``process`` and ``outcome`` are the two returns before whitening.

    process_coef, outcome_coef: 1 and 1, as in the original repository (its ``rm_coef`` enters a logged sum only);
    verl's recipe has 5 and 5, which whitening cancels.
    granularity: "token", or "whole": the sum of q on the last token, and m_j that sum over the length.
    variant: "verl" leaves the process reward of the last token out (0 before the norm; the token still counts in m
    and keeps its baseline and outcome).
    reference: "frozen" compares with ``ref_logp``, "policy" with ``logp`` (the code's reference-free mode).
    norm: the division in the first line ("batch_norm"). whitening: the last step.
    single: what a prompt with one response gets: "raw", its own q and R without a baseline, is the code's.
    denominator: "token". Clipped token ratio, no KL.

    The beta of the model's training cancels in the norm (but for 1e-6 of it), so credit does not ask for it.
    Rewards all equal: o is 0 exactly and v is not; the paper filters such prompts out of training.

    Source: Cui et al. (2502.01456); PRIME-RL/PRIME, ``dp_prime.py`` and ``compute_rloo_returns``; verl's
    ``recipe/prime``. Ours: the norm spans the whole batch, where the code has one per worker.
    """
    check_word(granularity, Granularity, "granularity")
    check_word(variant, Variant, "variant")
    check_word(denominator, Denominator, "denominator")
    offsets, owner = batch.offsets("trajectory"), batch.within("token", "trajectory")
    over, last = batch.within("trajectory", "group"), batch.last_action("trajectory")
    q = log_ratio(batch, prm_logp, "prm_logp", reference)
    if variant == "verl" and granularity == "token":
        q[last] = 0.0
    if granularity == "whole":
        total = np.bincount(owner, weights=q, minlength=batch.n_trajectories)
        q = np.zeros(batch.n_tokens)
        q[last] = total
    if norm:
        q = q / (np.abs(discounted_suffix(q, offsets)).max() + 1e-6)
    process = process_coef * against_means(q, owner, over, batch.action, single=single)
    outcome = np.zeros(batch.n_tokens)
    outcome[last] = outcome_coef * standardise(batch.reward, over, baseline="leave_one_out", single=single)
    parts = {
        name: np.where(batch.action, discounted_suffix(x, offsets), 0.0)
        for name, x in (("process", process), ("outcome", outcome))
    }
    token = parts["process"] + parts["outcome"]
    token = whiten(token, batch.action) if whitening else token
    return Credit(batch, "token", unit=token, token=token, parts=parts, loss=Loss(denominator=denominator))
