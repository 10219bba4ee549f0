"""(B, T) tensors in, (B, T) tensors out."""

from __future__ import annotations

from typing import Any

from ..batch import Batch
from ..structure import Float, Int


class Layout:
    def take(self, batch: Batch, rows: Int, tokens: Int) -> Layout:
        raise NotImplementedError


def from_padded(**tensors: Any) -> Batch:
    raise NotImplementedError


def to_padded(batch: Batch, values: Float) -> Any:
    raise NotImplementedError
