"""HGPO (He et al. 2026, arXiv 2602.22817). Added after the survey."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..ops.anchors import context_groups
from ..ops.groups import group_mean, standardise
from ..ops.scans import discounted_suffix
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Spread, check_word
from ._episode import episode_part

Weights = Literal["code", "paper"]
Base = Literal["none", "trajectory", "row"]

#: A return this close to its group's mean, as a share of the group's largest return, is the mean.
_ROUNDING = 1e-12


@method(
    unit="turn",
    reads={"reward", "group", "state"},
    cost="0",
    status="verified",
    unbiased="no: every mean contains the turn's own return; equal last states are taken for equal futures; gamma < 1 discounts",
    smallest=(
        "Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], "
        "state=['start', 'left', 'end', 'start', 'left', 'end'])"
    ),
    scope="group",
)
def hgpo(
    batch: Batch,
    *,
    history: int = 2,
    alpha: float = 1.0,
    gamma: float = 0.95,
    spread: Spread = "population",
    eps: float = 1e-6,
    weights: Weights = "code",
    base_group: Base = "none",
) -> Credit:
    """A hierarchy of groups: turns in the same state, with the same state before, and so on, averaged by depth.

        G_t   = r_t + gamma G_{t+1}                             discounted return of turn t
        a_t,k = (G_t - mean) / F                                over the turns of the group whose last k states are the same
        A_t   = sum_k w_k a_t,k / sum_k w_k                     k = 1 .. history + 1, those with a_t,k != 0 only

    Added after the survey. A turn's context of depth k is the tuple of the ``state`` keys before it and before the
    k - 1 turns that led to it. Deep groups are small and little biased, shallow ones the reverse. A group of one
    has no a, a turn that is alone at depth 1 gets 0, and so does one in a state without a key (None), which also
    ends every longer context it is part of. A trajectory may appear in a group more than once. No part for the episode:
    the shared first state already compares whole rollouts. parts: ``depth_1`` .. and ``base``, the summands of A, up to
    the depth at which nobody shares a context any more.

    A depth at which a turn's return is exactly the group's mean leaves the sum of weights, as in the code, so that it
    does not pull the other depths towards 0. Exactly is up to rounding: within 1e-12 of the group's largest return.

    history: states before the present one that the prompt shows, K, 2 or 4 in the scripts. 0 gives the step part of
    ``gigpo`` with the same spread.
    alpha: w_k is (depth weight) ** alpha; 1. 0 weighs all depths alike.
    weights: the depth weight of k, "code" k + 1 (2 .. K + 2), or "paper" k (1 .. K + 1; from a reading note).
    spread: F. "population" (official "mean_std_norm", ddof 0, plus eps; ALFWorld), "none" (official "mean_norm", F = 1;
    WebShop) or "sample" (ours). gamma, eps: .95, 1e-6. The code also adds its epsilon to the sum of weights; here
    the weights add up to 1.
    base_group: the advantage of the whole rollout as one more depth, of weight 1, below all others: "none" (official
    default), or with mean and std (ddof 1, as in ``gigpo``) over each "trajectory" once or over each "row" (the
    official choice where it is on: every turn counts). A single rollout's is 0. Not with weights="paper", which
    give it no weight.

    Biased: each mean holds the turn's own return, returns are discounted, and which depths speak depends on the returns.
    Not offered: the official penalty on invalid actions, which needs a column that batches do not have.

    Source: ICLR 2026 (2602.22817); verl-agent ``recipe/hgpo/core_hgpo.py`` (read in a fork).
    """
    check_word(weights, Weights, "weights")
    check_word(base_group, Base, "base_group")
    check_word(spread, Spread, "spread")
    if history < 0 or not 0 <= gamma <= 1:
        raise OptionError(f"history = {history}, gamma = {gamma}: expected at least 0, and a discount between 0 and 1")
    if base_group != "none" and weights == "paper":
        raise OptionError("base_group has no weight with weights='paper': use weights='code', which gives it 1")
    returns = discounted_suffix(batch.rewards("turn"), batch.trajectory_turns, gamma)
    group, key = batch.within("turn", "group"), batch.need("state").codes[batch.prefix_before]
    depth = min(history + 1, int(batch.turn_index.max()) + 1)
    found: dict[str, tuple[float, Float]] = {}  # weight and advantage of each depth
    for k, same in enumerate(context_groups(group, key, batch.turn_index, depth), start=1):
        a = standardise(returns, same, spread=spread, eps=eps, single="zero")
        found[f"depth_{k}"] = (k + (weights == "code")) ** alpha, np.where(_average(returns, same), 0.0, a)
    if base_group != "none":
        found["base"] = 1.0, episode_part(batch, "none" if spread == "none" else "sample", eps, base_group, "zero")
    total = sum((w * (a != 0) for w, a in found.values()), np.zeros(batch.n_turns))
    parts = {name: w * a / np.where(total > 0, total, 1.0) for name, (w, a) in found.items()}
    return Credit.of(batch, "turn", sum(parts.values(), np.zeros(batch.n_turns)), parts=parts)


def _average(returns: Float, same: Int) -> Bool:
    """Where a return is its group's mean, up to the rounding of that mean."""
    largest = np.zeros(int(same.max()) + 1)
    np.maximum.at(largest, same, np.abs(returns))
    near: Bool = np.abs(returns - group_mean(returns, same)[0][same]) <= _ROUNDING * largest[same]
    return near
