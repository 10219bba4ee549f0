"""The part of a whole episode that GiGPO and its relatives add to every turn."""

from __future__ import annotations

from typing import Literal

from ..batch import Batch
from ..ops.groups import standardise
from ..structure import Float
from ..words import Single, Spread

Statistics = Literal["trajectory", "row"]


def episode_part(batch: Batch, spread: Spread, eps: float, statistics: Statistics, single: Single) -> Float:
    """(R - mean) / F over the rollouts of each group, at every turn, shape (turns,).

    statistics: what mean and std count once, a "trajectory" or a "row" (as the official codes of this family
    call a turn: there a rollout weighs as many times as it has turns).
    """
    # a group of one rollout is refused (single="error") even where its rows would be counted
    over = batch.within("trajectory", "group")
    owner = batch.within("turn", "trajectory")
    by_trajectory = standardise(batch.reward, over, spread=spread, eps=eps, single=single)[owner]
    if statistics == "trajectory":
        return by_trajectory
    return standardise(batch.reward[owner], over[owner], spread=spread, eps=eps, single=single)
