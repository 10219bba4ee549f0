"""OpenRLHF: ``RemoteExperienceMaker.compute_advantages_and_returns``, the method itself.

Its module imports GPU packages that this method never touches; where they are missing, stand-ins
that refuse to do anything take their place during the import.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from .cases import GaeCase, GroupCase
from .standins import standing_in

GPU_ONLY = ("flash_attn", "deepspeed", "vllm")


def gae(case: GaeCase) -> list[float]:
    found = _run("gae", case.outcome, case.mask, case.value, 1, gamma=case.gamma, lambd=case.lam)
    mask = found.action_mask
    raw = found.returns - found.values * mask
    numbers: list[float] = (found.advantages if case.whiten else raw)[mask.bool()].tolist()
    return numbers


def group(case: GroupCase, id_: str) -> list[float]:
    one = np.ones((len(case.reward), 1))
    found: list[float] = _run(id_, np.array(case.reward), one, 0 * one, case.size).advantages[:, 0].tolist()
    return found


def _run(estimator: str, outcome: Any, mask: Any, value: Any, n: int, gamma: float = 1.0, lambd: float = 1.0) -> Any:
    with standing_in(GPU_ONLY):
        from openrlhf.trainer.ppo_utils.experience import Experience
        from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
    import torch

    # The options of its command line that the method reads, at their defaults.
    advantage = SimpleNamespace(estimator=estimator, gamma=gamma, lambd=lambd, no_std_norm=False)
    reward = SimpleNamespace(clip_range=None, overlong_buffer_len=None, stop_properly_penalty_coef=None)
    args = SimpleNamespace(
        algo=SimpleNamespace(advantage=advantage), rollout=SimpleNamespace(n_samples_per_prompt=n), reward=reward
    )
    no_kl = SimpleNamespace(value=0.0)
    maker = RemoteExperienceMaker(None, None, None, None, no_kl, SimpleNamespace(args=args), None)
    outcome, mask, value = (torch.tensor(x, dtype=torch.float32) for x in (outcome, mask, value))
    experience = Experience(
        index=list(range(len(outcome))), rewards=outcome, action_mask=mask, values=value, kl=torch.zeros_like(mask), info={}
    )
    return maker.compute_advantages_and_returns([experience])[0]
