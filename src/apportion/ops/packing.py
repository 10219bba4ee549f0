"""Padded to packed and back in one pass each: ``at`` holds the flat place of every packed token."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import jit

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


def runs(mask: Bool) -> tuple[Int, Int]:
    """First True and the length from it to the last one, of each row of a (rows, n) mask that has one."""
    first = mask.argmax(axis=1)
    return first, mask.shape[1] - mask[:, ::-1].argmax(axis=1) - first


def pack(padded: NDArray[Any], at: Int, action: Bool, low: float, high: float) -> tuple[Float, int]:
    """padded.flat[at] as float64, and the first packed token whose number is not usable (-1: none).

    Off the action mask a number that is not finite, or outside [low, high], becomes 0; on it only
    one that is not finite is unusable (its bounds are the batch's to check).
    """
    flat = padded.ravel()
    if flat.dtype not in (np.float32, np.float64):
        flat = flat.astype(np.float64)
    out = np.empty(at.size)
    return out, int(_pack(flat, at, action, low, high, out))


@jit
def _pack(flat, at, action, low, high, out):  # type: ignore[no-untyped-def]
    bad = -1
    for i in range(at.size):
        x = np.float64(flat[np.uint64(at[i])])
        if action[i]:
            if not np.isfinite(x) and bad < 0:
                bad = i
        elif not (np.isfinite(x) and low <= x <= high):
            x = 0.0
        out[i] = x
    return bad


def unpack(values: NDArray[Any], at: Int, action: Bool, out: NDArray[Any]) -> None:
    """out[at] = values where ``action``, else 0; the rest of ``out`` stays."""
    _unpack(values, at, action, out)


@jit
def _unpack(values, at, action, out):  # type: ignore[no-untyped-def]
    for i in range(at.size):
        out[np.uint64(at[i])] = values[i] if action[i] else 0
