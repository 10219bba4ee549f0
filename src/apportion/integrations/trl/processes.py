"""TRL's tensors as numpy, and one result for all processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...errors import CreditError
from .rollouts import Credited, Rollout


def array(tensor: Any) -> Any:
    return tensor.detach().cpu().float().numpy() if tensor.is_floating_point() else tensor.detach().cpu().numpy()


def loss_mask(output: Mapping[str, Any]) -> Any:
    mask = output["completion_mask"]
    return mask * output["tool_mask"] if "tool_mask" in output else mask


def weighted(rewards: Any, weights: Any) -> Any:
    """Weighted sum over reward functions, (completions of all processes,); NaN where none gave a number. As in TRL."""
    import torch

    total = (rewards * weights.to(rewards.device).unsqueeze(0)).nansum(dim=1)
    total[torch.isnan(rewards).all(dim=1)] = torch.nan
    return array(total).astype(np.float64)


def gather(mine: list[Rollout]) -> list[Rollout]:
    from accelerate.utils import gather_object

    found: list[Rollout] = gather_object(mine)
    return found


def on_main(accelerator: Any, work: Callable[[], Credited]) -> Credited:
    """The result of ``work`` on the main process, everywhere; if it fails there, every process raises and none hangs."""
    from accelerate.utils import broadcast_object_list

    found: list[Any] = [None, ""]
    caught: Exception | None = None
    if accelerator.is_main_process:
        try:
            found[0] = work()
        except Exception as error:
            caught, found[1] = error, f"{type(error).__name__}: {error}"
    broadcast_object_list(found, from_process=0)
    if caught is not None:
        raise caught
    if found[1]:
        raise CreditError(f"on the main process, {found[1]}")
    result: Credited = found[0]
    return result
