"""Log-probabilities and entropies of many texts, packed into few forward passes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...structure import Bool
from ..sources import Array
from .packing import bins, logits, packs, room, still

Watch = Callable[[int, int], None]
#: Logits that are turned into chances at a time.
_ROWS = 2048


def token_logp(
    model: Any,
    texts: Sequence[Sequence[int]],
    *,
    wanted: Sequence[Bool] | None = None,
    entropy: bool = True,
    max_tokens: int | None = None,
    watch: Watch | None = None,
) -> tuple[list[Array], list[Array]]:
    """Of every token of every text: its log-probability after those before it (0 for the first), and the entropy there.

    wanted: which tokens are asked about, a mask for each text; the others are 0. entropy: without it zeros. max_tokens:
    of one forward pass (a longer text goes alone); None: as the device likes it.
    """
    import torch

    logp: list[Array] = [np.zeros(len(t)) for t in texts]
    spread: list[Array] = [np.zeros(len(t)) for t in texts]
    asked = [np.arange(1, len(t)) if wanted is None else 1 + np.flatnonzero(wanted[i][1:]) for i, t in enumerate(texts)]
    # what stands after the last token asked about need not be read
    lengths = [int(at[-1]) if at.size else 0 for at in asked]
    done = 0
    with torch.no_grad(), still(model):
        for some in bins(lengths, room(model, max_tokens), packed=packs(model)):
            read = logits(model, [texts[i][: lengths[i]] for i in some], [(asked[i] - 1).tolist() for i in some])
            own = torch.tensor([texts[i][t] for i in some for t in asked[i].tolist()], device=read.device)
            said = [_chances(read[a : a + _ROWS], own[a : a + _ROWS], entropy) for a in range(0, len(own), _ROWS)]
            ends = np.cumsum([asked[i].size for i in some])[:-1]
            for i, one, two in zip(some, *(np.split(np.concatenate(x), ends) for x in zip(*said, strict=True)), strict=True):
                logp[i][asked[i]], spread[i][asked[i]] = one, two
            done += len(some)
            if watch:
                watch(done, len(texts))
    return logp, spread


def _chances(read: Any, own: Any, entropy: bool) -> tuple[Array, Array]:
    """Log-probability of the tokens, and entropy (0 where it is not asked for)."""
    total = read.logsumexp(dim=-1)
    logp = (read.gather(1, own[:, None])[:, 0] - total).cpu().numpy().astype(np.float64)
    if not entropy:
        return logp, np.zeros(logp.size)
    # what has no chance at all adds nothing, rather than 0 times infinity
    spread = total - (read.softmax(dim=-1) * read.clamp(min=-1e9)).sum(dim=-1)
    return logp, spread.cpu().numpy().astype(np.float64)


def first_broken(model: Any, texts: Sequence[Sequence[int]], wanted: Sequence[Bool]) -> tuple[int, int]:
    """(text, token) of the first answer that is not finite. What is not a number spreads to all that is read beside it,
    so that texts are read again by themselves, and shorter and shorter."""

    def broken(i: int, end: int) -> bool:
        mask = np.arange(end) == end - 1
        return not np.isfinite(token_logp(model, [texts[i][:end]], wanted=[mask], entropy=False)[0][0]).all()

    for i, mask in enumerate(wanted):
        asked = np.flatnonzero(mask).tolist()
        if asked and broken(i, asked[-1] + 1):
            return i, asked[bisect_left(asked, True, key=lambda t: broken(i, t + 1))]
    return 0, int(np.argmax(wanted[0]))  # alone they are all well: overflow beside others
