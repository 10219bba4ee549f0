"""What a trainer mode brings an estimator besides verl's three tensors, and what the estimator leaves for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from ...credit import Credit
from ..honours import Honours


@dataclass
class Brought:
    """Columns of one training batch; tensors are (B, T) and padded on the right.

    keys: ``{uid}_{session}_{index}`` per row. mask: the policy tokens before verl rejected any. scores:
    ``rm_scores``, rewards without the KL penalty. lengths: response tokens (B,). tokens: logp, ref_logp,
    value, ids, entropy, where verl has them. handed: what each row's agent loop handed over; collected:
    verl's own list of turn rewards per row, if asked for. credit, keep: left by the estimator.
    """

    keys: Sequence[str]
    mask: Any
    scores: Any
    lengths: Any
    honours: Honours
    tokens: Mapping[str, Any] = field(default_factory=dict)
    handed: Sequence[Any] = ()
    collected: Sequence[Any] | None = None
    kl_in_reward: bool = False
    limit: int | None = None
    step: int = 0
    credit: Credit | None = None
    keep: Any = None


#: Set by a trainer mode while verl computes advantages; verl itself passes an estimator three tensors only.
BROUGHT: ContextVar[Brought | None] = ContextVar("apportion_verl", default=None)
