"""PURE (Cheng et al. 2025, arXiv 2504.15275): the value of a step is the worst process reward to come."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import BatchError, OptionError
from ..evidence import Bill, Evidence, Judge
from ..evidence.learned import LearnedProcess, fit_linear
from ..ops import scans
from ..ops.groups import standardise
from ..ops.groups import whiten as whitened
from ..registry import method
from ..structure import Float, Int
from ..words import check_word

Form = Literal["softmax", "exact", "min", "sum"]
Variant = Literal["paper", "verl", "openrlhf"]

_PENALTY, _VERIFIABLE = ("token_reward",), ("outcome", "turn_reward")


def collect(batch: Batch, judge: Judge, *, rng: np.random.Generator) -> Evidence:
    """Ask a process reward model for one score per step."""
    asked = judge.score(batch, "step", rng)
    return Evidence({"process": asked.values}, {"process": "step"}, bill=asked.bill, provenance=judge.provenance)


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
) -> LearnedProcess:
    """A process reward learned from outcomes: 2 P(success | seen and done up to this step) - 1.

    A cross-fitted linear model of hashed features (see ``evidence.learned``); the paper's is a 7B
    model trained on human step labels.
    """
    solved = batch.solved.astype(np.float64)[batch.within("step", "trajectory")]
    success = fit_linear(batch, "step", solved, rng, folds=folds, ridge=ridge, buckets=buckets, actions=action_tokens)
    return LearnedProcess(success, Bill(trained=float(batch.action.sum())))


@method(
    unit="step",
    reads={"group", "limit", "reward"},
    may_read={"steps"},
    unless={"reward": ("verifiable", 0.0), "limit": ("variant", "openrlhf")},
    evidence={"process": "step"},
    source="judge",
    collect=collect,
    fit=fit,
    cost="T tokens scored by a process reward model",
    status="verified",
    unbiased="no: it maximises the worst process reward, not the return, and the baseline is one number for all positions",
    smallest="Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], process=[0.9, -0.6], group=[0, 0], limit=2)",
    scope="group",
    widens={"whiten": True},
)
def pure(
    batch: Batch,
    *,
    process: Float,
    form: Form = "softmax",
    temperature: float = 0.1,
    variant: Variant = "paper",
    verifiable: float = 1.0,
    whiten: bool = True,
) -> Credit:
    """Process rewards reweighted so that their sum is (nearly) the worst of them, against a leave-one-out baseline.

        w_j = exp(-r_j / temperature) / sum_k exp(-r_k / temperature),   rs_j = w_j r_j     per trajectory
        G_t = sum_{t' >= t} of rs_j placed on the last policy token of step j
        b_i = sum_{k != i} sum_t G_{k,t} / ((K - 1) limit)
        A_{i,t} = G_{i,t} - b_i + verifiable (R_i - mean_{k != i} R_k),       then whitened over the batch

    process: r, one score in [-1, 1] per step (turns where the batch has no steps), shape (steps,);
    a null (NaN) step carries no reward and takes no part in the weights. Token credit; ``unit`` is
    the mean over the policy tokens of each step. K rollouts a prompt, at least two.

    form: "softmax" (both code bases, the default); "exact", the paper's definition and the limit
    temperature -> 0: the worst of the steps to come up to the worst one (the first of equals), 0 after it;
    "min", verl's strict form: G_t is the least token reward from t on, the zeros of tokens inside
    a step and of the padding up to ``limit`` included; "sum", ordinary returns, which invite padding
    with well-scored steps.
    temperature: 0.1.
    variant: "paper" adds the verifiable reward R as a leave-one-out term of its own; "verl" puts it among
    the token rewards; "openrlhf" takes the mean of the others' rewards *per token of theirs* (no limit) off
    a step once per token but the last, before summing, gives the tokens that end a step 0 and
    whitens the rest with the population variance, clamped at 1e-8.
    verifiable: weight of R, the total reward; 0 is PURE-PRM, and then needs no rewards.
    whiten: (A - mean)/sqrt(var + 1e-8) over all policy tokens, unbiased variance.

    ``limit`` is the generation limit in tokens: the sum of G is divided by it, not by the length of the
    response, so the baseline shrinks as the limit grows.

    Source: Cheng et al., NeurIPS 2025 (2504.15275); CJReinforce/PURE, branches ``verl`` and ``main`` (OpenRLHF).
    The KL term of the verl code goes into ``token_reward``; variant "verl" adds that to the token rewards as it
    is, and ``verifiable`` weighs the other rewards only. Not copied from the OpenRLHF code: its variance
    also holds the squared mean once per step end, and it takes an inner token whose return is exactly
    0 for a step end.
    """
    check_word(form, Form, "form")
    check_word(variant, Variant, "variant")
    if temperature <= 0:
        raise OptionError(f"temperature = {temperature}: expected above 0 (form='exact' is the limit 0)")
    if variant == "openrlhf" and form == "min":
        raise OptionError("form='min' is verl's: use it with variant='paper' or 'verl'")
    _pairs(batch)
    placed = np.zeros(batch.n_tokens)
    placed[batch.last_action("step")] = _transformed(batch, process, form, temperature)
    if variant == "openrlhf":
        token = _openrlhf(batch, placed, verifiable, whiten)
    else:
        token = _verl(batch, placed, form, variant, verifiable)
        token = whitened(token, batch.action) if whiten else token
    mean = np.bincount(batch.within("token", "step"), weights=token, minlength=batch.n_steps) / batch.action_count("step")
    return Credit(batch=batch, level="step", unit=mean, token=token)


def _pairs(batch: Batch) -> None:
    size = np.bincount(batch.within("trajectory", "group"))
    if (size == 1).any():
        g = int(np.argmax(size == 1))
        raise BatchError(f"group {g} has a single trajectory, so PURE's leave-one-out baseline divides by 0: sample at least two")


def _transformed(batch: Batch, process: Float, form: Form, temperature: float) -> Float:
    """Reward of every step after the transform, 0 where not scored."""
    known = ~np.isnan(process)
    r = np.where(known, process, 0.0)
    if form in ("sum", "min"):
        return r
    owner = batch.within("step", "trajectory")
    starts = np.searchsorted(owner, np.arange(batch.n_trajectories))
    worst = np.minimum.reduceat(np.where(known, process, np.inf), starts)[owner]
    if form == "exact":
        at = np.flatnonzero(known & (process == worst))
        w = np.zeros(r.size)
        w[at[np.unique(owner[at], return_index=True)[1]]] = 1.0
        return w * r
    w = np.where(known, np.exp(-(r - np.where(known, worst, r)) / temperature), 0.0)
    total = np.bincount(owner, weights=w, minlength=batch.n_trajectories)
    scaled: Float = w / np.where(total > 0, total, 1.0)[owner] * r
    return scaled


def _verl(batch: Batch, placed: Float, form: Form, variant: Variant, verifiable: float) -> Float:
    """G_t - b_i, with the verifiable reward among the token rewards or as a term of its own."""
    trajectory, over, offsets = _maps(batch)
    limit = batch.need("limit", "for pure, whose baseline is divided by it")
    if variant == "verl":
        penalty, rest = (batch.only({"steps", *names}).rewards("token") for names in (_PENALTY, _VERIFIABLE))
        placed = placed + penalty + verifiable * rest
    if form == "min":
        padded = batch.action_count("trajectory") < limit
        g = scans.suffix_min(placed, batch.action, offsets, np.where(padded, 0.0, np.inf))
    else:
        g = scans.discounted_suffix(placed, offsets)
    g = np.where(batch.action, g, 0.0)
    total = scans.segment_sum(g, offsets)
    size = np.bincount(over)[over]
    others = np.bincount(over, weights=total)[over] - total
    advantage = g - (others / ((size - 1) * limit))[trajectory]
    if variant == "paper" and verifiable:
        advantage += verifiable * standardise(batch.reward, over, baseline="leave_one_out")[trajectory]
    return np.where(batch.action, advantage, 0.0)


def _openrlhf(batch: Batch, placed: Float, verifiable: float, whiten: bool) -> Float:
    """Others' mean reward per token off every inner token; verifiable term at the end; step ends get 0."""
    trajectory, over, offsets = _maps(batch)
    total, length = scans.segment_sum(placed, offsets), batch.action_count("trajectory").astype(np.float64)
    others = [np.bincount(over, weights=x)[over] - x for x in (total, length)]
    step = batch.within("token", "step")
    ends = batch.last_action("step")
    rewards = placed.copy()
    rewards[ends] -= (others[0] / others[1])[trajectory[ends]] * (batch.action_count("step") - 1)  # without the separator
    if verifiable:
        final = batch.last_action("trajectory")
        rewards[final] += verifiable * standardise(batch.reward, over, baseline="leave_one_out")
    inner = batch.action & (np.arange(batch.n_tokens) != ends[step])
    g = scans.discounted_suffix(rewards, offsets)
    return whitened(g, inner, spread="population", clamp=True) if whiten else np.where(inner, g, 0.0)


def _maps(batch: Batch) -> tuple[Int, Int, Int]:
    """Trajectory of every token, prompt of every trajectory, token offsets of the trajectories."""
    return batch.within("token", "trajectory"), batch.within("trajectory", "group"), batch.offsets("trajectory")
