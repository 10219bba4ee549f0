"""Where each packed token sits in the trainer's (B, T)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..batch import Batch
from ..errors import BatchError
from ..ops.packing import unpack
from ..structure import Int
from .tensors import Array, Home, give_back


@dataclass(frozen=True, eq=False)
class Layout:
    """The way back from packed tokens to (B, T).

    at: for each packed token its place in the flattened (B, T). rows: for each packed row its row
    in (B, T). source: for each row of (B, T) the row of the trainer's tensors it came from; the
    identity until rows were taken, then ``data[batch.layout.source]`` lines up with the credit.
    """

    shape: tuple[int, int]
    at: Int
    rows: Int
    source: Int
    home: Home = Home()

    def take(self, batch: Batch, rows: Int, tokens: Int) -> Layout:
        """The layout of ``batch.take(rows)``: one row of (len(rows), T) per row taken, in that order."""
        width = self.shape[1]
        size = np.diff(batch.offsets("row"))[rows]
        new = np.arange(rows.size, dtype=np.int64)
        at = np.repeat(new * width, size) + self.at[tokens] % width
        return Layout((rows.size, width), at, new, self.source[self.rows[rows]], self.home)


def plain_layout(batch: Batch) -> Layout:
    """Right-padded float64 numpy, a row per row: for batches that never were padded."""
    start = batch.offsets("row")
    size = np.diff(start)
    width = int(size.max())
    rows = np.arange(size.size, dtype=np.int64)
    at = np.arange(batch.n_tokens, dtype=np.int64) + np.repeat(rows * width - start[:-1], size)
    return Layout((rows.size, width), at, rows, rows)


def to_padded(batch: Batch, values: Array, *, everywhere: bool = False) -> Any:
    """One value per token, shape (n_tokens,), as the (B, T) the batch was made from.

    Floats come in the trainer's dtype, masks as booleans, integers as int64; library and device
    are the trainer's. Zero outside action tokens; ``everywhere`` keeps what stands on observation
    tokens (token ids, say). A batch that was not padded comes right-padded, in float64.
    """
    values = np.asarray(values)
    if values.shape != (batch.n_tokens,):
        raise BatchError(f"values have shape {values.shape}, expected ({batch.n_tokens},): one per token")
    layout = batch.layout if batch.layout is not None else plain_layout(batch)
    narrow = values.dtype == np.float64 and layout.home.dtype == "float32"  # the trainer's dtype, without a second pass
    padded = np.zeros(layout.shape[0] * layout.shape[1], dtype=np.float32 if narrow else values.dtype)
    if everywhere:
        padded[layout.at] = values
    else:
        unpack(values, layout.at, batch.action, padded)
    return give_back(padded.reshape(layout.shape), layout.home)
