"""Trinity's experience pipeline makes advantages: ours for four runs of one task, two steps each, on a CPU."""

import asyncio

from trinity.algorithm import ADVANTAGE_FN
from trinity.common.experience import EID, Experience

from apportion.integrations.trinity import ADVANTAGE

settings = {"method": "gigpo", "omega": 0.5, "rewards": "step"}  # in training: algorithm.advantage_fn_args


def run(number, pages, rewards):
    seen, steps = [1, 2], []  # the prompt
    for step, (page, reward) in enumerate(zip(pages, rewards, strict=True)):
        shown = [*seen, ord(page)]
        seen = [*shown, 7, 8]  # what the policy writes
        info = {"env_state_hash": page, "step_reward": reward}
        eid = EID(batch=0, task=0, run=number, step=step)
        steps.append(Experience(eid=eid, tokens=seen, prompt_length=len(shown), info=info, reward=sum(rewards)))
    return steps


exps = run(0, "ab", [0.0, 1.0]) + run(1, "ab", [0.0, 0.0]) + run(2, "ac", [0.0, 1.0]) + run(3, "ac", [0.0, 1.0])
exps, logged = asyncio.run(ADVANTAGE_FN.get(ADVANTAGE)(**settings).process(exps))
for e in exps:
    print(e.eid.run, e.eid.step, e.info["env_state_hash"], e.advantages)
