"""AReaL: ``PPOActor._compute_advantages`` and ``Normalization``, the code itself.

Importing it imports servers, log services and a task runner that these never touch; stand-ins that refuse to do
anything take the place of those that are missing.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from .cases import GaeCase, GroupCase
from .standins import standing_in

#: What AReaL imports on the way to its actor, besides torch, transformers and two small packages it needs at once.
IMPORT_ONLY = ("aiofiles", "einops", "flask", "lark", "pybase64", "swanlab", "tensorboardX", "wandb")


def gae(case: GaeCase) -> list[float]:
    import torch

    with standing_in(IMPORT_ONLY):
        from areal.trainer.ppo.actor import PPOActor

    # What the method reads of its actor, at the defaults; one prompt token before the response.
    config = SimpleNamespace(overlong_reward_penalty=False, use_decoupled_loss=False, recompute_logprob=False)
    actor = SimpleNamespace(
        config=config,
        reward_bias=0.0,
        reward_scaling=1.0,
        reward_clip=20.0,
        reward_norm=None,
        adv_norm=None,
        kl_ctl=0.0,
        kl_estimator=lambda old, ref: torch.zeros_like(old),
        mask_no_eos_with_zero=False,
        discount=case.gamma,
        gae_lambda=case.lam,
    )
    rows, width = case.mask.shape
    prompt = np.zeros((rows, 1))

    def tensor(x: Any) -> Any:
        return torch.tensor(x, dtype=torch.float32)

    data = {
        "input_ids": torch.zeros(rows, width + 1, dtype=torch.long),
        "attention_mask": torch.ones(rows, width + 1),
        "loss_mask": tensor(np.concatenate([prompt, case.mask], axis=1)),
        "logprobs": torch.zeros(rows, width + 1),
        "rewards": tensor(case.outcome),
        "values": tensor(np.concatenate([case.value, prompt], axis=1)),  # at the token before, as its critic gives them
    }
    advantage = PPOActor._compute_advantages(actor, data)["advantages"][:, :width]
    found: list[float] = advantage[tensor(case.mask).bool()].tolist()
    return found


def group(case: GroupCase, id_: str) -> list[float]:
    import torch

    with standing_in(IMPORT_ONLY):
        from areal.api.cli_args import NormConfig
        from areal.utils.data import Normalization

    level, std, leave_one_out = {
        "group": ("group", "group", False),
        "centred": ("group", "batch", False),
        "batch": ("batch", "batch", False),
        "rloo": ("group", None, True),
    }[id_]
    config = NormConfig(mean_level=level, std_level=std, mean_leave1out=leave_one_out, group_size=case.size or 1)
    found: list[float] = Normalization(config)(torch.tensor(case.reward, dtype=torch.float32)).tolist()
    return found
