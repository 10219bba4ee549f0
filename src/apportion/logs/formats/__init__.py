"""What a record of each kind of log says: one small module a format, each a function from record to rollouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..rollout import Rollout
from . import atif, chat, rows, verifiers


class Reader(NamedTuple):
    """fits: whether a record looks like this format. rollouts: its trajectories. what: the format in a few words."""

    fits: Callable[[Any], bool]
    rollouts: Callable[[Any], list[Rollout]]
    what: str


#: In the order they are tried.
READERS: dict[str, Reader] = {
    "verifiers": Reader(
        verifiers.fits, verifiers.rollouts, "verifiers Episode or Trace records (an object with 'traces' or 'nodes')"
    ),
    "atif": Reader(atif.fits, atif.rollouts, "ATIF trajectories (an object with 'schema_version', 'agent' and 'steps')"),
    "padded": Reader(rows.fits, rows.rollouts, "rows of token ids with a mask, or a (B, T) dump (.npz, .pt, .safetensors)"),
    "chat": Reader(
        chat.fits,
        chat.rollouts,
        "chats (lists of messages, or objects with 'messages', 'conversations', 'prompt' + 'completion', or 'input' + 'output')",
    ),
}


def recognise(record: Any) -> str | None:
    """The format a record looks like."""
    return next((name for name, reader in READERS.items() if reader.fits(record)), None)
