"""SkyRL: ``skyrl.backends.skyrl_train.utils.ppo_utils``, called as it is (Python 3.12 or newer)."""

from __future__ import annotations

import numpy as np

from .cases import GaeCase, GroupCase


def gae(case: GaeCase) -> list[float]:
    import torch
    from skyrl.backends.skyrl_train.utils.ppo_utils import compute_gae_advantage_return

    reward, value = (torch.tensor(x, dtype=torch.float32) for x in (case.reward, case.value))
    # Its response mask covers the whole response, observation tokens too; only the loss mask leaves them out.
    advantage, returns = compute_gae_advantage_return(reward, value, torch.ones_like(value), case.gamma, case.lam)
    found: list[float] = (advantage if case.whiten else returns - value)[torch.tensor(case.mask).bool()].tolist()
    return found


def group(case: GroupCase, id_: str) -> list[float]:
    import torch
    from skyrl.backends.skyrl_train.utils import ppo_utils

    function = ppo_utils.compute_rloo_outcome_advantage if id_ == "rloo" else ppo_utils.compute_grpo_outcome_advantage
    advantage, _ = function(
        token_level_rewards=torch.tensor(case.reward, dtype=torch.float32)[:, None],
        response_mask=torch.ones(len(case.reward), 1),
        index=np.array([str(g) for g in case.group], dtype=object),
        grpo_norm_by_std=id_ != "dr_grpo",
    )
    found: list[float] = advantage[:, 0].tolist()
    return found
