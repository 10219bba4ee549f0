"""Four rollouts of one prompt as Tinker's cookbook keeps them, and the data they become, on a CPU; no service is called."""

import tinker
from tinker_cookbook.completers import TokensWithLogprobs
from tinker_cookbook.rl.types import Trajectory, TrajectoryGroup, Transition

from apportion.integrations.tinker import assembler


def trajectory(page, reward):
    """Write a token, see a page, write another: each prompt holds all that stood before it."""
    seen, done = [1, 2], []
    for wrote, shown, earned in ((3, 10 + page, 0.0), (4, 20, reward)):
        ac = TokensWithLogprobs(tokens=[wrote], maybe_logprobs=[-0.7])
        done.append(Transition(tinker.ModelInput.from_ints(seen), ac, earned, episode_done=wrote == 4))
        seen = [*seen, wrote, shown]
    return Trajectory(transitions=done, final_ob=tinker.ModelInput.from_ints(seen))


rollouts = [trajectory(5, 1.0), trajectory(5, 0.0), trajectory(6, 0.0), trajectory(6, 0.0)]
assemble = assembler("gigpo", states="observation", loss_fn="ppo")
data, origin = assemble([TrajectoryGroup(rollouts, final_rewards_G=[0.0] * 4, metrics_G=[{}] * 4)])
for datum in data:
    print(datum.loss_fn_inputs["target_tokens"].tolist(), datum.loss_fn_inputs["advantages"].to_numpy().round(2))
