"""AReaL makes advantages in its engine: ours in their place, for two prompts of two rollouts, two turns each, on a CPU."""

import torch
from areal.api.cli_args import PPOActorConfig
from areal.engine import FSDPPPOActor
from transformers import Qwen2Config

from apportion.integrations.areal import CreditMixin


class Actor(CreditMixin, FSDPPPOActor):
    credit, credit_options = "pooled_td", {"states": "observation"}


Qwen2Config().save_pretrained("model")  # AReaL reads a model's configuration here, its weights later
actor = Actor(PPOActorConfig(experiment_name="shop", trial_name="one", path="model", kl_ctl=0.0))
said = torch.tensor([[[11, 7, 13], [14, 8, 13]], [[11, 7, 14], [14, 8, 14]]])  # write, see 7 or 8, write
groups = [
    {
        "input_ids": torch.cat([torch.tensor([[1, 2]] * 2), ids], dim=1),
        "attention_mask": torch.ones(2, 5, dtype=torch.bool),
        "loss_mask": torch.tensor([[0, 0, 1, 0, 1]] * 2),
        "logprobs": torch.zeros(2, 5),
        "rewards": reward,
    }
    for ids, reward in zip(said, torch.tensor([[1.0, 0.0], [1.0, 1.0]]), strict=True)
]
for group in actor.compute_advantages(groups):
    print(group["advantages"])  # each stands one to the left of its token, as all of AReaL's
