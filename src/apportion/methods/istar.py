"""iStar (Liu et al. 2025, arXiv 2509.19199): rewards of steps from a reward model that goes on learning by DPO."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Evidence, Policy
from ..evidence.implicit import LearnedImplicit, Update, fit_implicit, log_ratio
from ..evidence.implicit_design import Reference, reference_logp
from ..ops.groups import firsts, group_mean, group_spread, standardise, whiten
from ..ops.scans import first_active
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import check_word

Estimator = Literal["rloo", "mean", "z_score", "reinforce_pp"]
StepBaseline = Literal["all", "first"]
Combine = Literal["add", "process", "merged"]
Aggregate = Literal["sum", "mean"]


def collect(batch: Batch, policy: Policy, *, rng: np.random.Generator) -> Evidence:
    """Ask the implicit reward model (a language model trained by DPO) for its log-probability of every token."""
    asked = policy.logp(batch, rng)
    return Evidence({"prm_logp": asked.values}, {"prm_logp": "token"}, bill=asked.bill, provenance=policy.provenance)


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    state: LearnedImplicit | None = None,
    update: Update = "after",
    aggregate: Aggregate = "sum",
    beta: float = 0.05,
    reference: Reference = "frozen",
    folds: int = 5,
    ridge: float = 10.0,
    buckets: int = 2**14,
    steps: int = 30,
) -> LearnedImplicit:
    """The reward model, gone on learning from ``state`` by DPO on this batch's pairs (solved, unsolved) of a prompt.

        loss = -log sigmoid(beta S(solved) - beta S(unsolved)),      S = sum over steps of log pi_phi - log pi_old

    A log-linear policy on hashed text features (``evidence.implicit``) in place of a language model; pi_old is ``logp``.
    update: "after", the code's: this batch is scored by what was known before it, so that a first batch has no step
    rewards, exactly; "before": it is scored after learning, cross-fitted by prompt (``folds``); "none": nothing is
    learned (``reverse`` of the code is "after" with its passes apart, ``ce`` the loss of ``prime``).
    aggregate: S of the paper, or the code's "mean" over steps. reference: where phi starts: the "frozen" reference
    (``ref_logp``; the paper's base checkpoint), or the "policy" itself, wherever it is now.
    Pairs of a prompt weigh together half its rollouts (the code's mean weighs all pairs alike). No pair: phi stays.
    """
    check_word(aggregate, Aggregate, "aggregate")
    old, base = batch.need("logp", "for istar"), reference_logp(batch, reference, "as where the reward model starts")
    share = np.ones(batch.n_tokens)
    if aggregate == "mean":
        share = (1.0 / np.diff(batch.trajectory_turns))[batch.within("token", "trajectory")]
    away = np.where(batch.action, share * (base - old), 0.0)
    offset: Float = np.zeros(batch.n_trajectories)
    offset += np.bincount(batch.within("token", "trajectory"), weights=away, minlength=offset.size)
    return fit_implicit(
        batch, "prm_logp", rng, labels=None, beta=beta, reference=reference, folds=folds, ridge=ridge, buckets=buckets,
        steps=steps, share=share, offset=offset, state=state, update=update,
        together="group",
    )  # fmt: skip


@method(
    unit="turn",
    reads={"reward", "group", "logp"},
    evidence={"prm_logp": "token"},
    source="policy",
    collect=collect,
    fit=fit,
    cost="T tokens scored by the reward model, T trained",
    status="verified",
    unbiased="no: step rewards of a learned model are added to the outcome",
    smallest=(
        "(Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], group=[0, 0], logp=[-1.0, -0.5, -2.0]), "
        "{'prm_logp': [-0.5, -0.4, -2.5]})"
    ),
    scope="group",
    widens={"norm": True, "estimator": "reinforce_pp"},
)
def istar(
    batch: Batch,
    *,
    prm_logp: Float,
    beta: float = 0.05,
    omega: float = 1.0,
    estimator: Estimator = "rloo",
    step_baseline: StepBaseline = "all",
    norm: bool = True,
    combine: Combine = "add",
) -> Credit:
    """Leave-one-out outcomes plus leave-one-out implicit rewards of steps, each against the others of its prompt.

        r_{i,t} = beta sum_{y in step t} (log pi_phi(y) - log pi_old(y)),      r <- r / (max |r| + 1e-6)   over the batch
        A_{i,t} = A^E(R_i) + omega A^S(r_{i,t}),      A(x) = n/(n - 1) (x - mean) over the n members of the prompt

    prm_logp: log-probability of every token under the reward model, shape (T,), in nats; pi_old is the column ``logp``,
    the policy that sampled. A step is a turn (of the environment). R (N,) is the total reward; the n of A^E are the
    prompt's rollouts, those of A^S the steps of all its rollouts. One value per turn; parts: ``episode`` and ``step``.
    No return-to-go, no discount. loss.denominator: "token". Clipped token ratio, no KL.

    beta: .05. omega: 1 (``step_advantage_w``). norm: the division in the first line (``batch_norm``, the code's default); with
    False, r as in the paper.
    estimator: "rloo", the code's default. "mean": x - mean. "z_score": (x - mean)/(sd + 1e-6), sample, the paper's
    equations. "reinforce_pp": x - mean, then (x - mean)/sqrt(var + 1e-8) over all policy tokens of the batch, apart for
    the two. A set of one keeps its own x in all four (mean 0, and no factor).
    step_baseline: "all" steps of the prompt (paper, and the code's docstring), or the "first" of each rollout: the code
    drops all others when it makes n and the mean, so every step is compared with first steps. Where the first steps of
    a prompt are all equal, "z_score" divides by 1 (ours; by 1e-6 in the code).
    combine: "add"; "process", A^S alone (``use_process_only``); "merged", the paper's ablation, A^S of R_i + omega r_{i,t}.

    Rewards all equal: A^E is 0 exactly and A^S is not. A reward model that is where the policy is: RLOO (or the
    estimator's trajectory form). beta cancels in the norm, but for 1e-6 of it.

    Source: Liu et al., ICLR 2026 (2509.19199); Tongyi-ConvAI/Qwen-Character ``CharacterRL-iStar/istar/core_istar.py``,
    ``dp_rm.py``, ``rm_utils.py``. Ours: the norm spans the whole batch. A penalty for invalid actions belongs in the rewards.
    """
    check_word(estimator, Estimator, "estimator")
    check_word(step_baseline, StepBaseline, "step_baseline")
    check_word(combine, Combine, "combine")
    if beta <= 0:
        raise OptionError(f"beta = {beta}: expected above 0")
    turn, owner = batch.within("token", "turn"), batch.within("turn", "trajectory")
    q = np.bincount(turn, weights=log_ratio(batch, prm_logp, "prm_logp", "policy"), minlength=batch.n_turns)
    r: Float = beta * q.astype(np.float64)
    if norm:
        r = r / (np.abs(r).max() + 1e-6)
    over, among = batch.within("trajectory", "group"), batch.within("turn", "group")
    counted = np.ones(batch.n_turns, dtype=np.bool_) if step_baseline == "all" else firsts(owner)
    every = np.ones(batch.n_trajectories, dtype=np.bool_)
    x = batch.reward[owner] + omega * r if combine == "merged" else r
    step = _against(x, among, counted, estimator)
    episode = _against(batch.reward, over, every, estimator)[owner]
    if estimator == "reinforce_pp":
        step, episode = (_whitened(batch, a) for a in (step, episode))
    if combine == "merged":
        return Credit.of(batch, "turn", step, loss=Loss(denominator="token"))
    step = omega * step
    a = step if combine == "process" else episode + step
    return Credit.of(batch, "turn", a, parts={"episode": episode, "step": step}, loss=Loss(denominator="token"))


def _against(x: Float, over: Int, counted: Bool, estimator: Estimator) -> Float:
    """What each x has above the mean of the counted ones of its group; of one counted, x itself."""
    if counted.all() and estimator == "rloo":
        return standardise(x, over, baseline="leave_one_out", single="raw")
    if counted.all():
        return standardise(x, over, spread="sample" if estimator == "z_score" else "none", single="raw")
    # those that are not counted are no copies of those that are
    mean, n = group_mean(x, over, counted)
    above = np.where(n[over] > 1, x - mean[over], x)
    if estimator == "rloo":
        return above * (n / np.maximum(n - 1, 1))[over]
    if estimator == "z_score":
        spread = group_spread(x, over, ddof=1, counted=counted)
        return above / np.where(spread > 0, spread + 1e-6, 1.0)[over]
    return above


def _whitened(batch: Batch, x: Float) -> Float:
    token = whiten(x[batch.within("token", "turn")], batch.action)
    return token[first_active(batch.action, batch.turn_offsets)]
