"""Agent Lightning (Luo et al. 2025, arXiv 2508.03680): the rollout's reward for every call, and what is averaged over."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..ops.groups import firsts, standardise
from ..registry import method
from ..structure import Float
from ..words import Single, check_word

Statistics = Literal["transition", "rollout"]
Estimator = Literal["grpo", "reinforce_pp"]
Reward = Literal["total", "last"]
Average = Literal["token", "rollout"]


@method(
    unit="turn",
    reads={"reward", "group"},
    cost="0; training encodes every call's prompt again where calls are rows",
    status="verified",
    unbiased="no: dividing by the spread reweights prompts, and a rollout is part of its own mean, long ones more than once",
    smallest="Batch.from_turns([[1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0])",
    scope="group",
    widens={"estimator": "reinforce_pp"},
)
def agent_lightning(
    batch: Batch,
    *,
    statistics: Statistics = "transition",
    estimator: Estimator = "grpo",
    reward: Reward = "total",
    average: Average = "token",
    eps: float = 1e-6,
    single: Single = "error",
) -> Credit:
    """Identical assignment: every call of the model gets its rollout's reward, then a single-turn estimator.

        c_{k,t} = R_k                                                         for all calls t of rollout k
        A_{k,t} = (c_{k,t} - mean c) / (std c + eps)      over all calls of the prompt          "transition"
        A_{k,t} = (R_k - mean_G R) / (std_G R + eps)      over its rollouts, one value each     "rollout"

    A call is a turn; R_k is the reward of a trajectory. In a batch with episodes a rollout is an episode,
    with the calls of all the agents that are trained. One value per turn. It is no credit rule, but
    the control that shows how statistics behave where rollouts differ in their number of calls.

    statistics: "transition" counts a rollout once per call (paper, versions 0.x: the default), so long ones
    weigh more in mean and std; "rollout" counts it once (version 1.0, ``enable_rollout_level_advantage``), and
    needs one reward per rollout.
    estimator: "grpo", as above (ddof 1), or "reinforce_pp": c less the batch's mean, no spread.
    reward: "total", everything the trajectory earned; "last", only what its last turn earned, outcome
    included (the code takes the last reward of the trace).
    average: "token", the mean over all tokens of the batch (0.x); "rollout" (1.0's ``per_rollout_mean``) gives every
    rollout the same weight: each token carries A over the policy tokens of its rollout, under
    loss.denominator "trajectory" (the code divides by the number of rollouts, earlier by that of rows; where
    neither is that of trajectories, all A differ by one factor); ``unit`` stays A.
    eps: 1e-6 (verl). single: a prompt with one call ("transition") or rollout ("rollout"): an error, "raw", its
    reward (over 1 + eps: verl), or "zero".

    Where all rollouts of a prompt have the same number T of calls, "transition" is GRPO times
    sqrt((G T - 1) / (G T - T)); "rollout" without episodes is GRPO, and "transition" is GRPO with count="row" where
    every turn is a row. A rollout that made no call is in no batch: it leaves its group's statistics, a
    silent bias of the framework's that no estimator mends.

    Source: Luo et al. (2508.03680); microsoft/agent-lightning v0.2.2 ``agentlightning/verl/daemon.py``, v1.0
    ``rollout_level_advantage.py``, ``per_rollout_loss.py``, as read for the method card.
    """
    for value, words, name in (
        (statistics, Statistics, "statistics"), (estimator, Estimator, "estimator"), (reward, Reward, "reward"),
        (average, Average, "average"), (single, Single, "single"),
    ):  # fmt: skip
        check_word(value, words, name)
    owner = batch.within("turn", "trajectory")
    earned = batch.reward if reward == "total" else batch.rewards("turn")[batch.trajectory_turns[1:] - 1]
    counted = np.ones(batch.n_turns, dtype=np.bool_)
    rollout = batch.within("turn", "episode")
    if statistics == "rollout":
        _same_reward(batch, earned)
        counted = firsts(rollout)
    over = np.zeros(batch.n_turns, dtype=np.int64) if estimator == "reinforce_pp" else batch.within("turn", "group")
    what = "prompt (in calls)" if statistics == "transition" else "prompt (in rollouts)"
    spread: Literal["none", "sample"] = "none" if estimator == "reinforce_pp" else "sample"
    a = standardise(earned[owner], over, spread=spread, eps=eps, counted=counted, single=single, what=what)
    if average == "token":
        return Credit.of(batch, "turn", a, loss=Loss(denominator="token"))
    length = np.bincount(rollout, weights=batch.action_count("turn"))
    token = np.where(batch.action, (a / length[rollout])[batch.within("token", "turn")], 0.0)
    return Credit(batch, "turn", unit=a, token=token)


def _same_reward(batch: Batch, earned: Float) -> None:
    """One reward per rollout, or an error: the mean of several would be a choice nobody made."""
    episode = batch.within("trajectory", "episode")
    first = np.flatnonzero(firsts(episode))
    own = np.empty(batch.count("episode"))
    own[episode[first]] = earned[first]
    apart = np.abs(earned - own[episode]) > 1e-9 * np.maximum(1.0, np.abs(earned))
    if apart.any():
        i = int(np.argmax(apart))
        raise OptionError(
            f"trajectory {i} earned {earned[i]:g} and its episode's first one {own[episode[i]]:g}: "
            "statistics='rollout' needs one reward per rollout; use 'transition', or give all of them the same"
        )
