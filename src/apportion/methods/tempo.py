"""TEMPO (Tran, Yao and Yu 2025, arXiv 2509.18314)."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..ops.groups import group_spread, standardise
from ..ops.prefix_tree import prefix_tree
from ..registry import method
from ..words import Single, Spread


@method(
    unit="token",
    reads={"reward", "group", "ids"},
    cost="0",
    status="secondary",
    unbiased="no: group mean and prefix values contain the rollout's own reward, and the first part counts R - mean again",
    smallest="Batch.from_turns([[2], [2]], outcome=[1.0, 0.0], group=[0, 0], ids=[[7, 8], [7, 9]])",
    scope="group",
)
def tempo(batch: Batch, *, spread: Spread = "population", eps: float = 1e-6, single: Single = "error") -> Credit:
    """GRPO plus temporal differences on the prefix tree that a group's responses form by themselves.

        V(s)   = mean reward of the group's responses that start with s
        TD_t   = V(y_<=t) - V(y_<t)
        A_t    = (R - mean + TD_t) / (std + eps)

    Prefixes are equal where their token ids are. TD is 0 wherever a response does not part from
    another one, so there A is GRPO's; ``sum_t TD_t = V(y) - mean`` (V of the whole response). One
    value per token. parts: ``group`` (GRPO's summand) and ``tree`` (TD over the same std).

    A response that is the beginning of another one parts from it where it stops. Include the
    end-of-sequence token in ``ids`` and that is a token like others; without it the stop is a
    branch of its own, whose TD goes to the response's last token.
    A TD at an observation token is the environment's luck and is not credited.
    No shared prefix: only the first token gets TD, which doubles it. Equal rewards: 0.

    spread: "population" (third-party code; the paper leaves it open), "sample", or "none".
    eps: 1e-6, GRPO's (the paper names none).
    single: what a group of one gets: an error by default, "zero", or "raw", its reward as in verl's GRPO.
    Prefixes are those of whole trajectories, across turns and rows.

    Source: 2509.18314, read in a third-party implementation (rl-experiments, ``TEMPOLoss``); no
    official code. Not ours to settle: loss aggregation and clip are the trainer's.
    """
    over = batch.within("trajectory", "group")
    offsets = batch.offsets("trajectory")
    group = standardise(batch.reward, over, spread=spread, eps=eps, single=single)
    tree = prefix_tree(batch.need("ids"), offsets, over)
    value = tree.mean(batch.reward)
    before = np.empty_like(tree.node)
    before[1:] = tree.node[:-1]
    before[offsets[:-1]] = over  # the roots are numbered as the groups are
    td = np.where(batch.action, value[tree.node] - value[before], 0.0)
    last = offsets[1:] - 1
    td[last] += np.where(batch.action[last], value[tree.end] - value[tree.node[last]], 0.0)
    if spread != "none":
        scale = group_spread(batch.reward, over, ddof=1 if spread == "sample" else 0) + eps
        td /= np.where(scale > 0, scale, 1.0)[batch.within("token", "group")]  # no spread, no TD, even with eps = 0
    parts = {"group": np.where(batch.action, group[batch.within("token", "trajectory")], 0.0), "tree": td}
    return Credit.of(batch, "token", parts["group"] + parts["tree"], parts=parts)
