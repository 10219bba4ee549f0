"""verl: ``verl.trainer.ppo.core_algos``, called as it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from .cases import GaeCase, GroupCase


def gae(case: GaeCase) -> list[float]:
    import torch
    from verl.trainer.ppo.core_algos import compute_gae_advantage_return

    reward, value, mask = (torch.tensor(x, dtype=torch.float32) for x in (case.reward, case.value, case.mask))
    advantage, returns = compute_gae_advantage_return(reward, value, mask, case.gamma, case.lam)
    found: list[float] = (advantage if case.whiten else returns - value)[mask.bool()].tolist()
    return found


def group(case: GroupCase, id_: str) -> list[float]:
    import torch
    from verl.trainer.ppo import core_algos

    name = "grpo" if id_ == "dr_grpo" else id_
    options: dict[str, Any] = {"norm_adv_by_std_in_grpo": id_ != "dr_grpo"} if "grpo" in id_ else {}
    advantage, _ = core_algos.get_adv_estimator_fn(name)(
        token_level_rewards=torch.tensor(case.reward, dtype=torch.float32)[:, None],
        response_mask=torch.ones(len(case.reward), 1),
        index=np.array([str(g) for g in case.group], dtype=object),
        **options,
    )
    found: list[float] = advantage[:, 0].tolist()
    return found
