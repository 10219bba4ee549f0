"""What a token counted for, by a model's own insides: attention, gradient x input, integrated gradients.

No method of the registry asks for them. A judge of tokens is where one fits in (``adaptive_segment`` with
``rated="token"``, and every method whose judge scores steps or turns): :class:`HFAttribution` is such a judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ...structure import Float
from ...words import Axis, Provenance, check_word
from ..bill import Bill
from ..rubrics import Rubric
from ..sources import Asked
from . import checks
from .heads import HFHead, apply, tensors
from .packing import still, trunk_of
from .states import texts_of

How = Literal["attention", "gradient_input", "integrated"]


@dataclass(frozen=True, eq=False)
class HFAttribution:
    """Credits tokens with what a reward head on a language model made of them; see :class:`apportion.evidence.Judge`.

        attention        mean over heads of the last layer's attention from the last policy token, over the sum of it
        gradient_input   x_t . grad_t f(x)
        integrated       (x_t - x') . integral_0^1 grad_t f(x' + a (x - x')) da      sums to f(x) - f(x') over all tokens

    head: on a frozen trunk, read at the last policy token: f, before a sigmoid; the weights that have not seen the trajectory.
    x: input embeddings; x': the mean embedding of the vocabulary at every place. steps: of the Gauss-Legendre rule.
    Values are signed (attention: at least 0, policy tokens sum to 1), 0 on observations; those of a unit's policy tokens
    are added up. Attention weighs, it does not explain: it says nothing of the sign (Jain and Wallace 2019).

    Sources: Sundararajan et al. 2017 (arXiv 1703.01365); attention-based credit, Chan et al. 2024 (arXiv 2402.00782).
    """

    head: HFHead
    how: How = "integrated"
    steps: int = 32
    provenance: Provenance = "learned"

    def __post_init__(self) -> None:
        check_word(self.how, How, "how")
        if self.steps < 1:
            raise OptionError(f"steps = {self.steps}: expected at least 1")
        if self.head.model is None or any(n.startswith("trunk.") for n in self.head.rows[0]):
            raise OptionError("head: expected one on its model (.on(model)) whose trunk is frozen")
        if self.how == "attention" and self.head.model.config._attn_implementation != "eager":
            raise OptionError("attention weights are kept by attn_implementation='eager' only: load the model so")

    def score(self, batch: Batch, unit: Axis, rng: np.random.Generator, *, rubric: Rubric | None = None) -> Asked:
        """Sum of the attributions of each unit's policy tokens."""
        if rubric is not None:
            raise OptionError(f"rubric {rubric.name!r}: attributions follow none, ask a judge")
        model = self.head.model
        texts, starts = texts_of(model, batch), batch.offsets("trajectory")
        last, rows = batch.last_action("trajectory") - starts[:-1], self.head.row_of(batch)
        passes = {"attention": 0, "gradient_input": 1, "integrated": self.steps}[self.how]
        found = np.zeros(batch.n_tokens)
        for i, text in enumerate(texts):
            own = slice(starts[i], starts[i + 1])
            if self.how == "attention":
                said = np.where(batch.action[own], attention(model, text, int(last[i])), 0.0)
                found[own] = said / said.sum()
                continue
            row = tensors(self.head.rows[rows[i]], model.device)
            f = _Scalar(row, int(last[i]))
            said = integrated(model, text, f, self.steps) if self.how == "integrated" else gradient_input(model, text, f)
            found[own] = np.where(batch.action[own], said, 0.0)
        checks.finite(batch, found, np.arange(batch.n_tokens), "the attribution")
        values = np.bincount(batch.within("token", unit), weights=found, minlength=batch.count(unit))
        read = float(batch.n_tokens)
        return Asked(values, Bill(trained=read * passes) if passes else Bill(scored=read))


@dataclass(frozen=True, eq=False)
class _Scalar:
    """The head's output where the trajectory ends."""

    row: Any
    at: int

    def __call__(self, states: Any) -> Any:
        return apply(self.row, states[self.at : self.at + 1])[0]


def attention(model: Any, text: list[int], at: int) -> Float:
    """Mean over heads of the last layer's attention from token ``at``, (len(text),); it sums to 1."""
    import torch

    with torch.no_grad(), still(model):
        ids = torch.tensor([text], device=model.device)
        layers = trunk_of(model)(input_ids=ids, output_attentions=True, use_cache=False).attentions
    return np.asarray(layers[-1][0, :, at].mean(dim=0).float().cpu().numpy(), dtype=np.float64)


def gradient_input(model: Any, text: list[int], f: Callable[[Any], Any]) -> Float:
    """x . grad f(x) of every token; f takes the last hidden states (T, d)."""
    x = _embedded(model, text)
    return _dot(x, _gradient(model, x, f))


def integrated(model: Any, text: list[int], f: Callable[[Any], Any], steps: int) -> Float:
    """Integrated gradients of every token, from the mean embedding; f takes the last hidden states (T, d)."""
    x = _embedded(model, text)
    origin = model.get_input_embeddings().weight.detach().mean(dim=0)
    places, weights = np.polynomial.legendre.leggauss(steps)
    total: Any = 0.0
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        total = total + weight * _gradient(model, origin + place * (x - origin), f)
    return _dot(x - origin, total)


def value_of(model: Any, x: Any, f: Callable[[Any], Any]) -> Any:
    """f of the hidden states that input embeddings (T, d) lead to."""
    with still(model):
        return f(trunk_of(model)(inputs_embeds=x[None], use_cache=False).last_hidden_state[0].float())


def _embedded(model: Any, text: list[int]) -> Any:
    import torch

    return model.get_input_embeddings()(torch.tensor(text, device=model.device)).detach()


def _gradient(model: Any, x: Any, f: Callable[[Any], Any]) -> Any:
    import torch

    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(value_of(model, x, f), x)[0]


def _dot(x: Any, gradient: Any) -> Float:
    found: Float = (x.double() * gradient.double()).sum(dim=-1).cpu().numpy()
    return found
