"""One trajectory as a format reads it, before anything is decided about rewards, groups or tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..edges.messages import is_action
from ..errors import BatchError
from ..structure import Bool, Float, Int

Message = Mapping[str, Any]

#: Log-probabilities may lie this far above 0 (rounding), as in a batch.
_ABOVE = 1e-3


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of one turn: ids, which of them the policy wrote, and their log-probabilities (0 elsewhere)."""

    ids: Int
    action: Bool
    logp: Float | None = None


@dataclass(frozen=True, eq=False)
class Rollout:
    """A trajectory: chat messages, tokens per turn, or both, and what else its record says.

    facts: key -> value, where rewards, groups and names are looked for. notes: what the format had
    to assume of this one trajectory, in words that are counted over the log. label: tells several
    trajectories of one record apart. row: columns that are tensors' rows, one value per token.
    """

    facts: Mapping[str, Any]
    messages: Sequence[Message] | None = None
    tokens: Sequence[Tokens] | None = None
    notes: tuple[str, ...] = ()
    label: str = ""

    @property
    def n_turns(self) -> int:
        if self.tokens is not None:
            return len(self.tokens)
        return sum(is_action(m) for m in self.messages or ())

    @property
    def has_logp(self) -> bool:
        return self.tokens is not None and all(t.logp is not None for t in self.tokens)


@dataclass
class Notes:
    """Sentences a format gathers while it reads one trajectory; each counts once."""

    said: list[str] = field(default_factory=list)

    def __call__(self, sentence: str) -> None:
        if sentence not in self.said:
            self.said.append(sentence)

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(self.said)


def int_list(name: str, value: Any) -> Int:
    """Token ids: whole numbers of at least 0."""
    array = np.asarray(value)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise BatchError(f"{name}: expected a list of token ids, got {_what(value)}")
    if array.size and int(array.min()) < 0:
        raise BatchError(f"{name}[{int(array.argmin())}] = {array.min()}: a token id is at least 0")
    return array.astype(np.int64)


def mask_list(name: str, value: Any, n: int) -> Bool:
    """A mask of 0 and 1 over ``n`` tokens."""
    array = np.asarray(value)
    if array.shape != (n,):
        raise BatchError(f"{name} has {array.size} entries, but there are {n} tokens")
    mask: Bool = array != 0
    if array.dtype.kind not in "biuf" or ((array == 1) != mask).any():
        raise BatchError(f"{name}: a mask holds 0 and 1 only")
    return mask


def logp_list(name: str, value: Any, n: int) -> Float:
    """Log-probabilities of the ``n`` tokens the policy wrote: finite, at most 0."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise BatchError(f"{name}: expected a list of numbers, got {_what(value)}") from None
    if array.shape != (n,):
        raise BatchError(f"{name} has {array.size} entries, but the policy wrote {n} tokens")
    bad = ~np.isfinite(array) | (array > _ABOVE)
    if bad.any():
        i = int(np.argmax(bad))
        raise BatchError(f"{name}[{i}] = {array[i]}: expected a finite log-probability, at most 0")
    return array


def _what(value: Any) -> str:
    return f"a list that holds {type(value[0]).__name__}" if isinstance(value, list) and value else type(value).__name__
