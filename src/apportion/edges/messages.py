"""Chats with tool calls in; see the issue of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..batch import Batch


def from_messages(conversations: Sequence[Any], **columns: Any) -> Batch:
    raise NotImplementedError
