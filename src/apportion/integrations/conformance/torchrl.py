"""torchrl: ``vec_generalized_advantage_estimate``, which its GAE module runs, and ``MCAdvantage``."""

from __future__ import annotations

from .cases import GaeCase, GroupCase


def gae(case: GaeCase) -> list[float]:
    import torch
    from torchrl.objectives.value.functional import vec_generalized_advantage_estimate

    reward, value = (torch.tensor(x, dtype=torch.float32)[:, :, None] for x in (case.reward, case.value))
    done = torch.zeros_like(value, dtype=torch.bool)
    done[:, -1] = True
    following = torch.cat([value[:, 1:], torch.zeros_like(value[:, :1])], dim=1)
    advantage, _ = vec_generalized_advantage_estimate(case.gamma, case.lam, value, following, reward, done)
    found: list[float] = advantage[:, :, 0][torch.tensor(case.mask).bool()].tolist()
    return found


def group(case: GroupCase, id_: str) -> list[float]:
    import torch
    from tensordict import TensorDict
    from torchrl.objectives.llm import MCAdvantage

    transform = MCAdvantage(grpo_size=case.size, prompt_key="group", trajectory_return="sum")
    found: list[float] = []
    for reward, prompt in zip(case.reward, case.group, strict=True):
        earned = TensorDict(reward=torch.tensor([[float(reward)]]), done=torch.tensor([[True]]), batch_size=[1])
        written = transform.inv(TensorDict({"group": torch.tensor([prompt]), "next": earned}, batch_size=[1]))
        if written is not None:  # the prompt is complete
            found += written["advantage"].flatten().tolist()
    return found
