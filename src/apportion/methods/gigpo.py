"""GiGPO (Feng et al. 2025, arXiv 2505.10978)."""

from __future__ import annotations

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..ops.anchors import anchor_groups, similar_groups
from ..ops.groups import standardise
from ..ops.scans import discounted_suffix
from ..registry import method
from ..words import Single, Spread, check_word
from ._episode import Statistics, episode_part


@method(
    unit="turn",
    reads={"reward", "group", "state"},
    cost="0",
    status="verified",
    unbiased="no: both baselines contain the turn's own return, anchor groups also its later visits; gamma < 1 discounts",
    smallest=(
        "Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], "
        "state=['start', 'left', 'end', 'start', 'right', 'end'])"
    ),
    scope="group",
)
def gigpo(
    batch: Batch,
    *,
    omega: float = 1.0,
    gamma: float = 0.95,
    spread: Spread = "none",
    eps: float = 1e-6,
    statistics: Statistics = "trajectory",
    similarity: float | None = None,
    single: Single = "error",
) -> Credit:
    """Group in group: GRPO over trajectories plus a comparison of turns taken in the same state.

        G_t  = r_t + gamma G_{t+1}                    discounted return of turn t
        AE_i = (R_i - mean) / F                       over the task's group of rollouts
        AS_t = (G_t - mean) / F                       over the turns of the group in the same state
        A_t  = AE_i + omega AS_t

    The state of a turn is the ``state`` key before it; turns of one group with equal keys form an
    anchor group, in which a trajectory may appear more than once. A turn in a state that nobody else met,
    or without a key (None), has AS 0. One value per turn; rows may be turns or trajectories.
    parts: ``episode`` (AE) and ``step`` (omega AS). No extra rollouts, no critic.

    spread: F. "none" (official default "mean_norm", F = 1), "sample" (official "mean_std_norm", std
    with ddof 1, plus eps) or "population" (ours, ddof 0).
    omega, gamma, eps: official 1, 0.95, 1e-6.
    statistics: what AE's mean and std count once. "trajectory" (the paper, our default: the length
    of a rollout then does not decide how much it weighs in everyone's baseline, and omega = 0 is
    GRPO) or "row" (official code, ``cross_steps=True``: every turn counts, long rollouts weigh more).
    similarity: None compares keys; a threshold (official 0.95 or 0.9) joins text keys whose difflib
    ratio to the first member of a cluster reaches it, in batch order.
    single: a group of one trajectory: an error by default; official code gives it its own reward ("raw"),
    or 0 where its rows count.

    Biased: each mean contains the turn's own return, returns are discounted, and equal keys are
    taken for equal futures although the turns may stand at different times. Not offered: the
    official penalty on invalid actions, which needs a column that batches do not have.

    Source: NeurIPS 2025 (2505.10978); verl-agent ``gigpo/core_gigpo.py`` (read in a fork).
    """
    check_word(statistics, Statistics, "statistics")
    if not 0 <= gamma <= 1:
        raise OptionError(f"gamma = {gamma}: expected a discount between 0 and 1")
    group = batch.within("turn", "group")
    state = batch.need("state")
    key = state.codes[batch.prefix_before]
    anchor = anchor_groups(group, key) if similarity is None else similar_groups(group, key, state.names, similarity)
    returns = discounted_suffix(batch.rewards("turn"), batch.trajectory_turns, gamma)
    parts = {
        "episode": episode_part(batch, spread, eps, statistics, single),
        "step": omega * standardise(returns, anchor, spread=spread, eps=eps, single="zero"),
    }
    return Credit.of(batch, "turn", parts["episode"] + parts["step"], parts=parts)
