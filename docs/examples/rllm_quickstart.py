"""Four episodes of one task in rLLM, two calls of the model each, and the advantages their steps get, on a CPU."""

from omegaconf import OmegaConf
from rllm.trainer.algorithms.config import TransformConfig
from rllm.trainer.algorithms.transform import transform_episodes_to_trajectory_groups
from rllm.types import Episode, Step, Trajectory

from apportion.integrations.rllm import grouping_hook


def episode(k, page, reward):
    said = [([1, 2], [3], "home"), ([1, 2, 3, 10 + page], [4, 5], f"page {page}")]  # prompt, answer, state
    steps = [Step(prompt_ids=p, response_ids=a, logprobs=[-0.7] * len(a), metadata={"state": s}) for p, a, s in said]
    return Episode(id=f"task:{k}", trajectories=[Trajectory(name="shopper", steps=steps, reward=reward)])


episodes = [episode(0, 5, 1.0), episode(1, 5, 0.0), episode(2, 6, 0.0), episode(3, 6, 0.0)]
config = OmegaConf.create({"rllm": {"algorithm": {"use_precomputed_advantage": True}, "rollout": {"n": 4}}})
hook = grouping_hook(config, "gigpo", backend="tinker")  # in training: AgentTrainer(..., traj_grouping_hook=hook)
groups, _ = transform_episodes_to_trajectory_groups(episodes, TransformConfig(), traj_grouping_hook=hook)
for trajectory in groups[0].trajectories:
    print([[round(a, 2) for a in step.advantage] for step in trajectory.steps])
