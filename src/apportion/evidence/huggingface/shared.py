"""Attention of many rows to a text they share and to what each of them wrote, without a copy of the text for every row.

The shared keys and values are (heads, length, size), once, whatever the number of rows: all rows' queries meet them in
one matrix product. What a row wrote itself stands in an ordinary cache. Both sets of scores go through one softmax, so the
result is that of plain attention (the idea of Hydragen, Juravsky et al. 2024, arXiv 2402.05099, with a cut per row).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ...errors import OptionError

NAME = "apportion_shared_prefix"

#: What some models want of attention and this one does not do.
UNKNOWN = ("softcap", "s_aux", "sliding_window", "position_bias")


@dataclass(frozen=True)
class Shared:
    """keys, values: per layer (heads, length, size). hidden: (rows, length), True where a row does not see the text."""

    keys: list[Any]
    values: list[Any]
    hidden: Any


_shared: ContextVar[Shared] = ContextVar("shared")


def can_share(model: Any) -> bool:
    """Whether the model takes its attention from the table of transformers, where ours can stand too."""
    return bool(getattr(type(model), "_can_set_attn_implementation", lambda: False)())


@contextmanager
def exchanged(model: Any) -> Iterator[None]:
    """Within it the model attends as :func:`attend` does. Not for a model that others use meanwhile."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def sharing(shared: Shared) -> Iterator[None]:
    """Within it an exchanged attention sees ``shared`` before its cache."""
    token = _shared.set(shared)
    try:
        yield
    finally:
        _shared.reset(token)


def attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **more: Any
) -> tuple[Any, None]:
    """query: (rows, heads, n, size); key, value: (rows, key heads, written, size), the last n of them new.

    The mask is ours: the text up to each row's cut, and what the row wrote up to the token that looks.
    """
    import torch

    odd = next((name for name in UNKNOWN if more.get(name) is not None), None)
    if odd:
        raise OptionError(f"{type(module).__name__} attends with {odd}: prefixes cannot share one cache")
    shared = _shared.get()
    old_key, old_value = shared.keys[module.layer_idx], shared.values[module.layer_idx]
    rows, heads, n, size = query.shape
    own, length, written = key.shape[1], old_key.shape[1], key.shape[2]
    each = heads // own * n  # queries of a row that meet the same key head
    asked = query.reshape(rows, own, each, size) * (size**-0.5 if scaling is None else scaling)

    old = _flat(asked) @ old_key.transpose(1, 2)
    old = old.view(own, rows, each, length).transpose(0, 1).masked_fill(shared.hidden[:, None, None], float("-inf"))
    new = asked @ key.transpose(2, 3)
    if n > 1:
        later = torch.ones(n, written, dtype=torch.bool, device=new.device).triu(written - n + 1)
        new = new.masked_fill(later.repeat(heads // own, 1), float("-inf"))
    weight = torch.softmax(torch.cat([old, new], dim=-1), dim=-1, dtype=torch.float32).to(value.dtype)
    from_old = (_flat(weight[..., :length]) @ old_value).view(own, rows, each, -1).transpose(0, 1)
    out = from_old + weight[..., length:] @ value
    return out.reshape(rows, heads, n, -1).transpose(1, 2).contiguous(), None


def _flat(of_rows: Any) -> Any:
    """(rows, heads, n, d) -> (heads, rows * n, d)."""
    rows, own, each, last = of_rows.shape
    return of_rows.transpose(0, 1).reshape(own, rows * each, last)
