"""OpenRLHF makes advantages in its experience maker: ours in their place, for two prompts of two rollouts, on a CPU."""

from argparse import Namespace

import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
from openrlhf.utils.config import hierarchize

from apportion.integrations.openrlhf import at_start, crediting

given = {"algo.advantage.estimator": "reinforce", "algo.advantage.gamma": 1.0, "algo.advantage.no_std_norm": True}
given |= {"algo.kl.init_coef": 0.0, "algo.kl.use_loss": False, "rollout.n_samples_per_prompt": 2, "reward.clip_range": None}
given |= {"actor.policy_loss_type": "ppo", "actor.loss_agg_mode": "token-mean", "critic.model_name_or_path": None}
args = hierarchize(Namespace(**given, **{"train.async_enable": False}))
maker = crediting(RemoteExperienceMaker)(*[None] * 4, Namespace(value=0.0), Namespace(args=args), None)
maker.plan = at_start(args, "pooled_td", {"states": "observation"})
ids = torch.tensor([[1, 2, 11, 7, 13], [1, 2, 14, 8, 13], [1, 2, 11, 7, 14], [1, 2, 14, 8, 14]])  # write, see 7 or 8, write
mask = torch.tensor([[0, 1, 0, 1]] * 4)  # of the second token on
batch = Experience(sequences=ids, attention_mask=torch.ones_like(ids), action_mask=mask, index=[0, 1, 2, 3])
batch.rewards, batch.kl, batch.action_log_probs = torch.tensor([1.0, 0.0, 1.0, 1.0]), torch.zeros(4, 4), torch.zeros(4, 4)
for experience in maker.compute_advantages_and_returns([batch]):
    print(experience.advantages)
