"""What may be spent at an endpoint, and what was."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from ...errors import OptionError


@dataclass(frozen=True)
class Limit:
    """What may be spent in the life of an :class:`Endpoint`; None is no limit. Answers from the cache cost nothing.

    calls: requests that were answered. tokens: read and written; a server that does not report them (``usage``) is refused
    at its first answer, since the limit could not be kept. Requests already on their way when a limit is reached are
    paid for: at most ``concurrency`` of them.
    """

    calls: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("calls", "tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"limit: {name} = {value}: expected at least 1, or None for no limit")


@dataclass
class Spent:
    """What was asked of the endpoint so far. uncounted: answers whose tokens the server did not say; they are not in the sums."""

    calls: int = 0
    read: int = 0
    written: int = 0
    cached: int = 0
    uncounted: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
