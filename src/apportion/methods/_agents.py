"""Who acted: what the methods for teams share."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..errors import BatchError
from ..structure import Int


def agents(batch: Batch, method: str) -> Int:
    """Agent of every trajectory as a code from 0, shape (N,); one without a name is refused."""
    codes = batch.need("agent", f"for {method}").codes
    if (codes < 0).any():
        i = int(np.argmax(codes < 0))
        raise BatchError(f"agent[{i}] is null: {method} must know who acted; name the agent of every trajectory")
    return np.asarray(codes, dtype=np.int64)


def cells(*codes: Int) -> Int:
    """Number, from 0, of each distinct combination of codes."""
    joint = np.zeros(codes[0].size, dtype=np.int64)
    for code in codes:
        joint = np.unique(joint * (int(code.max(initial=0)) + 1) + code, return_inverse=True)[1]
    return joint
