"""What a model cannot read, refused before any work: by trajectory, token and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ..sources import Array

#: What chats are split into where no tokenizer was given (``edges.messages``).
_WORDS = "words, ids by hash (apportion)"


def token_ids(model: Any, batch: Batch, tokenizer: Any = None) -> Array:
    """The batch's token ids, if the model has an embedding for each and its own tokenizer may have made them."""
    ids: Array = batch.need("ids", "for a language model to read")
    made_by = batch.meta.get("tokenizer")
    if made_by == _WORDS:
        raise OptionError(
            "the batch's ids are hashes of words, made because no tokenizer was given: "
            "Batch.from_messages(..., tokenizer=...) with the model's own"
        )
    size = model.get_input_embeddings().num_embeddings
    wrong = (ids < 0) | (ids >= size)
    if wrong.any():
        t = int(np.argmax(wrong))
        raise OptionError(
            f"{_place(batch, t)}: id {int(ids[t])}, but {type(model).__name__} knows 0 to {size - 1}: "
            f"were the ids made by another model's tokenizer?"
        )
    name = getattr(tokenizer, "name_or_path", None)
    if made_by and name and made_by != name and not _comes_back(batch, tokenizer):
        raise OptionError(
            f"the batch's ids were made by the tokenizer {made_by!r}; by the given one ({name!r}) they read otherwise: "
            "give the tokenizer they were made by, with its model"
        )
    return ids


def _comes_back(batch: Batch, tokenizer: Any) -> bool:
    """Whether the ids of the first turn with a text spell the end of that text (or cannot be asked)."""
    if batch.text is None or not hasattr(tokenizer, "decode"):
        return True
    for turn, text in enumerate(batch.text):
        if text and text.strip():
            own = batch.need("ids")[batch.turn_offsets[turn] : batch.turn_offsets[turn + 1]]
            said, end = (_letters(s) for s in (tokenizer.decode(own.tolist()), text.rpartition(": ")[2]))
            return end[-40:] in said
    return True


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def positions(model: Any) -> int | None:
    """How many tokens the model can tell the places of; None where its configuration names no end."""
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    found: int | None = getattr(config, "max_position_embeddings", None)
    return found


def texts(model: Any, given: Sequence[Sequence[int]], what: str) -> None:
    """Refuse texts the model has no positions for (``what`` names one: "trajectory"), and ids it has no embedding for."""
    most, size = positions(model), model.get_input_embeddings().num_embeddings
    for i, text in enumerate(given):
        if most is not None and len(text) > most:
            raise OptionError(f"{what} {i} has {len(text)} tokens, {type(model).__name__} has positions for {most}: shorten it")
        if len(text) and not 0 <= min(text) <= max(text) < size:
            wrong = next(t for t in text if not 0 <= t < size)
            raise OptionError(f"{what} {i} holds id {wrong}, but {type(model).__name__} knows 0 to {size - 1}")


def opened(batch: Batch, tokens: Array) -> None:
    """Refuse where something is asked of a trajectory's first token that only what stands before it could tell."""
    starts = batch.offsets("trajectory")[:-1]
    bare = np.intersect1d(tokens, starts)
    if bare.size:
        raise OptionError(
            f"{_place(batch, int(bare[0]))}: no token stands before it, so the model has nothing to go by: "
            f"a batch for a language model begins with its prompt or a start token (action False)"
        )


def finite(batch: Batch, values: Array, tokens: Array, what: str) -> None:
    """Refuse what a broken model answers, at the first of the ``tokens`` the values are about."""
    wrong = ~np.isfinite(values)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise OptionError(
            f"{_place(batch, int(tokens[i]))}: {what} is {values[i]}: the model's logits are broken there "
            f"(overflow in half precision, or weights that are not finite)"
        )


def _place(batch: Batch, token: int) -> str:
    i = int(batch.within("token", "trajectory")[token])
    at = token - int(batch.offsets("trajectory")[i])
    return f"trajectory {i} ({batch.trajectory.to_list()[i]!r}), token {at}"
