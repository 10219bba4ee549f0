"""CAPO (Xie et al. 2025, arXiv 2508.02298): a judge lists the wrong steps, their tokens lose a fixed penalty."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Bill, Evidence, Judge, Rubric
from ..evidence.judging import ask, check_levels, provenance
from ..ops.weighted import weighted_standardise
from ..registry import method
from ..structure import Float
from ..words import Denominator, Spread, check_word

Vote = Literal["intersection", "majority", "union", "average"]
Unparsed = Literal["empty", "leave_out"]

#: Our wording of what the paper's prompt asks; edit it with ``dataclasses.replace``.
RUBRIC = Rubric(
    name="capo",
    template=(
        "You check a solution to a problem, step by step.\n\nProblem:\n{question}\n\nReference solution:\n{reference}\n\n"
        "The solution, each step between tags <step_0>, <step_1> and so on:\n{units}\n\n"
        "First say whether the solution as a whole is correct: Yes or No. If it is not, list the tags of the steps that are "
        "wrong in themselves between <incorrect_steps> and </incorrect_steps>. Judge every step on its own: a step that "
        "reasons correctly from an earlier wrong result is not wrong."
    ),
    levels=(0.0, 1.0),
    privileged=True,
)

#: The same for a judge that does not see the reference solution (the paper finds it about as good).
UNAIDED = replace(
    RUBRIC, name="capo-unaided", privileged=False, template=RUBRIC.template.replace("Reference solution:\n{reference}\n\n", "")
)


def collect(batch: Batch, judge: Judge, *, rng: np.random.Generator, k: int = 4, rubric: Rubric = RUBRIC) -> Evidence:
    """Ask for ``k`` critiques of every trajectory: 0 for a step it lists as wrong, 1 for the others, shape (steps, k).

    k: 4 in the paper (temperature .7, top-p .9); 1 is its "greedy" variant. rubric: ``UNAIDED`` hides
    the reference solution. A null (NaN) is a critique that could not be parsed.
    """
    if k < 1:
        raise OptionError(f"k = {k}: ask for at least one critique")
    asked = [ask(batch, judge, "step", rng, rubric) for _ in range(k)]
    return Evidence(
        {"critique": np.stack([a.values for a in asked], axis=1)}, {"critique": "step"},
        bill=sum((a.bill for a in asked), Bill()), provenance=provenance(judge, rubric),
    )  # fmt: skip


@method(
    unit="step",
    reads={"reward", "group"},
    may_read={"steps", "success"},
    evidence={"critique": "step"},
    several={"critique"},
    source="judge",
    collect=collect,
    cost="K judge calls, each reads T tokens and the reference solution and writes up to 2048",
    status="verified",
    unbiased="no: penalties of a judge are no rewards, a step does not get what follows from it, and a spread divides",
    smallest="(Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], group=[0, 0]), {'critique': [1.0, 0.0, 1.0]})",
    scope="group",
)
def capo(
    batch: Batch,
    *,
    critique: Float,
    vote: Vote = "majority",
    whole: float = 2.0,
    penalty: float = 1.0,
    judge_correct_responses: bool = True,
    unparsed: Unparsed = "empty",
    spread: Spread = "population",
    eps: float = 1e-6,
    denominator: Denominator = "sequence",
) -> Credit:
    """Outcome reward less a penalty on the steps that a vote of critiques finds wrong, standardised over tokens.

        w_j = vote of the k critiques on step j                              in [0, 1]
        r_j = whole R_i - penalty w_j                                        on every token of step j
        A_j = (r_j - mean r) / (std r + eps)        over all policy tokens of the prompt's rollouts

    R (N,) is the total reward (the paper's verifier: 0 or 1); steps are turns where the batch has none.
    critique: shape (steps,) or (steps, k): 0 where a critique lists the step as wrong, 1 where it does
    not. Every token counts once, so long rollouts and long steps weigh more. All tokens of a prompt alike
    (all right and clean, all wrong and clean): exactly 0. A prompt of one rollout has signal if its
    steps differ; a single token has none. No other step's penalty reaches a step but by the mean.

    vote: a step is wrong if all critiques say so ("intersection", the paper's for 1 to 1.5B models), at
    least half of them, ties included ("majority", its 3 to 7B models), one of them ("union"); or by
    the share of them that say so ("average"). With k = 1 (its "greedy") all four are the same.
    whole, penalty: the paper's 2 and 1. With whole > penalty a right answer stays above a wrong one:
    levels 2, 1, 0, -1.
    judge_correct_responses: False spares solved trajectories (``success``, else reward > 0), as the
    printed prompt does by asking for wrong steps only if the answer is wrong. The formula has no such rule.
    unparsed: a null (NaN) is "empty", a critique that found nothing wrong (the paper has no rule), or is
    left out of the vote ("leave_out"; no critique left: no penalty). Diagnostic ``unparsed``: their share.
    spread, eps: the paper says neither; "population" and 1e-6. denominator: "sequence", as in the paper.

    penalty=0 is GRPO that counts a rollout once per token. A format reward goes into ``turn_reward`` (how
    the paper adds its 0.2 is not stated; here it is multiplied by ``whole`` too).

    Source: Xie et al. (2508.02298 v4), equations 1-2, votes, prompt and defaults as read for the method card;
    the public repository holds a README only. Ours: eps, ddof, nulls, the clip range.
    """
    check_word(vote, Vote, "vote")
    check_word(unparsed, Unparsed, "unparsed")
    check_word(denominator, Denominator, "denominator")
    if critique.ndim not in (1, 2) or 0 in critique.shape:
        raise OptionError(f"evidence 'critique' has shape {critique.shape}, expected ({batch.n_steps},) or ({batch.n_steps}, k)")
    votes = np.asarray(critique, dtype=np.float64).reshape(batch.n_steps, -1)
    check_levels("evidence 'critique'", votes, RUBRIC.levels)
    known = ~np.isnan(votes)
    against = (votes == 0).sum(axis=1)
    k = known.sum(axis=1) if unparsed == "leave_out" else np.full(batch.n_steps, votes.shape[1])
    wrong = _verdict(against, k, vote)
    if not judge_correct_responses:
        wrong = np.where(batch.solved[batch.within("step", "trajectory")], 0.0, wrong)
    r = whole * batch.reward[batch.within("step", "trajectory")] - penalty * wrong
    over, tokens = batch.within("step", "group"), batch.action_count("step")
    x = weighted_standardise(r, over, tokens, spread=spread, eps=eps)
    return Credit.of(
        batch, "step", x, loss=Loss(denominator=denominator),
        diagnostics={"unparsed": float(1.0 - known.mean()), "wrong": float(wrong.mean())},
    )  # fmt: skip


def _verdict(against: Float, k: Float, vote: Vote) -> Float:
    """How wrong each step is, by the ``against`` of its ``k`` critiques that say so."""
    if vote == "average":
        return against / np.maximum(k, 1)
    least = {"intersection": k, "majority": k / 2, "union": np.ones(k.shape)}[vote]
    return ((against >= least) & (against > 0)).astype(np.float64)
