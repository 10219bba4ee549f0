"""A small causal transformer as a pure function: logits(parameters, token ids)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tabular import Float

#: No policy of this tier has more parameters.
MOST = 200_000


@dataclass(frozen=True)
class Shape:
    """How large the transformer is. ``vocabulary`` token ids, at most ``length`` of them in a text."""

    vocabulary: int
    length: int
    width: int = 24
    heads: int = 2
    layers: int = 2
    inner: int = 48

    @property
    def sizes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and shape of every parameter, in the order of the flat vector."""
        d, m = self.width, self.inner
        blocks = [
            (f"{name}.{i}", size)
            for i in range(self.layers)
            for name, size in (
                ("attend_gain", (d,)), ("attend_shift", (d,)), ("attend", (d, 3 * d)), ("attend_out", (d, d)),
                ("think_gain", (d,)), ("think_shift", (d,)), ("think", (d, m)), ("think_bias", (m,)), ("think_out", (m, d)),
            )
        ]  # fmt: skip
        ends = (("gain", (d,)), ("shift", (d,)), ("out", (d, self.vocabulary)))
        return (("token", (self.vocabulary, d)), ("place", (self.length, d)), *blocks, *ends)

    @property
    def parameters(self) -> int:
        return sum(int(np.prod(size)) for _, size in self.sizes)


def initial(shape: Shape, seed: int) -> Float:
    """Random parameters (n,): gains 1, shifts 0, matrices normal with the spread that keeps variance."""
    rng = np.random.default_rng(seed)
    parts = []
    for name, size in shape.sizes:
        kind = name.split(".")[0]
        if kind.endswith("gain"):
            parts.append(np.ones(size))
        elif kind.endswith(("shift", "bias")):
            parts.append(np.zeros(size))
        elif kind in ("token", "place"):
            parts.append(rng.normal(size=size) * 0.5)
        else:
            parts.append(rng.normal(size=size) / np.sqrt(size[0]))
    return np.concatenate([part.ravel() for part in parts])


@contextmanager
def one_thread() -> Iterator[None]:
    """The order of a sum must not depend on how many cores there are; the caller's number comes back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def logits(shape: Shape, flat: Any, ids: Any, last: int) -> Any:
    """Logits of the next token after each of the ``last`` places of the texts ``ids`` (..., length).

    flat: torch vector of parameters; returns (..., last, vocabulary). Pre-norm blocks: causal attention,
    then a two-layer perceptron with GELU. In the last block only the places asked for are worked out.
    """
    import torch
    from torch.nn import functional

    p, at = {}, 0
    for name, size in shape.sizes:
        n = int(np.prod(size))
        p[name] = flat[at : at + n].reshape(size)
        at += n
    length, d, h = ids.shape[-1], shape.width, shape.heads
    x = functional.embedding(ids, p["token"]) + p["place"][:length]
    for i in range(shape.layers):
        rows = last if i == shape.layers - 1 else length
        y = functional.layer_norm(x, (d,), p[f"attend_gain.{i}"], p[f"attend_shift.{i}"])
        query, key, value = (y @ p[f"attend.{i}"]).chunk(3, dim=-1)
        query, key, value = (z.reshape(*z.shape[:-1], h, d // h).transpose(-3, -2) for z in (query, key, value))
        score = query[..., length - rows :, :] @ key.transpose(-1, -2) / (d // h) ** 0.5
        ahead = torch.ones(rows, length, dtype=torch.bool).triu(length - rows + 1)
        mixed = score.masked_fill(ahead, float("-inf")).softmax(dim=-1) @ value
        x = x[..., length - rows :, :] + mixed.transpose(-3, -2).flatten(-2) @ p[f"attend_out.{i}"]
        y = functional.layer_norm(x, (d,), p[f"think_gain.{i}"], p[f"think_shift.{i}"])
        x = x + functional.gelu(y @ p[f"think.{i}"] + p[f"think_bias.{i}"]) @ p[f"think_out.{i}"]
    x = functional.layer_norm(x, (d,), p["gain"], p["shift"])
    return x @ p["out"]
