"""TARL (Tan et al. 2025, arXiv 2509.14480): a judge scores every turn, the scores shape one trajectory reward."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Evidence, Judge, Rubric
from ..evidence.judging import ask, check_levels, provenance
from ..ops.groups import standardise
from ..ops.scans import discounted_suffix, segment_sum
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Denominator, Single, Spread, check_word

Preset = Literal["literal", "balanced", "outcome_dominant"]
Aggregate = Literal["sum", "mean"]
Placement = Literal["trajectory", "turn"]
Give = Literal["advantage", "reward"]

#: Preset -> how turn scores are put together, weight of the outcome, weight of the scores.
PRESETS: dict[Preset, tuple[Aggregate, float, float]] = {
    "literal": ("sum", 1.0, 10.0),
    "balanced": ("mean", 1.0, 1.0),
    "outcome_dominant": ("sum", 10.0, 1.0),
}

#: Our wording of what the judge is asked (the paper's prompt was not seen); edit it with ``dataclasses.replace``.
RUBRIC = Rubric(
    name="tarl",
    template=(
        "An agent served a user over several turns, with tools. Judge each of its turns.\n\nWhat the user wanted and the "
        "agent's policy:\n{question}\n\nThe right tool calls, which the agent did not see:\n{reference}\n\n"
        "The dialogue, the agent's turns numbered:\n{units}\n\n"
        "Give one score per turn, in order. 1: the turn is right. -1: the one turn where the dialogue left the right path for "
        "good; at most one turn may get it. 0: any other fault, or an error that only follows from that turn."
    ),
    levels=(-1.0, 0.0, 1.0),
    privileged=True,
    at_most_one=True,
)

#: The same for a judge that does not see the right calls.
UNAIDED = replace(
    RUBRIC, name="tarl-unaided", privileged=False,
    template=RUBRIC.template.replace("The right tool calls, which the agent did not see:\n{reference}\n\n", ""),
)  # fmt: skip


def collect(batch: Batch, judge: Judge, *, rng: np.random.Generator, rubric: Rubric = RUBRIC) -> Evidence:
    """Ask a judge once per trajectory for a score of every turn: 1, 0 or -1; NaN: it could not be parsed.

    rubric: ``UNAIDED`` hides the reference calls.
    """
    asked = ask(batch, judge, "turn", rng, rubric)
    return Evidence({"turn_score": asked.values}, {"turn_score": "turn"}, bill=asked.bill, provenance=provenance(judge, rubric))


@method(
    unit="trajectory",
    reads={"reward", "group"},
    evidence={"turn_score": "turn"},
    source="judge",
    collect=collect,
    cost="1 judge call, which reads T tokens and the reference and writes N scores",
    status="reconstructed",
    unbiased="no: a judge's scores are added to the reward, so another objective is climbed, and a spread divides",
    smallest="(Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], group=[0, 0]), {'turn_score': [1.0, 1.0, -1.0]})",
    scope="group",
)
def tarl(
    batch: Batch,
    *,
    turn_score: Float,
    preset: Preset = "literal",
    aggregate: Aggregate | None = None,
    w_outcome: float | None = None,
    w_score: float | None = None,
    placement: Placement = "trajectory",
    give: Give = "advantage",
    spread: Spread = "sample",
    eps: float = 1e-6,
    single: Single = "error",
    denominator: Denominator = "sequence",
) -> Credit:
    """Turn scores of a judge, summed into the trajectory's reward, and GRPO on that reward.

        R_i = w_outcome r_i + w_score agg_k s_{i,k}           agg: sum or mean over the turns of the trajectory
        A_i = (R_i - mean_G R) / (std_G R + eps)              the same on every policy token

    r (N,) is the total reward (the paper's rule-based check, 0 or 1). turn_score: s, shape (turns,), 1, 0
    or -1. The worst score marks the one main deviation: of several in a trajectory the first stays and the
    others become 0 (diagnostic ``demoted``, a count).

    preset: "literal", sum, w_outcome 1, w_score 10 (a review says that scores are scaled by 10; a longer
    flawless dialogue then beats a shorter one); "balanced", mean, 1 and 1 (ties them); "outcome_dominant",
    sum, 10 and 1 (the other reading of that remark). aggregate, w_outcome, w_score: None, or in place of
    the preset's. Only their ratio and sum or mean matter, but for eps. w_score=0 is GRPO. Where all rollouts
    have ten turns, "balanced" and "outcome_dominant" are the same.
    placement: "trajectory" as published; or "turn", the ablation reported unstable: reward
    w_score s_k at each turn and w_outcome r at the last one, A_k the undiscounted reward to go, not
    standardised. Both weights are then 1 unless given, the preset and ``aggregate`` do not apply.
    give: "advantage"; or "reward", the rewards themselves, on the last policy token of the trajectory (or
    turn), for PPO with a value head.
    spread, eps, single: as for ``grpo`` (a prompt of one rollout: an error, "zero", or "raw", its own R).
    denominator: "sequence", GRPO's.

    A null (NaN) is a score that could not be parsed: 0 (diagnostic ``unparsed``, their share). If a rollout has
    no score at all, its whole prompt falls back to R = w_outcome r, so that scales do not mix
    (diagnostic ``fell_back``, the share of prompts). All R alike: exactly 0.

    Status: reconstructed. Known at second hand: the meaning of the scores, the sum at the end of the
    trajectory, a factor of 10. Not known: what that factor multiplies, sum or mean beside r, what happens
    to invalid answers. The paper's reward equation would settle it; no code was found.

    Source: Tan et al. (2509.14480 v1), from a reading note and its public reviews.
    """
    for value, words, name in ((preset, Preset, "preset"), (placement, Placement, "placement"), (give, Give, "give")):
        check_word(value, words, name)
    check_word(denominator, Denominator, "denominator")
    if aggregate is not None:
        check_word(aggregate, Aggregate, "aggregate")
        if placement == "turn":
            raise OptionError(f"aggregate = {aggregate!r} has no meaning with placement='turn': each score stays at its turn")
    check_levels("evidence 'turn_score'", turn_score, RUBRIC.levels)
    owner = batch.within("turn", "trajectory")
    score, demoted = _one_deviation(np.nan_to_num(turn_score, nan=0.0), batch)
    group = batch.within("trajectory", "group")
    silent = np.bincount(owner, weights=~np.isnan(turn_score), minlength=batch.n_trajectories) == 0
    fallen = np.bincount(group, weights=silent, minlength=batch.count("group")) > 0
    score = np.where(fallen[group][owner], 0.0, score)
    chosen, outcome, scale = PRESETS[preset] if placement == "trajectory" else ("sum", 1.0, 1.0)
    outcome, scale = outcome if w_outcome is None else w_outcome, scale if w_score is None else w_score
    more: dict[str, Any] = {
        "loss": Loss(denominator=denominator),
        "diagnostics": {
            "unparsed": float(np.isnan(turn_score).mean()), "demoted": float(demoted), "fell_back": float(fallen.mean()),
        },
    }  # fmt: skip
    if placement == "turn":
        r = scale * score
        r[batch.trajectory_turns[1:] - 1] += outcome * batch.reward
        if give == "reward":
            return _rewards(batch, "turn", r, more)
        return Credit.of(batch, "turn", discounted_suffix(r, batch.trajectory_turns), **more)
    total = segment_sum(score, batch.trajectory_turns)
    if (aggregate or chosen) == "mean":
        total /= np.diff(batch.trajectory_turns)
    reward = outcome * batch.reward + scale * total
    if give == "reward":
        return _rewards(batch, "trajectory", reward, more)
    return Credit.of(batch, "trajectory", standardise(reward, group, spread=spread, eps=eps, single=single), **more)


def _one_deviation(score: Float, batch: Batch) -> tuple[Float, int]:
    """The scores with every -1 after the first of its trajectory made 0, and how many those were."""
    worst: Bool = score == -1
    before: Int = np.cumsum(worst) - worst  # how many stand before each turn, over all trajectories
    start = batch.trajectory_turns[:-1][batch.within("turn", "trajectory")]
    extra = worst & (before > before[start])
    return np.where(extra, 0.0, score), int(extra.sum())


def _rewards(batch: Batch, level: Placement, values: Float, more: dict[str, Any]) -> Credit:
    """Rewards at the last policy token of each trajectory or turn."""
    token = np.zeros(batch.n_tokens)
    token[batch.last_action(level)] = values
    return Credit(batch, level, unit=values, token=token, kind="reward", **more)
