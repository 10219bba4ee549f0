"""HCA (Harutyunyan et al. 2019, arXiv 1912.02503): credit where the outcome makes the action likelier in hindsight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Evidence, Policy
from ..evidence.outcomes import LearnedOutcome, fit_outcomes
from ..ops.groups import standardise
from ..ops.scans import discounted_suffix
from ..registry import method
from ..structure import Bool, Float
from ..words import Single, check_word

Baseline = Literal["none", "leave_one_out"]
Form = Literal["geometric", "product"]


def collect(
    batch: Batch,
    policy: Policy,
    *,
    rng: np.random.Generator,
    template: str = "{outcome}: this is how the task ended.",
    outcomes: Sequence[str] | None = None,
) -> Evidence:
    """Ask the policy for the log-probability of every token with its trajectory's outcome written before it.

    A language model's stand-in for a learned h (ours, as in HCAPO). template: the text put before each action;
    outcomes: one description per trajectory, by default "success" or "failure" and the reward.
    """
    if "{outcome}" not in template:
        raise OptionError(f"template = {template!r}: expected a text that holds {{outcome}}")
    if outcomes is None:
        words = zip(batch.solved.tolist(), batch.reward.tolist(), strict=True)
        outcomes = [f"{'success' if solved else 'failure'} (reward {reward:g})" for solved, reward in words]
    if len(outcomes) != batch.n_trajectories:
        raise OptionError(f"outcomes has {len(outcomes)} entries, expected {batch.n_trajectories}: one per trajectory")
    asked = policy.logp(batch, rng, hindsight=[template.replace("{outcome}", o) for o in outcomes])
    return Evidence({"hindsight_logp": asked.values}, {"hindsight_logp": "token"}, asked.bill, policy.provenance)


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
) -> LearnedOutcome:
    """The hindsight distribution of this batch: P(action | seen, solved or not), by Bayes' rule.

    Two cross-fitted linear models of success (``evidence.outcomes``), where the paper trains a classifier of actions
    on states and outcomes: a distribution over texts cannot be listed, its ratio to the policy can.
    """
    return LearnedOutcome(*fit_outcomes(batch, rng, folds=folds, ridge=ridge, buckets=buckets, actions=action_tokens))


@method(
    unit="step",
    reads={"reward", "logp"},
    may_read={"group", "steps"},
    evidence={"hindsight_logp": "token"},
    source="policy",
    collect=collect,
    fit=fit,
    cost="one pass of the hindsight model over T tokens and N outcomes",
    status="verified",
    unbiased="no: the ratio is bounded, taken as a mean over tokens, and only as right as the hindsight model",
    smallest=("(Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], logp=[-1.4, -0.3]), {'hindsight_logp': [-0.9, -0.5]})"),
    scope="group",
)
def hca(
    batch: Batch,
    *,
    hindsight_logp: Float,
    gamma: float = 1.0,
    bound: float | None = 5.0,
    form: Form = "geometric",
    baseline: Baseline = "none",
    single: Single = "error",
) -> Credit:
    """Hindsight credit assignment, return-conditional: one minus how likely the action was over how likely it proved.

        A_t = (1 - pi(a_t | x_t) / h(a_t | x_t, Z)) Z_t,          Z_t = sum_{u >= t} gamma^(u - t) R_u
        log pi/h = mean, or sum, over the step's tokens of (log-prob - log-prob with the outcome known)

    hindsight_logp: log h of every token, shape (T,); ``logp``: log pi. One value per step (turn where the batch has no
    steps). An action that the outcome makes no likelier (h = pi) gets 0, however near the end it stands. A step with a
    null (NaN) among its policy tokens was not asked: ``scored`` is False there and its credit 0.

    gamma: the paper's 1. bound: pi/h is kept within [1/bound, bound], 5 for lack of a better number: the paper and its
    code have none (None), but an estimated h near 0 explodes where a true one never is.
    form: "geometric" is a mean over tokens, as for language models (HCAPO); "product" is the paper's ratio of
    whole actions, which in long texts is all bound.
    baseline: Z = 0 gets no credit, so failures push nothing down (the paper's form, "none"). "leave_one_out" takes
    Z_t - mean_{j != i} R_j: 1 - pi/h has mean 0 given the action where h is right, so any constant may be taken off.
    single: what a prompt with one rollout gets then: an error, "raw" (nothing is taken off) or "zero".

    With the right h, no bound and form "product" it is the advantage, on average over what follows the action.
    The state-conditional form spreads later rewards over *all* actions by h/pi; credit of sampled text
    has no place for those that were not taken, and averaging over the taken one only is not the same.
    diagnostics: ``bounded``, the share of asked steps whose ratio met the bound; ``asked``.

    Source: Harutyunyan et al., NeurIPS 2019 (1912.02503); hca-neurips2019/hca, ``ReturnHCA`` (returns in bins, no bound).
    Ours: the bound, texts as actions, the baseline.
    """
    check_word(form, Form, "form")
    check_word(baseline, Baseline, "baseline")
    check_word(single, Single, "single")
    if not 0 <= gamma <= 1:
        raise OptionError(f"gamma = {gamma}: expected a number from 0 to 1")
    if bound is not None and bound < 1:
        raise OptionError(f"bound = {bound}: expected None or at least 1: pi/h is kept within [1/bound, bound]")
    positive = batch.action & (hindsight_logp > 1e-3)
    if positive.any():
        i = int(np.argmax(positive))
        raise OptionError(f"evidence 'hindsight_logp'[{i}] = {hindsight_logp[i]:g}: a log-probability is at most 0")
    log_ratio, asked = _log_ratio(batch, hindsight_logp, form)
    limit = np.log(bound) if bound is not None else 700.0  # e^700 is the last that a float holds
    met = np.abs(log_ratio) >= limit
    ratio = np.exp(np.clip(log_ratio, -limit, limit))
    owner = batch.within("step", "trajectory")
    bounds = np.searchsorted(owner, np.arange(batch.n_trajectories + 1))
    z = discounted_suffix(batch.rewards("step"), bounds, gamma)
    if baseline == "leave_one_out":
        z = _centred(batch, z, single)
    return Credit.of(
        batch, "step", np.where(asked, (1.0 - ratio) * z, 0.0), scored=asked,
        diagnostics={"asked": float(asked.mean()), "bounded": float(met[asked].mean()) if asked.any() else 0.0},
    )  # fmt: skip


def _log_ratio(batch: Batch, hindsight: Float, form: Form) -> tuple[Float, Bool]:
    """log pi/h of every step, and which of them were asked in full."""
    step, known = batch.within("token", "step"), batch.action & ~np.isnan(hindsight)
    difference = np.where(known, batch.need("logp") - np.where(known, hindsight, 0.0), 0.0)
    total = np.bincount(step, weights=difference, minlength=batch.n_steps)
    size = batch.action_count("step")
    asked = np.bincount(step, weights=known, minlength=batch.n_steps) == size
    return total / size if form == "geometric" else total.astype(np.float64), asked


def _centred(batch: Batch, z: Float, single: Single) -> Float:
    """Returns to go less the mean reward of the prompt's other rollouts."""
    over, owner = batch.within("trajectory", "group"), batch.within("step", "trajectory")
    own = standardise(batch.reward, over, baseline="leave_one_out", single=single)
    less = (batch.reward - own)[owner]
    alone = (np.bincount(over)[over] == 1)[owner] & (single == "zero")
    # z - R is exactly 0 where all is earned at the end, so equal rewards leave exactly nothing
    return np.where(alone, 0.0, np.where(z == batch.reward[owner], own[owner], z - less))
