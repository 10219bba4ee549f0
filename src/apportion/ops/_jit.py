"""Numba, imported and compiled at the first call, so that importing apportion stays fast."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import numpy as np
from numpy.typing import NDArray


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first use: float64 carries, no fast-math, cached on disk."""
    compiled: Callable[..., Any] | None = None

    def call(*args: Any) -> Any:
        nonlocal compiled
        if compiled is None:
            import numba

            compiled = numba.njit(cache=True, nogil=True)(function)
        return compiled(*args)

    return update_wrapper(call, function)


def frozen(x: NDArray[Any]) -> NDArray[Any]:
    """A contiguous read-only view, float64 if x holds floats: one type, so one compilation."""
    view: NDArray[Any] = np.ascontiguousarray(x, dtype=np.float64 if x.dtype.kind == "f" else None).view()
    view.setflags(write=False)
    return view
