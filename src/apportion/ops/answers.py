"""What k answers to each of n questions come to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError

Float = NDArray[np.float64]


def mean_answer(values: NDArray[Any], n: int, k: int) -> Float:
    """Mean of the answers that came back to each question, shape (n,); NaN where none did.

    values: (n, k), NaN where nothing came back; another shape is refused.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (n, k):
        raise OptionError(f"the sampler answered with shape {values.shape}, expected ({n}, {k}): one row a prefix")
    back = np.isfinite(values)
    count = back.sum(axis=1)
    total = np.where(back, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
