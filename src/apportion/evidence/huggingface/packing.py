"""Many texts in few forward passes: one behind the other in one row, where the model keeps them apart.

Packed, texts need no padding, and logits are made at the places that are asked about only. transformers tells packed
texts apart by their positions, which start again at 0, and lets none attend to another (a block-diagonal mask, or the
kernels for varying lengths of flash attention). Whether a model does so is tried once on texts of a few tokens;
models that do not (older releases, no ``position_ids``, recurrent state) read texts of like length with padding.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

Texts = Sequence[Sequence[int]]


def bins(lengths: Sequence[int], most: int, *, packed: bool = True) -> list[list[int]]:
    """Indices in batches of at most ``most`` tokens, the padding counted unless ``packed`` (a longer text goes alone)."""
    made: list[list[int]] = []
    total = 0
    for i in sorted((i for i, n in enumerate(lengths) if n), key=lambda i: lengths[i]):
        total = total + lengths[i] if packed else lengths[i] * (len(made[-1]) + 1 if made else 1)
        if not made or total > most:
            made.append([])
            total = lengths[i]
        made[-1].append(i)
    return made


def room(model: Any, most: int | None) -> int:
    """Tokens of one batch: what was asked for, else what keeps a processor's caches (1,024) or an accelerator (16,384) busy."""
    return most if most is not None else 1024 if model.device.type == "cpu" else 16384


@contextmanager
def still(model: Any) -> Iterator[None]:
    """No dropout meanwhile; afterwards the model is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def logits(model: Any, texts: Texts, wanted: Sequence[Sequence[int]]) -> Any:
    """Logits (n, V) after the wanted tokens of each text, in order, as float32."""
    import torch

    if not packs(model):
        ids, mask = _padded(model, texts)
        row = torch.tensor([i for i, some in enumerate(wanted) for _ in some], device=model.device)
        at = torch.tensor([t for some in wanted for t in some], device=model.device)
        return model(input_ids=ids, attention_mask=mask, use_cache=False).logits[row, at].float()
    ids, position, starts = _flat(model, texts)
    place = torch.tensor([s + t for s, some in zip(starts, wanted, strict=True) for t in some], device=model.device)
    keep = {"logits_to_keep": place} if "logits_to_keep" in _takes(model) else {}
    found = model(input_ids=ids, position_ids=position, use_cache=False, **keep).logits[0]
    return (found if keep else found[place]).float()


def hidden(trunk: Any, texts: Texts, packed: bool, weights: Any = None) -> Any:
    """Last hidden state (n, width) after every token of all texts, in order, as float32; ``weights`` in place of its own."""
    from torch.func import functional_call

    if packed:
        ids, position, _ = _flat(trunk, texts)
        given = {"input_ids": ids, "position_ids": position, "use_cache": False}
    else:
        ids, mask = _padded(trunk, texts)
        given = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    out = trunk(**given) if weights is None else functional_call(trunk, weights, (), given)
    found = out.last_hidden_state
    return (found[0] if packed else found[mask.bool()]).float()


def trunk_of(model: Any) -> Any:
    """The model without its head; adapters (PEFT) stay where they are."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner.base_model


#: What was found out about the models that are still in use.
_PACKS: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def packs(model: Any) -> bool:
    """Whether texts in one row, told apart by their positions, are as good as alone."""
    if model not in _PACKS:
        _PACKS[model] = "position_ids" in _takes(model) and _tried(model)
    return _PACKS[model]


def _tried(model: Any) -> bool:
    import torch

    size = model.get_input_embeddings().num_embeddings
    one, other, asked = ([(k * i + 1) % size for i in range(n)] for k, n in ((1, 5), (2, 5), (3, 4)))
    with torch.no_grad(), still(model):
        seen = []
        for before in (one, other):
            ids, position, _ = _flat(model, [before, asked])
            seen.append(model(input_ids=ids, position_ids=position, use_cache=False).logits[0, len(before) :].float())
        alone = model(input_ids=torch.tensor([asked], device=model.device), use_cache=False).logits[0].float()
    near = 1e-4 if model.dtype == torch.float32 else 3e-2
    # what stands before may not be seen at all, not even a little
    return bool(torch.equal(*seen) and torch.allclose(seen[0], alone, rtol=near, atol=near * float(alone.abs().max())))


def _takes(model: Any) -> set[str]:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return set(inspect.signature(inner.forward).parameters)


def _flat(model: Any, texts: Texts) -> tuple[Any, Any, list[int]]:
    import torch

    ids = torch.tensor([[t for text in texts for t in text]], device=model.device)
    position = torch.tensor([[p for text in texts for p in range(len(text))]], device=model.device)
    starts, total = [], 0
    for text in texts:
        starts.append(total)
        total += len(text)
    return ids, position, starts


def _padded(model: Any, texts: Texts) -> tuple[Any, Any]:
    import torch

    width = max(len(t) for t in texts)
    ids = torch.tensor([[*t, *[0] * (width - len(t))] for t in texts], device=model.device)
    mask = torch.tensor([[1] * len(t) + [0] * (width - len(t)) for t in texts], device=model.device)
    return ids, mask
