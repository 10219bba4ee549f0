"""GRPO (Shao et al. 2024, arXiv 2402.03300) with Dr. GRPO (Liu et al. 2025, arXiv 2503.20783)."""

from __future__ import annotations

from typing import Literal, TypedDict

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..ops.groups import standardise
from ..ops.scans import discounted_suffix
from ..registry import method
from ..words import Denominator, Single, Spread, SpreadOver, check_word

Supervision = Literal["outcome", "process"]
Count = Literal["trajectory", "row"]


class _How(TypedDict):
    """What every branch below passes to ``standardise``."""

    spread: Spread
    spread_over: SpreadOver
    eps: float
    single: Single


@method(
    unit="trajectory",
    reads={"reward", "group"},
    may_read={"process", "steps", "limit"},
    unless={"reward": ("supervision", "process")},
    cost="0",
    status="verified",
    unbiased="no: dividing by the spread reweights prompts, and a rollout is part of its own mean (factor (n - 1)/n)",
    smallest="Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], group=[0, 0])",
    scope="group",
    widens={"spread_over": ("batch", "centred_batch")},
)
def grpo(
    batch: Batch,
    *,
    spread: Spread = "sample",
    spread_over: SpreadOver = "group",
    eps: float = 1e-6,
    single: Single = "error",
    denominator: Denominator = "sequence",
    supervision: Supervision = "outcome",
    count: Count = "trajectory",
) -> Credit:
    """Group-relative advantage: a rollout's reward, standardised among the rollouts of its prompt.

        A_i = (R_i - mean_G R) / (std_G R + eps)                  outcome supervision
        A_{i,j} = sum_{k >= j} (r_{i,k} - mean_G r) / (std_G r + eps)   process supervision

    R (N,) is the total reward, r (steps,) the process scores; mean and std run over all rollouts,
    or all scored steps, of the prompt. Outcome: one value per trajectory, the same on all its
    policy tokens. Process: one per step, the sum of the standardised scores from it on.

    spread: "sample" (ddof 1: verl, TRL, the default), "population", or "none": no division, which
    is **Dr. GRPO**, A_i = R_i - mean R = (n - 1)/n times RLOO.
    spread_over: "group"; "batch", one std of all rewards of the batch (TRL's scale_rewards="batch"); or
    "centred_batch", one root mean square of all R - mean_G R (AReaL's std_level="batch").
    eps: 1e-6 (verl, SkyRL); TRL has 1e-4, AReaL 1e-5, OpenRLHF 1e-9, torchrl and the paper none.
    single: what a prompt with one rollout gets; verl gives R/(1 + eps) ("raw"), AReaL 0 ("zero").
    denominator: "sequence", the paper's mean over the tokens of a response; "token" is DAPO's and
    verl's, "limit" Dr. GRPO's constant (needs ``limit``, the generation limit).
    supervision: "process" reads ``process`` (null scores are left out and add nothing) instead of
    rewards.
    count: "row" lets a trajectory enter the statistics once per row, as trainers do whose rows are turns
    (outcome supervision only: a step is counted once either way).

    Biased: the spread weighs prompts by 1/std (an objective choice) and correlates with the
    rewards it divides; with spread="none" only the factor (n - 1)/n is left.

    Source: Shao et al., DeepSeekMath (2402.03300), sections 4.1.2-4.1.3; Liu et al., COLM 2025
    (2503.20783); verl ``compute_grpo_outcome_advantage``. The paper does not state ddof or eps: verl's.
    """
    check_word(denominator, Denominator, "denominator")
    check_word(supervision, Supervision, "supervision")
    check_word(count, Count, "count")
    if count == "row" and supervision == "process":
        raise OptionError("count='row' counts rewards; supervision='process' counts every step once: leave count out")
    if denominator == "limit":
        batch.need("limit", "for grpo with denominator='limit'")
    loss = Loss(denominator=denominator)
    how: _How = {"spread": spread, "spread_over": spread_over, "eps": eps, "single": single}
    if supervision == "process":
        score = batch.need("process", "for grpo with supervision='process'")
        over, known = batch.within("step", "group"), ~np.isnan(score)
        x = standardise(score, over, **how, counted=known, what="prompt (in steps)")
        offsets = np.searchsorted(batch.within("step", "trajectory"), np.arange(batch.n_trajectories + 1))
        return Credit.of(batch, "step", discounted_suffix(np.where(known, x, 0.0), offsets), loss=loss)
    x = standardise(batch.reward, batch.within("trajectory", "group"), **how)
    if count == "row":  # after the line above: a lone rollout is refused even where its rows are several
        owner, over = batch.within("row", "trajectory"), batch.within("row", "group")
        x = standardise(batch.reward[owner], over, **how)[batch.trajectory_rows[:-1]]
    return Credit.of(batch, "trajectory", x, loss=loss)
