"""RLOO (Ahmadian et al. 2024, arXiv 2402.14740; estimator of Kool et al. 2019)."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..ops.groups import group_mean, level_mean, standardise
from ..registry import method
from ..words import Single


@method(
    unit="trajectory",
    reads={"reward", "group"},
    may_read={"episode"},
    status="verified",
    unbiased="yes",
    smallest="Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], group=[0, 0])",
    scope="group",
)
def rloo(batch: Batch, *, single: Single = "error") -> Credit:
    """Leave-one-out baseline: each rollout is compared with the mean of the others of its prompt.

        A_i = R_i - 1/(n-1) sum_{j != i} R_j = n/(n-1) (R_i - mean R)

    R (N,) is the total reward; a KL penalty in the reward, as in the paper, belongs in ``token_reward``.
    One value per trajectory, the same on all its policy tokens. No std, no whitening. In a batch with
    episodes (several agents' trajectories with one fate) the others are those of *other* episodes:
    a teammate's reward is the rollout's own.

    single: what a prompt with one rollout gets: an error by default; "raw", its reward without a
    baseline (verl); or "zero".

    Unbiased: a rollout never enters its own baseline.

    Source: Ahmadian et al., Back to Basics, ACL 2024 (2402.14740); estimator of Kool et al. 2019; verl
    ``compute_rloo_outcome_advantage``.
    """
    over, reward = batch.within("trajectory", "group"), batch.reward
    if batch.episode is None:
        return Credit.of(batch, "trajectory", standardise(reward, over, baseline="leave_one_out", single=single))
    episode = batch.within("trajectory", "episode")
    lone = standardise(
        level_mean(reward, episode), batch.within("episode", "group"), baseline="leave_one_out", single=single
    )[episode]  # fmt: skip
    # measured from the prompt's first rollout: equal rewards differ by exactly 0, however large their episodes
    reward = reward - reward[np.unique(over, return_index=True)[1]][over]
    mean = group_mean(reward, episode)[0]
    # an episode counts as often as it has trajectories; leaving it out is leaving all of them out
    own = np.bincount(episode)[episode].astype(np.float64)
    size = np.bincount(over)[over]
    others = (np.bincount(over, weights=reward)[over] - own * mean[episode]) / np.maximum(size - own, 1)
    return Credit.of(batch, "trajectory", np.where(size > own, reward - others, lone))
