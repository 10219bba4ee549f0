"""SkyRL computes advantages by its registry: ours through SkyRL's own call, for four answers to two prompts, on a CPU."""

import torch
from skyrl.backends.skyrl_train.utils.ppo_utils import compute_advantages_and_returns

from apportion.integrations.skyrl import register

name = register("gae", single_turn=True, lam=0.5)  # in training: trainer.algorithm.advantage_estimator=apportion/gae
reward = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
mask = torch.tensor([[1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1]])  # SkyRL aligns responses to the right
value = torch.tensor([[0.5, 0.5, 0.5]] * 4)
given = {"token_level_rewards": reward, "response_mask": mask, "index": ["a", "a", "b", "b"], "values": value}
advantages, returns = compute_advantages_and_returns(**given, adv_estimator=name, config=None)
print(advantages)
