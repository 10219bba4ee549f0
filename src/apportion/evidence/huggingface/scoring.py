"""Log-probabilities and entropies of many texts, a few batches of like length at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..sources import Array

Watch = Callable[[int, int], None]


def token_logp(
    model: Any, texts: Sequence[Sequence[int]], *, max_tokens: int = 8192, watch: Watch | None = None
) -> tuple[list[Array], list[Array]]:
    """Of every token of every text: its log-probability after those before it (0 for the first), and the entropy there.

    Texts of like length share a batch of at most ``max_tokens`` tokens with padding (one that is longer goes alone).
    """
    import torch

    logp: list[Array] = [np.zeros(len(t)) for t in texts]
    entropy: list[Array] = [np.zeros(len(t)) for t in texts]
    done = 0
    for some in _batches([len(t) for t in texts], max_tokens):
        width = max(len(texts[i]) for i in some)
        padded = torch.tensor([[*texts[i], *[0] * (width - len(texts[i]))] for i in some], device=model.device)
        mask = torch.tensor([[1] * len(texts[i]) + [0] * (width - len(texts[i])) for i in some], device=model.device)
        with torch.no_grad():
            said = torch.log_softmax(model(input_ids=padded, attention_mask=mask, use_cache=False).logits[:, :-1].float(), dim=-1)
        own = said.gather(2, padded[:, 1:, None])[:, :, 0].cpu().numpy()
        spread = -(said.exp() * said).sum(dim=-1).cpu().numpy()
        for row, i in enumerate(some):
            n = len(texts[i])
            logp[i][1:], entropy[i][1:] = own[row, : n - 1], spread[row, : n - 1]
        done += len(some)
        if watch:
            watch(done, len(texts))
    return logp, entropy


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Indices in batches whose width times rows stays within ``most``; texts without a second token need none."""
    batch: list[int] = []
    for i in sorted((i for i, n in enumerate(lengths) if n > 1), key=lambda i: lengths[i]):
        if batch and lengths[i] * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
