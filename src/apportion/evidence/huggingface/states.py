"""What a model has in mind at tokens of a batch: the last hidden states of its trunk."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

from ...batch import Batch
from ...structure import Int
from . import checks
from .packing import bins, hidden, packs, room, still, trunk_of


def texts_of(model: Any, batch: Batch) -> list[list[int]]:
    ids, starts = checks.token_ids(model, batch), batch.offsets("trajectory")
    texts = [ids[starts[i] : starts[i + 1]].tolist() for i in range(batch.n_trajectories)]
    checks.texts(model, texts, "trajectory")
    return texts


def hidden_states(
    model: Any, texts: list[list[int]], some: Int, batch: Batch, at: Int, most: int | None, weights: Any = None
) -> Any:
    """Hidden states (len(at), width) at tokens ``at`` of the batch (ascending, all in trajectories ``some``); no gradients.

    weights: of the trunk, in place of the model's own.
    """
    import torch

    trunk, packed, starts = trunk_of(model), packs(model), batch.offsets("trajectory")
    bounds = np.searchsorted(at, starts)
    out: Any = None
    with torch.no_grad(), still(model):
        for chosen in bins([len(texts[i]) for i in some], room(model, most), packed=packed):
            these = [int(some[j]) for j in chosen]
            states = hidden(trunk, [texts[i] for i in these], packed, weights)
            offset = np.cumsum([0, *(len(texts[i]) for i in these)])
            for i, begin in zip(these, offset, strict=False):
                own = np.arange(bounds[i], bounds[i + 1])
                if out is None:
                    out = torch.zeros(at.size, states.shape[1], device=states.device)
                out[torch.from_numpy(own)] = states[torch.from_numpy(at[own] - starts[i] + begin)]
    return out


def fingerprint(model: Any) -> int:
    """A number made of the shapes and some of the weights of the model without its head."""
    code = 0
    for name, weight in trunk_of(model).named_parameters():
        flat = weight.detach().flatten()
        some = flat[:: max(flat.numel() // 64, 1)].float().cpu().numpy()
        code = crc32(some.tobytes(), crc32(f"{name} {tuple(weight.shape)}".encode(), code))
    return code
