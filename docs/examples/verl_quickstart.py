"""apportion in verl, without training: verl's own compute_advantage on a real DataProto, on the CPU."""

import numpy as np
import torch
from omegaconf import OmegaConf
from verl import DataProto
from verl.trainer.ppo.ray_trainer import compute_advantage

mask = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0], [1, 1, 0, 0]])  # 0: the tool wrote it, or padding
reward = torch.tensor([1.0, 0.0, 0.0, 0.5])
rollouts = DataProto.from_dict(
    tensors={"response_mask": mask, "token_level_rewards": reward[:, None] * torch.eye(4)[[3, 3, 2, 1]]},
    non_tensors={"uid": np.array(["prompt a", "prompt a", "prompt b", "prompt b"], dtype=object)},
)
algorithm = OmegaConf.create({"gamma": 1.0, "lam": 1.0, "apportion": {"spread": "none"}})  # +algorithm.apportion.spread=none

done = compute_advantage(rollouts, adv_estimator="apportion/grpo", config=algorithm)
print(done.batch["advantages"])

try:
    compute_advantage(rollouts, adv_estimator="apportion/gigpo")
except LookupError as error:
    print(error)
