"""NeMo-RL asks one function for its estimator: ours for four samples of two prompts, two turns each, on a CPU."""

from types import SimpleNamespace

import torch
from nemo_rl.algorithms import grpo

from apportion.integrations.nemo_rl import install

name = install("pooled_td", states="observation")  # in training: before examples/run_grpo.py
loss = {"use_kl_in_reward": False, "force_on_policy_ratio": False, "token_level_loss": True}
config = SimpleNamespace(
    grpo={"adv_estimator": {"name": name}, "num_generations_per_prompt": 2},
    loss_fn=SimpleNamespace(**loss, sequence_level_importance_ratios=False),
)


def sample(first, seen, second):
    said = [("user", [1, 2]), ("assistant", first), ("environment", seen), ("assistant", second)]
    return [{"role": role, "token_ids": torch.tensor(ids)} for role, ids in said]


logs = [sample([11, 12], [7], [13]), sample([14, 12], [8], [13]), sample([11, 12], [7], [13]), sample([15, 12], [7], [13])]
batch = {"message_log": logs, "length": torch.tensor([2] * 4)}
mask = torch.tensor([[0, 0, 1, 1, 0, 1]] * 4, dtype=torch.float32)
prompt, reward = torch.tensor([[1], [1], [2], [2]]), torch.tensor([1.0, 0.0, 1.0, 0.0])
print(grpo._create_advantage_estimator(config).compute_advantage(prompt, reward, mask, repeated_batch=batch))
