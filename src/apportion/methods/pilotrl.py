"""PilotRL (Lu et al. 2025, arXiv 2508.00344): three stages, each with its own judged reward and its own tokens."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Bill, Evidence, Judge, Rubric
from ..evidence.judging import ask, provenance
from ..ops.groups import standardise
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Denominator, Single, check_word

Stage = Literal["follow", "plan", "joint"]
Plan = Literal["first", "spans"]
Formats = Literal["ok", "given"]

#: The stages in order, with the epochs of the official scripts.
SCHEDULE: tuple[tuple[Stage, int], ...] = (("follow", 1), ("plan", 2), ("joint", 1))
#: L_buf / L_max of the official scripts.
_BUFFER = 3072 / 14336
_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)

#: Our wording: the judge and its prompts are not public. Edit it with ``dataclasses.replace``.
RUBRIC = Rubric(
    name="pilotrl-adherence",
    template=(
        "An agent works on a task along a plan of its own.\n\nTask:\n{question}\n\nWhat it saw, planned and did, step by step:\n"
        "{units}\n\nFor every step: does its action carry out what the plan in force asks for at this point, given what the "
        "agent has just seen? Give 0 (it ignores the plan), 0.25, 0.5 (in part), 0.75 or 1 (fully), in order. Judge the "
        "action by the plan, not the plan."
    ),
    levels=_LEVELS,
)

#: The same for plans.
PLAN_RUBRIC = Rubric(
    name="pilotrl-plan",
    template=(
        "An agent writes a plan for a task and revises it as it goes.\n\nTask:\n{question}\n\nWhat it saw, planned and did, step "
        "by step:\n{units}\n\nFor every step in which a plan is written or revised: would somebody who followed it from there "
        "solve the task? Is it complete, in a workable order, and does it fit what has been seen so far? Give 0 (useless), "
        "0.25, 0.5, 0.75 or 1 (sound), in order. Judge the plan, not how it was carried out."
    ),
    levels=_LEVELS,
)


def collect(
    batch: Batch,
    judge: Judge,
    *,
    rng: np.random.Generator,
    stage: Stage = "joint",
    rubric: Rubric = RUBRIC,
    plan_rubric: Rubric = PLAN_RUBRIC,
) -> Evidence:
    """Ask how well actions keep to the plan, how good the plan is, or both, as the stage needs; NaN: no usable answer."""
    check_word(stage, Stage, "stage")
    arrays: dict[str, Float] = {}
    bill, asked_with = Bill(), [rubric]
    if stage != "plan":
        adherence = ask(batch, judge, "step", rng, rubric)
        arrays["adherence"], bill = adherence.values, bill + adherence.bill
    if stage != "follow":
        quality = ask(batch, judge, "step", rng, plan_rubric)
        arrays["plan_quality"], bill = quality.values, bill + quality.bill
        asked_with = [plan_rubric, *asked_with]
    return Evidence(arrays, dict.fromkeys(arrays, "step"), bill=bill, provenance=provenance(judge, asked_with[0]))


@method(
    unit="step",
    reads={"reward", "group", "limit"},
    may_read={"steps", "spans"},
    unless={
        "reward": ("stage", ("follow", "plan")), "limit": ("penalty", 0.0), "adherence": ("stage", "plan"),
        "plan_quality": ("stage", "follow"), "format_ok": ("formats", "ok"),
    },
    evidence={"adherence": "step", "plan_quality": "step", "format_ok": "trajectory"},
    source="judge",
    collect=collect,
    cost="follow, plan: 1 judge call, which reads T tokens; joint: 2; up to N of each if asked step by step",
    status="reconstructed",
    unbiased="no: judged rewards are mixed into the outcome, lengths are penalised and a spread divides",
    smallest=(
        "(Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], limit=4), "
        "{'adherence': [0, 1, 0, 0.5], 'plan_quality': [1, 0, 0.5, 0]})"
    ),
    scope="group",
)  # fmt: skip
def pilotrl(
    batch: Batch,
    *,
    adherence: Float | None = None,
    plan_quality: Float | None = None,
    format_ok: Float | None = None,
    stage: Stage = "joint",
    plan: Plan = "first",
    formats: Formats = "ok",
    format_weight: float = 0.1,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
    penalty: float = 1.0,
    buffer: float | None = None,
    eps: float = 1e-6,
    single: Single = "zero",
    denominator: Denominator = "token",
) -> Credit:
    """GRPO in three runs: first the actions learn to follow a plan, then plans learn to be good, then both learn together.

        x_i = d_i  "follow",    p_i  "plan",    (w_o R_i + w_p p_i + w_d d_i) / (w_o + w_p + w_d)  "joint"
        r_i = (f + (1 - f) x_i) [format ok] + min(0, -penalty (L_i - (limit - buffer)) / buffer)
        A_i = (r_i - mean_G r) / (std_G r + eps)        on action tokens "follow", plan tokens "plan", all of them "joint"

    R (N,): the total reward, in [0, 1], read in "joint" only. adherence: how well each step's action keeps to the plan, in
    [0, 1], shape (steps,) (turns where the batch has no steps); d is its mean over the steps that act, 0 without any.
    plan_quality: likewise of the steps that plan; p is their mean, 0 without any (nothing planned). Either is read in
    those steps only. A null (NaN) score is one that could not be parsed: it enters no mean, and a rollout left with none
    where it needs one stays out of the statistics and of the loss (``keep``, ``scored``). L: policy tokens of the rollout.

    stage: which of the three runs (``SCHEDULE``: the scripts' epochs). Tokens of the other kind leave the loss and its
    denominator (``keep``). "follow" and "joint" isolate nothing by themselves: the stages do, by what each one rewards.
    plan: where plans are written: in the first step of each rollout ("first"), or in the span table "plan" ("spans").
    formats: whether every response keeps to the format ("ok"), or ``format_ok`` says so (0 or 1 per trajectory, shape (N,)).
    format_weight: f, .1. weights: (w_o, w_p, w_d), equal. penalty, buffer: 1, and the scripts' 3072 of 14336 tokens in
    proportion to ``limit``; there is no lower bound, and it also falls on what breaks the format. 0 needs no ``limit``.
    eps: 1e-6, with ddof 1. single: "zero" (the scripts' trainer leaves a lone rollout its reward). denominator: "token".
    No KL, dual clip 3: the trainer's. Diagnostic ``unjudged``: share of the steps asked about that have no score.

    Status: reconstructed: what the rewards are made of, f, the weights, the prompts, and which tokens train (the reward code
    is missing from the repository). Verified in its scripts: the order of stages, GRPO, the penalty, the mean over tokens.

    Source: Lu et al. (2508.00344), abstract; 8023looker/PilotRL, scripts of the three stages and the data builder.
    """
    check_word(stage, Stage, "stage")
    check_word(formats, Formats, "formats")
    check_word(denominator, Denominator, "denominator")
    if not 0 <= format_weight <= 1:
        raise OptionError(f"format_weight = {format_weight}: expected a share from 0 to 1")
    if len(weights) != 3 or min(weights) < 0 or sum(weights) <= 0:
        raise OptionError(f"weights = {weights}: expected three weights (outcome, plan, adherence) of at least 0, not all 0")
    planned, owner = _planned(batch, plan), batch.within("step", "trajectory")
    of = batch.within("token", "step")
    plans, acts = (np.bincount(of, weights=batch.action & x, minlength=batch.n_steps) > 0 for x in (planned, ~planned))
    x, known, asked, heard = np.zeros(batch.n_trajectories), np.ones(batch.n_trajectories, dtype=np.bool_), 0, 0
    judged = (("follow", "adherence", adherence, acts, weights[2]), ("plan", "plan_quality", plan_quality, plans, weights[1]))
    for wanted, name, scores, where, weight in judged:
        if stage not in (wanted, "joint"):
            continue
        assert scores is not None
        mean, missing = _mean(name, scores, where, owner, batch.n_trajectories)
        known &= ~missing | (stage == "joint" and weight == 0)
        x += mean * (weight if stage == "joint" else 1.0)
        asked, heard = asked + int(where.sum()), heard + int((where & ~np.isnan(scores)).sum())
    if stage == "joint":
        x = (x + weights[0] * batch.reward) / sum(weights)
    r = format_weight + (1.0 - format_weight) * x
    if formats == "given":
        assert format_ok is not None
        ok = _flags(format_ok)
        r, known = np.where(ok, r, 0.0), known | ~ok  # what breaks the format gets 0, judged or not
    r = r + _overlong(batch, penalty, buffer)
    a = standardise(r, batch.within("trajectory", "group"), spread="sample", eps=eps, counted=known, single=single)
    trained = {"follow": ~planned, "plan": planned, "joint": np.ones(batch.n_tokens, dtype=np.bool_)}[stage]
    keep = trained & known[batch.within("token", "trajectory")]
    used = {"follow": acts, "plan": plans, "joint": plans | acts}[stage] & known[owner]
    token = np.where(batch.action & keep, a[batch.within("token", "trajectory")], 0.0)
    return Credit(
        batch, "step", np.where(used, a[owner], 0.0), token, keep=keep, scored=used, loss=Loss(denominator=denominator),
        diagnostics={"unjudged": 1.0 - heard / asked if asked else 0.0},
    )  # fmt: skip


def _planned(batch: Batch, plan: Plan) -> Bool:
    """Which tokens write a plan."""
    check_word(plan, Plan, "plan")
    if plan == "first":
        owner = batch.within("step", "trajectory")
        opens = np.append(True, owner[1:] != owner[:-1])
        return opens[batch.within("token", "step")]
    if "plan" not in batch.spans:
        raise OptionError(f"plan='spans' reads the span table 'plan'; the batch has spans {sorted(batch.spans)}")
    table = batch.spans["plan"]
    edge = np.bincount(table.start, minlength=batch.n_tokens + 1) - np.bincount(table.end, minlength=batch.n_tokens + 1)
    return np.cumsum(edge)[:-1] > 0


def _mean(name: str, scores: Float, where: Bool, owner: Int, n: int) -> tuple[Float, Bool]:
    """Mean score of each rollout's steps ``where``, 0 without such steps; and which have steps but not one score."""
    if (bad := where & ((scores < 0) | (scores > 1))).any():
        i = int(np.argmax(bad))
        raise OptionError(
            f"evidence '{name}'[{i}] = {scores[i]:g}: expected a score from 0 to 1 (NaN where it could not be parsed)"
        )
    heard = where & ~np.isnan(scores)
    count = np.bincount(owner, weights=heard, minlength=n)
    total = np.bincount(owner, weights=np.where(heard, scores, 0.0), minlength=n)
    missing = (count == 0) & (np.bincount(owner, weights=where, minlength=n) > 0)
    return np.asarray(total / np.maximum(count, 1), dtype=np.float64), missing


def _flags(format_ok: Float) -> Bool:
    if (bad := ~np.isin(format_ok, (0.0, 1.0))).any():
        i = int(np.argmax(bad))
        raise OptionError(f"evidence 'format_ok'[{i}] = {format_ok[i]:g}: expected 0 or 1")
    return np.asarray(format_ok == 1)


def _overlong(batch: Batch, penalty: float, buffer: float | None) -> Float:
    """What a rollout loses in the last ``buffer`` tokens before the limit, shape (N,)."""
    if penalty < 0:
        raise OptionError(f"penalty = {penalty}: expected a factor of at least 0")
    if penalty == 0:
        return np.zeros(batch.n_trajectories)
    limit = float(batch.need("limit", "for the overlong penalty of pilotrl (penalty=0 has none)"))
    room = _BUFFER * limit if buffer is None else buffer
    if not 0 < room <= limit:
        raise OptionError(f"buffer = {buffer}: expected above 0 and at most the limit, {limit:g} tokens")
    over = (batch.action_count("trajectory") - (limit - room)) / room
    lost: Float = np.minimum(-penalty * over, 0.0)
    return lost
