"""What a rollout of a team is worth when some of its agents act anew: leave-one-out and Shapley values.

v(S) is the mean reward of the rollout run again with the trajectories in S as they were and all others
drawn anew from the policy (``Replayer.replay``): an absent agent is an average agent, not a silent one.
The value of everybody is the recorded reward.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..ops.answers import mean_answer
from ..ops.groups import group_mean
from ..structure import Bool, Float
from .bill import Bill
from .coalitions import Plan, step_values
from .sources import Replayer, Sampler


def replayer(sampler: Sampler, k: int, who: str) -> Replayer:
    """The sampler as one that replays whole rollouts, or an error that says what is missing."""
    if k < 1:
        raise OptionError(f"k = {k}: expected at least one replay")
    if not isinstance(sampler, Replayer):
        raise OptionError(f"{who} replays rollouts with an agent's turns drawn anew: {type(sampler).__name__} has no replay(...)")
    return sampler


def of_agent(batch: Batch, name: Any, option: str) -> Bool:
    """Which trajectories are this agent's, shape (N,); none for the name None."""
    if name is None:
        return np.zeros(batch.n_trajectories, dtype=np.bool_)
    agent = batch.need("agent", f"to find the agent {option} = {name!r}")
    if name not in agent.names:
        raise OptionError(f"{option} = {name!r}: the batch's agents are {', '.join(map(repr, agent.names))}")
    own: Bool = agent.codes == agent.names.index(name)
    return own


def left_out(batch: Batch, replays: Replayer, players: Bool, k: int, rng: np.random.Generator) -> tuple[Float, Bill]:
    """Mean reward of ``k`` replays of each player's rollout with its turns drawn anew, shape (N,); NaN for the others.

    players: trajectories that are left out in turn, one of every rollout at a time, shape (N,).
    """
    episode, owner = batch.within("trajectory", "episode"), batch.within("step", "trajectory")
    place = np.where(players, _rank(np.where(players, episode, -1)), -1)
    found, bill = np.full(batch.n_trajectories, np.nan), Bill()
    for j in range(int(place.max(initial=-1)) + 1):
        out = place == j
        asked = replays.replay(batch, out[owner], k, rng)
        found[out] = mean_answer(asked.values, batch.count("episode"), k)[episode[out]]
        bill = bill + asked.bill
    return found, bill


def shapley_shares(
    batch: Batch, replays: Replayer, players: Bool, k: int, plan: Plan, rng: np.random.Generator
) -> tuple[Float, Bill, dict[str, float]]:  # fmt: skip
    """Shapley value of every player in the game of its rollout, shape (N,); NaN for the others.

    Those who are no players stay as they were in every coalition. plan: up to how many players a rollout's
    values are exact, and how many random orders the larger ones get. The values of a rollout add up to its
    reward minus v of its players all drawn anew.
    """
    found, bill = np.full(batch.n_trajectories, np.nan), Bill()
    if not players.any():
        return found, bill, {}
    episode, owner = batch.within("trajectory", "episode"), batch.within("step", "trajectory")
    who = np.flatnonzero(players)[np.argsort(episode[players], kind="stable")]
    of = np.unique(episode[who])
    # the game of a rollout in the shape that step_values knows: rollouts of players instead of texts of steps
    game = Batch.from_turns([[1] * int(n) for n in np.bincount(episode[who])[of]])

    def worth(keep: Bool) -> Float:
        nonlocal bill
        fresh = np.zeros(batch.n_trajectories, dtype=np.bool_)
        fresh[who[~keep]] = True
        asked = replays.replay(batch, fresh[owner], k, rng)
        bill = bill + asked.bill
        return mean_answer(asked.values, batch.count("episode"), k)[of]

    found[who], how = step_values(game, worth, group_mean(batch.reward, episode)[0][of], plan, rng)
    return found, bill, how


def _rank(over: Any) -> Any:
    """Rank of each item among those of its kind, in order."""
    order = np.argsort(over, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(over.size) - np.searchsorted(over[order], over[order])
    return rank
