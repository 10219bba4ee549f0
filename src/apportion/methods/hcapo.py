"""HCAPO (Tan et al. 2026, arXiv 2603.08754): the policy rescoring its own actions in hindsight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Bill, Evidence, Policy
from ..evidence.learned import LearnedHindsight, fit_linear
from ..ops.groups import group_mean, standardise
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Denominator, Single, Spread, check_word

Scope = Literal["group", "timestep"]


def collect(
    batch: Batch,
    policy: Policy,
    *,
    rng: np.random.Generator,
    template: str = "(Hindsight) The task ended with: {outcome}.",
    outcomes: Sequence[str] | None = None,
) -> Evidence:
    """Ask the policy for the log-probability of every action with the outcome written before it.

    template: the text put before each action slot (the paper does not print its own). outcomes:
    one description per trajectory; default "success" or "failure" and the reward. One scoring pass a turn.
    """
    if "{outcome}" not in template:
        raise OptionError(f"template = {template!r}: expected a text that holds {{outcome}}")
    if outcomes is None:
        words = zip(batch.solved.tolist(), batch.reward.tolist(), strict=True)
        outcomes = [f"{'success' if solved else 'failure'} (reward {reward:g})" for solved, reward in words]
    if len(outcomes) != batch.n_trajectories:
        raise OptionError(f"outcomes has {len(outcomes)} entries, expected {batch.n_trajectories}: one per trajectory")
    asked = policy.logp(batch, rng, hindsight=[template.replace("{outcome}", o) for o in outcomes])
    arrays = {"hindsight_logp": asked.values}
    return Evidence(arrays, {"hindsight_logp": "token"}, bill=asked.bill, provenance=policy.provenance)


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
) -> LearnedHindsight:
    """Hindsight log-probabilities learned from the batch, without a language model.

    Two cross-fitted linear models of success on hashed features, one that sees the action and one
    that does not, turned round by Bayes' rule (``evidence.learned.LearnedHindsight``). A different
    estimator of the same quantity, not the paper's: it knows what ended well elsewhere in this
    batch, and nothing of the language.
    """
    solved = batch.solved.astype(np.float64)[batch.within("turn", "trajectory")]
    seed = int(rng.integers(2**63))  # the same folds for both, so that their noise cancels in the ratio
    before, after = (
        fit_linear(batch, "turn", solved, np.random.default_rng(seed), folds=folds, ridge=ridge, buckets=buckets, actions=actions)
        for actions in (0, action_tokens)
    )
    return LearnedHindsight(before, after, Bill(trained=2.0 * float(batch.action.sum())))


@method(
    unit="turn",
    reads={"reward", "group"},
    may_read={"success"},
    evidence={"hindsight_logp": "token"},
    source="policy",
    collect=collect,
    fit=fit,
    cost="N scoring passes, T tokens plus the prompts and the hindsight text",
    status="secondary",
    unbiased="no: the hindsight ratio is no importance weight (no prior divides it), and both terms are divided by a spread",
    smallest=("(Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], group=[0, 0]), {'hindsight_logp': [-0.2, -2.0, -0.7]})"),
    scope="group",
)
def hcapo(
    batch: Batch,
    *,
    hindsight_logp: Float,
    omega: float = 1.0,
    gamma: float = 0.95,
    temperature: float = 5.0,
    low: float = 0.8,
    high: float = 1.2,
    smooth: float | None = None,
    micro_scope: Scope = "group",
    do_no_harm: bool = True,
    spread: Spread = "sample",
    eps: float = 1e-6,
    single: Single = "error",
    denominator: Denominator = "sequence",
) -> Credit:
    """GRPO's advantage plus a turn term: did knowing the outcome make this action likelier?

        h_t = exp(mean_j log pi(y_j | context, outcome) / temperature)      per turn t = 1..T_i
        rho_t = clip(h_t / mean_k h_k, low, high)                            within the trajectory
        Q_t = rho_t gamma^(T_i - t) R_i                    smoothed: smooth Q_t + (1 - smooth) Q_{t+1}
        M_t = (Q_t - mean Q) / (std Q + eps)               over all turns of the prompt's rollouts
        A_t = (R_i - mean_G R) / (std_G R + eps) + omega M_t

    R (N,) is the total reward, taken as earned at the end (the paper knows no other). hindsight_logp:
    log-probability of every token with the outcome in the context, shape (T,). A turn with a null (NaN)
    among its policy tokens was not asked: it enters no statistic, keeps the first term only, and is
    a neighbour of rho 1 when smoothing. One value per turn; parts: ``macro``, ``micro`` (omega M;
    they add up to the credit).

    omega, gamma, temperature, low, high: the paper's 1, 0.95, 5, 0.8, 1.2. smooth: None, or the paper's
    alpha = 0.5 ("w Smooth"), with the unsmoothed neighbour; the last turn stays.
    micro_scope: "group" (algorithm box and theory, the default) or "timestep" (text beside one equation).
    do_no_harm: in solved trajectories (``success``, else reward > 0) negative M become 0.
    spread, eps: not stated in the paper; ddof 1 and 1e-6 as in verl-agent. A single value to standardise
    has M = 0. single: what the first term gives a prompt with one rollout: an error by default, "zero",
    or "raw", its reward (verl-agent).
    denominator: the paper averages over turns, then trajectories; "sequence" is the nearest there is
    (rows that are trajectories: over their tokens).

    Failures with reward 0 have Q = 0 throughout: hindsight never tells their turns apart. All rewards
    equal and not 0: the first term is 0, the second is not.

    Source: Tan et al. (2603.08754), from a transcription of the paper; no code published. Ours: ddof,
    the boundary of the smoothing, the prompt's wording, nulls.
    """
    check_word(micro_scope, Scope, "micro_scope")
    check_word(denominator, Denominator, "denominator")
    if temperature <= 0:
        raise OptionError(f"temperature = {temperature}: expected above 0")
    if not low <= high:
        raise OptionError(f"low = {low}, high = {high}: the ratio is clipped to [low, high], so low may not be above high")
    if smooth is not None and not 0 <= smooth <= 1:
        raise OptionError(f"smooth = {smooth}: expected None or a weight from 0 to 1 of the turn's own value")
    mean, asked = _mean_logp(batch, hindsight_logp)
    owner = batch.within("turn", "trajectory")
    best = np.maximum.reduceat(mean, batch.trajectory_turns[:-1])
    h = np.exp((mean - np.where(np.isfinite(best), best, 0.0)[owner]) / temperature)  # the scale cancels in rho
    usual = group_mean(h, owner, asked)[0]
    rho = np.clip(h / np.where(usual > 0, usual, 1.0)[owner], low, high)
    left = np.diff(batch.trajectory_turns)[owner] - 1 - batch.turn_index
    q = np.where(asked, rho, 1.0) * gamma**left * batch.reward[owner]
    if smooth is not None:
        q = np.where(left > 0, smooth * q + (1 - smooth) * np.append(q[1:], 0.0), q)
    over = batch.within("turn", "group")
    if micro_scope == "timestep":
        over = np.unique(over * (int(batch.turn_index.max()) + 1) + batch.turn_index, return_inverse=True)[1]
    micro = standardise(q, over, spread=spread, eps=eps, counted=asked, single="zero")
    if do_no_harm:
        micro = np.where(batch.solved[owner], np.maximum(micro, 0.0), micro)
    micro = omega * np.where(asked, micro, 0.0)
    macro = standardise(batch.reward, batch.within("trajectory", "group"), spread=spread, eps=eps, single=single)[owner]
    return Credit.of(
        batch, "turn", macro + micro, parts={"macro": macro, "micro": micro}, loss=Loss(denominator=denominator),
        diagnostics={"asked": float(asked.mean())},
    )  # fmt: skip


def _mean_logp(batch: Batch, logp: Float) -> tuple[Float, Bool]:
    """Mean log-probability of each turn's policy tokens (-inf: not asked), and which turns were asked in full."""
    positive = batch.action & (logp > 1e-3)
    if positive.any():
        i = int(np.argmax(positive))
        raise OptionError(f"evidence 'hindsight_logp'[{i}] = {logp[i]:g}: a log-probability is at most 0")
    turn: Int = batch.within("token", "turn")
    known = batch.action & ~np.isnan(logp)
    total = np.bincount(turn, weights=np.where(known, logp, 0.0), minlength=batch.n_turns)
    count = np.bincount(turn, weights=known, minlength=batch.n_turns)
    asked = count == batch.action_count("turn")
    return np.where(asked, total / np.maximum(count, 1), -np.inf), asked
