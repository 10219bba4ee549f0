"""What stands in the units of a batch, in words, for a model to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from ...batch import Batch
from ...errors import MissingColumn
from ...words import Axis


def wording(batch: Batch, unit: Axis, decode: Callable[[Sequence[int]], str] | None = None) -> list[str]:
    """The text of every unit: of turns from ``batch.text``, of anything else from its token ids with ``decode``."""
    if decode is not None and batch.ids is not None:
        offsets, ids = batch.offsets(unit), batch.ids
        return [decode(ids[a:b].tolist()) for a, b in pairwise(offsets.tolist())]
    if batch.text is None:
        raise MissingColumn("a judge reads words: the batch has no text (Batch.from_messages keeps it), nor ids with decode=")
    turns = [text or "" for text in batch.text]
    if unit == "turn" or batch.count(unit) == batch.n_turns:
        return turns
    if unit in ("trajectory", "episode", "group"):
        owner = batch.within("turn", unit)
        return ["\n\n".join(turns[t] for t in np.flatnonzero(owner == i)) for i in range(batch.count(unit))]
    raise MissingColumn(f"a judge of {unit}s reads words finer than turns: give decode= (token ids -> text)")


def questions_of(batch: Batch) -> list[str]:
    """The task of each trajectory: its messages before the first of the policy, where the batch holds chats."""
    kept = batch.meta.get("messages")
    if kept is None:
        return [""] * batch.n_trajectories
    from ...edges.messages import is_action, to_messages

    found = []
    for chat in to_messages(batch):
        first = next(i for i, message in enumerate(chat) if is_action(message))
        found.append("\n\n".join(str(message.get("content") or "") for message in chat[:first]))
    return found
