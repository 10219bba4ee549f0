"""Dr. MAS (Feng et al. 2026, arXiv 2602.08847): GRPO whose statistics are an agent's own."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..ops.groups import group_mean, standardise
from ..registry import method
from ..structure import Float
from ..words import Denominator, Single, Spread, check_word
from ._agents import agents, cells

Over = Literal["agent", "activation", "rollout"]
TurnRewards = Literal["own", "shared"]


@method(
    unit="turn",
    reads={"reward", "group", "agent"},
    status="verified",
    unbiased="no: an agent's own spread divides, a reward is part of its own mean, and often-used agents weigh rollouts by use",
    smallest="Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], group=[0, 0], agent=['a', 'a'])",
    scope="group",
)
def dr_mas(
    batch: Batch,
    *,
    over: Over = "agent",
    turn_rewards: TurnRewards = "own",
    spread: Spread = "sample",
    eps: float = 1e-6,
    single: Single = "zero",
    denominator: Denominator = "token",
) -> Credit:
    """A rollout's reward, standardised over the activations of one agent in the prompt's rollouts.

        D_k = {activations of agent k in the G rollouts of the prompt}
        A_u = (R_u - mean_{D_k} R) / (std_{D_k} R + eps)          for every activation u of agent k

    An activation is a turn of the trajectory of one agent; ``episode`` ties the trajectories of a rollout
    together and changes nothing here. R_u is the outcome of its trajectory, the same on all of them: an agent
    used three times in a rollout enters three samples. One value per turn, on all its policy tokens. An agent
    that did not act in a rollout adds nothing to its statistics there.

    turn_rewards: rewards of single turns and tokens count for "own" activation only, as the penalty of an
    invalid action does in the code (0.1 for mathematics, 0.01 for search), in the statistics and above them;
    or are "shared": an activation's reward is then the total reward of its trajectory.
    over: "agent"; for comparison "activation", D all activations of the prompt; or "rollout", plain GRPO of the
    same repository: the mean over a rollout's activations, standardised over the rollouts of the prompt.
    spread, eps: ddof 1 and 1e-6, the code's. single: an agent with one activation in the prompt gets 0 (ours);
    "raw" is the code's, R / (1 + eps), also where all rewards are equal. "error" refuses it.
    denominator: "token", the code's.

    An agent whose samples all have one reward gets exactly 0: one used only in successes has no signal,
    although it took part in them. If every agent acts equally often in every rollout, this is GRPO times a
    constant per agent near 1 (ddof counts activations). Turns of an agent are not told apart but by ``turn_rewards``.

    Source: Feng et al. (2602.08847); langfengQ/DrMAS at 19c632b, ``compute_grpo_outcome_advantage`` with
    ``group_by_agent_id`` (its index is prompt and agent).
    """
    check_word(over, Over, "over")
    check_word(turn_rewards, TurnRewards, "turn_rewards")
    check_word(denominator, Denominator, "denominator")
    who = agents(batch, "dr_mas")
    owner, group = batch.within("turn", "trajectory"), batch.within("turn", "group")
    reward = batch.reward[owner] if turn_rewards == "shared" else _activations(batch)
    if over == "rollout":
        episode = batch.within("turn", "episode")
        mean = group_mean(reward, episode)[0]
        x = standardise(mean, batch.within("episode", "group"), spread=spread, eps=eps, single=single)[episode]
    else:
        within = cells(group, who[owner]) if over == "agent" else group
        x = standardise(reward, within, spread=spread, eps=eps, single=single, what="prompt and agent (in activations)")
    return Credit.of(batch, "turn", x, loss=Loss(denominator=denominator))


def _activations(batch: Batch) -> Float:
    """Outcome of its trajectory plus its own rewards, one per turn."""
    owner = batch.within("turn", "trajectory")
    reward = np.zeros(batch.n_turns) if batch.outcome is None else batch.outcome[owner]
    if batch.turn_reward is not None:
        reward = reward + batch.turn_reward
    if batch.token_reward is not None:
        reward = reward + np.bincount(batch.within("token", "turn"), weights=batch.token_reward, minlength=batch.n_turns)
    return reward
