"""SCRIBE (Jiang & Ferraro 2026, arXiv 2601.03555): subgoals judged on the rubric of their skill."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch, how_to_give
from ..credit import Credit, Loss
from ..errors import MissingColumn, OptionError
from ..evidence import Bill, Evidence, Judge, Rubric
from ..evidence.judging import ask, provenance
from ..ops.groups import standardise
from ..registry import method
from ..structure import Bool, Float
from ..words import Denominator, Single, Spread, check_word

Aggregate = Literal["mean", "min", "product", "confidence"]
Empty = Literal["zero", "leave_out"]
Placement = Literal["trajectory", "subgoal"]

_REWARDS = ("outcome", "turn_reward", "token_reward")

#: The generic prototype, in our words; a library has one such rubric per skill. Needs no reference answer.
RUBRIC = Rubric(
    name="scribe",
    template=(
        "A solution to a task has been cut into subgoals.\n\nTask:\n{question}\n\nThe subgoals, each with the text that pursues "
        "it:\n{units}\n\nFor each subgoal, name the skill it calls for, then check that skill only: its conditions were met, "
        "every case and constraint was looked at, nothing was concluded that had not been shown.\n"
        "3: rigorous and complete. 2: right, with a minor slip. 1: a gap in the reasoning that matters. 0: wrong, or concluded "
        "too early. Answer with one score per subgoal, in order."
    ),
    levels=(0.0, 1.0, 2.0, 3.0),
    one_call=False,
)


def collect(batch: Batch, judge: Judge, *, rng: np.random.Generator, rubric: Rubric = RUBRIC, routed: bool = True) -> Evidence:
    """Ask for a score of every subgoal (step; turn where there are none): a level of the rubric, NaN where it has no opinion.

    rubric: the criteria; one whose best level is not 3 goes with ``s_max``. routed: count a router's call per
    trajectory, which cut the trace into subgoals and chose their prototypes before the judge read them.
    """
    asked = ask(batch, judge, "step", rng, rubric)
    bill = asked.bill + Bill(judge_calls=float(batch.n_trajectories if routed else 0))
    return Evidence({"subgoal_score": asked.values}, {"subgoal_score": "step"}, bill=bill, provenance=provenance(judge, rubric))


@method(
    unit="trajectory",
    reads={"group"},
    may_read={"steps", *_REWARDS},
    evidence={"subgoal_score": "step"},
    several={"subgoal_score"},
    source="judge",
    collect=collect,
    cost="1 router call and N judge calls, which read about 2 T tokens and N rubrics",
    status="reconstructed",
    unbiased="no: it climbs the judged quality of subgoals instead of the reward, and divides by a spread",
    smallest="(Batch.from_turns([[1, 1], [1]], group=[0, 0]), {'subgoal_score': [3.0, 2.0, 1.0]})",
    scope="group",
)
def scribe(
    batch: Batch,
    *,
    subgoal_score: Float,
    aggregate: Aggregate = "mean",
    s_max: float = 3.0,
    process_weight: float = 1.0,
    outcome_weight: float = 0.0,
    empty: Empty = "zero",
    placement: Placement = "trajectory",
    spread: Spread = "sample",
    eps: float = 1e-6,
    single: Single = "zero",
    denominator: Denominator = "sequence",
) -> Credit:
    """GRPO on a process reward: the mean score of the subgoals of a rollout, each judged on its skill's rubric.

        P_i = 1/K_i sum_k s_{i,k} / s_max                      over the scored subgoals of the trajectory
        R_i = outcome_weight r_i + process_weight P_i
        A_i = (R_i - mean_G R) / (std_G R + eps)               the same on every policy token

    Subgoals are the batch's steps (turns where it has none); cutting the trace into them and choosing each
    one's rubric is the router's work, before this. subgoal_score: s in [0, s_max], shape (steps,), or
    (steps, 2) with the router's confidence in [0, 1] beside it. A null (NaN) is a subgoal without a prototype
    or an answer that could not be parsed: it is left out of P (diagnostic ``unscored``, their share).

    aggregate: "mean" (ours: the paper's rule is not in what we read), "min", "product", or "confidence", the
    mean weighted by the router's confidence (needs the second column; null is no confidence).
    s_max: 3, the best level of the published prototype; scores on another scale are brought to one first.
    process_weight, outcome_weight: 1 and 0, as the authors' talk has it: no outcome, and no rewards are
    needed. 0.5 and 1 (ours) mix it in; r (N,) is then the total reward. 0 and 1 are GRPO.
    empty: a rollout without a scored subgoal has P = 0, the worst ("zero"), or leaves the statistics and the
    loss ("leave_out": A = 0, ``keep`` False, not ``scored``). Diagnostic ``empty``, their share.
    placement: "trajectory", or "subgoal" (ours, for comparison): s / s_max standardised over all scored
    subgoals of the prompt, on the tokens of each; weights and ``aggregate`` have no place there, null is 0.
    spread, eps, single: ddof 1, 1e-6; a rollout alone in its prompt, or the only one left in it, gets 0.
    denominator: "sequence", GRPO's.

    The judge's mistakes are the method's: equal rewards do not give 0, equal P do, exactly. Within a
    trajectory all tokens share one advantage.

    Status: reconstructed. From the authors' repository: the 0-3 rubric, scores aggregated into one process
    reward per trajectory, GRPO. Not known: how they are aggregated, how outcomes enter, settings
    of RL. The reward equation of the paper, or the training code once released, would settle it.

    Source: Jiang & Ferraro (2601.03555), abstract; speaker script, prototype figure and README of
    YuxuanJiang1/SCRIBE.
    """
    for value, words, name in ((aggregate, Aggregate, "aggregate"), (empty, Empty, "empty"), (placement, Placement, "placement")):
        check_word(value, words, name)
    check_word(denominator, Denominator, "denominator")
    score, confidence = _columns(batch, subgoal_score, aggregate, s_max)
    known = ~np.isnan(score) & (confidence > 0)
    score = np.where(known, score, 0.0)
    owner, loss = batch.within("step", "trajectory"), Loss(denominator=denominator)
    heard = np.bincount(owner, weights=known, minlength=batch.n_trajectories) > 0
    diagnostics = {"unscored": float(1.0 - known.mean()), "empty": float(1.0 - heard.mean())}
    if placement == "subgoal":
        if outcome_weight or process_weight != 1.0 or aggregate != "mean" or empty != "zero":
            raise OptionError("placement='subgoal' puts every score at its own subgoal: leave weights, aggregate and empty out")
        z = standardise(score / s_max, batch.within("step", "group"), spread=spread, eps=eps, counted=known, single=single)
        return Credit.of(batch, "step", np.where(known, z, 0.0), scored=known, loss=loss, diagnostics=diagnostics)
    reward = process_weight * _aggregated(batch, score, known, confidence, aggregate, s_max)
    if outcome_weight:
        if not set(_REWARDS) & set(batch.present):
            raise MissingColumn(how_to_give("reward", f"for scribe with outcome_weight={outcome_weight:g}"))
        reward = reward + outcome_weight * batch.reward
    counted = heard if empty == "leave_out" else np.ones(heard.size, dtype=np.bool_)
    over = batch.within("trajectory", "group")
    a = np.where(counted, standardise(reward, over, spread=spread, eps=eps, counted=counted, single=single), 0.0)
    left: dict[str, Bool] = {}
    if not counted.all():
        left = {"keep": counted[batch.within("token", "trajectory")], "scored": counted}
    return Credit.of(batch, "trajectory", a, loss=loss, diagnostics=diagnostics, **left)


def _columns(batch: Batch, given: Float, aggregate: Aggregate, s_max: float) -> tuple[Float, Float]:
    """Score and confidence of each subgoal; the latter is 1 unless it is asked for."""
    if not s_max > 0:
        raise OptionError(f"s_max = {s_max}: expected the best score, above 0")
    if given.shape not in ((batch.n_steps,), (batch.n_steps, 2)):
        shapes = f"({batch.n_steps},), or ({batch.n_steps}, 2) with the router's confidence"
        raise OptionError(f"evidence 'subgoal_score' has shape {given.shape}, expected {shapes}")
    score = given if given.ndim == 1 else given[:, 0]
    confidence = np.ones(score.size)
    if aggregate == "confidence":
        if given.ndim == 1:
            raise OptionError("aggregate='confidence' reads the router's confidence: pass subgoal_score of shape (steps, 2)")
        confidence = np.nan_to_num(given[:, 1], nan=0.0)
    for name, values, top in (("score", score, s_max), ("confidence", confidence, 1.0)):
        bad = (values < 0) | (values > top)
        if bad.any():
            i = int(np.argmax(bad))
            raise OptionError(f"evidence 'subgoal_score'[{i}]: {name} = {values[i]:g}, expected a number from 0 to {top:g}")
    return score, confidence


def _aggregated(batch: Batch, score: Float, known: Bool, confidence: Float, aggregate: Aggregate, s_max: float) -> Float:
    """P of every trajectory, 0 where nothing was scored."""
    owner = batch.within("step", "trajectory")
    if aggregate in ("mean", "confidence"):
        weight = np.where(known, confidence, 0.0)
        total, most = (np.bincount(owner, weights=w, minlength=batch.n_trajectories) for w in (weight * score, weight * s_max))
        mean: Float = total / np.where(most > 0, most, 1.0)  # one division of whole numbers: equal means are equal bits
        return mean
    starts = np.searchsorted(owner, np.arange(batch.n_trajectories))
    put = np.where(known, score / s_max, 1.0)  # neutral: no score is above 1
    p: Float = (np.minimum if aggregate == "min" else np.multiply).reduceat(put, starts)
    return np.where(np.logical_or.reduceat(known, starts), p, 0.0)
