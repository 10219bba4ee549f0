"""One trajectory read once, then gone on with from many of its prefixes at the same time.

The keys and values of the whole text are computed once. A row that goes on after its first ``c`` tokens sees those only:
the rest of the shared cache is masked for it, and its new tokens take the positions from c on. So all rows, whatever
their cuts, share one forward pass a token, and no prefix is ever read again. The text stands in memory once
(:mod:`.shared`); for the few models whose attention cannot be exchanged it is copied for every row.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from ...errors import OptionError
from ..sources import Array
from .packing import still
from .shared import Shared, can_share, exchanged, sharing


class Prefix:
    """The cache of one text, read without dropout. ``rows``: at most so many continuations in memory at a time."""

    def __init__(self, model: Any, ids: Sequence[int], *, rows: int = 128) -> None:
        import torch
        from transformers.cache_utils import DynamicCache

        if not len(ids):
            raise OptionError("ids is empty: a model cannot go on from nothing (give at least its start token)")
        if rows < 1:
            raise OptionError(f"rows = {rows}: expected at least 1")
        self.model, self.length, self.rows = model, len(ids), rows
        text = torch.tensor([list(ids)], device=model.device)
        with torch.no_grad(), still(model):
            out = model(input_ids=text, past_key_values=DynamicCache(config=model.config), use_cache=True)
        layers = getattr(getattr(out, "past_key_values", None), "layers", None)
        if any(getattr(layer, "is_sliding", False) for layer in layers or ()):
            raise OptionError(f"{type(model).__name__} attends in a sliding window: prefixes cannot share one cache")
        if not layers or not all(hasattr(layer, "keys") and not hasattr(layer, "recurrent_states") for layer in layers):
            raise OptionError(f"{type(model).__name__} keeps a recurrent state: prefixes cannot share one cache")
        self.cache, self.logits = out.past_key_values, out.logits[0].float()
        self.once = can_share(model)
        self.keys, self.values = ([getattr(layer, name)[0] for layer in self.cache.layers] for name in ("keys", "values"))

    def score(self, cuts: Sequence[int], texts: Sequence[Sequence[int]]) -> list[Array]:
        """Log-probability of every token of ``texts[i]`` after the first ``cuts[i]`` tokens (at least 1 each)."""
        import torch

        found: list[Array] = []
        for begin in range(0, len(cuts), self.rows):
            at, some = cuts[begin : begin + self.rows], texts[begin : begin + self.rows]
            self._check(at)
            width = max((len(t) for t in some), default=0)
            if not width:
                found += [np.empty(0) for _ in some]
                continue
            padded = torch.tensor([[*t, *[0] * (width - len(t))] for t in some], device=self.logits.device)
            with still(self.model), self._exchanged():
                logits = self._forward(self._fresh(len(at)), padded, at, 0)
            first = self.logits[torch.tensor(at, device=self.logits.device) - 1]
            logp = torch.log_softmax(torch.cat([first[:, None], logits[:, :-1]], dim=1), dim=-1)
            picked = logp.gather(2, padded[:, :, None])[:, :, 0].cpu().numpy().astype(np.float64)
            found += [picked[i, : len(t)] for i, t in enumerate(some)]
        return found

    def generate(
        self,
        cuts: Sequence[int],
        *,
        max_new_tokens: int,
        stop: Sequence[int],
        rng: np.random.Generator,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> tuple[list[list[int]], list[bool]]:
        """One continuation after each cut, and whether it ended by itself (with a ``stop`` token, which is part of it).

        temperature 0 takes the likeliest token; a cut that stands k times gets k draws. Raises OptionError where the logits
        leave nothing to draw from.
        """
        found: list[list[int]] = []
        ended: list[bool] = []
        for begin in range(0, len(cuts), self.rows):
            some = cuts[begin : begin + self.rows]
            self._check(some)
            with still(self.model), self._exchanged():
                texts, ends = self._generate(some, max_new_tokens, set(stop), rng, temperature, top_p)
            found += texts
            ended += ends
        return found, ended

    def _generate(
        self, cuts: Sequence[int], most: int, stop: set[int], rng: np.random.Generator, temperature: float, top_p: float
    ) -> tuple[list[list[int]], list[bool]]:
        import torch

        draw = torch.Generator(device="cpu").manual_seed(int(rng.integers(2**63 - 1)))
        texts: list[list[int]] = [[] for _ in cuts]
        ended = [False] * len(cuts)
        live, cache = list(range(len(cuts))), self._fresh(len(cuts))
        logits = self.logits[torch.tensor(list(cuts), device=self.logits.device) - 1]
        for step in range(most):
            logits = _warped(logits, temperature, top_p)
            broken = (~logits.logsumexp(dim=-1).isfinite()).nonzero()  # single words of no chance (-inf) are none
            if len(broken):
                raise OptionError(
                    f"after the first {cuts[live[int(broken[0])]]} tokens and {step} new ones nothing can be drawn: the model's "
                    "logits are broken there (overflow in half precision, or weights that are not finite)"
                )
            token = logits.argmax(dim=-1) if temperature == 0 else _drawn(logits, draw)
            for row, t in zip(live, token.tolist(), strict=True):
                texts[row].append(t)
                ended[row] = t in stop
            going = [i for i, row in enumerate(live) if not ended[row]]
            if not going or step == most - 1:
                break
            if len(going) < len(live):
                chosen = torch.tensor(going, device=token.device)
                cache.batch_select_indices(chosen)
                live, token = [live[i] for i in going], token[chosen]
            logits = self._forward(cache, token[:, None], [cuts[row] for row in live], step)[:, -1]
        return texts, ended

    def _fresh(self, rows: int) -> Any:
        """A cache for what ``rows`` continuations write: empty, or begun with a copy of the text for each."""
        from transformers.cache_utils import DynamicCache

        if self.once:
            return DynamicCache(config=self.model.config)
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(rows)
        return cache

    def _forward(self, cache: Any, tokens: Any, cuts: Sequence[int], done: int) -> Any:
        """Logits of ``tokens`` (rows, n), which follow ``done`` new ones after each row's cut."""
        import torch

        n, device = tokens.shape[1], tokens.device
        at = torch.tensor(list(cuts), device=device)[:, None]
        old = torch.arange(self.length, device=device)[None, :] < at
        mask = None if self.once else torch.cat([old, old.new_ones(len(cuts), done + n)], dim=1).long()
        position = at + done + torch.arange(n, device=device)[None, :]
        with torch.no_grad(), sharing(Shared(self.keys, self.values, ~old)):
            out = self.model(
                input_ids=tokens, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
            )  # fmt: skip
        return out.logits.float()

    def _exchanged(self) -> Any:
        return exchanged(self.model) if self.once else nullcontext()

    def _check(self, cuts: Sequence[int]) -> None:
        for i, cut in enumerate(cuts):
            if not 1 <= cut <= self.length:
                raise OptionError(f"cuts[{i}] = {cut}: expected 1 to {self.length}, the tokens that stand before what is written")


def _warped(logits: Any, temperature: float, top_p: float) -> Any:
    """By the warpers of transformers; as they are where the likeliest token is taken."""
    from transformers.generation.logits_process import TemperatureLogitsWarper, TopPLogitsWarper

    none: Any = None
    if temperature not in (0, 1):
        logits = TemperatureLogitsWarper(temperature)(none, logits)
    if temperature != 0 and top_p < 1:
        logits = TopPLogitsWarper(top_p)(none, logits)
    return logits


def _drawn(logits: Any, draw: Any) -> Any:
    """A token of each row."""
    import torch

    # one number a row, looked up in the running sum: torch.multinomial draws one for every word of the vocabulary
    below = torch.softmax(logits, dim=-1).double().cumsum(dim=-1)
    dice = torch.rand(len(logits), 1, generator=draw, dtype=torch.float64).to(logits.device)
    token = torch.searchsorted(below, dice * below[:, -1:], right=True)
    return token.clamp(max=logits.shape[-1] - 1)[:, 0]
