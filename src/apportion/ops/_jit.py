"""Numba, imported and compiled at the first call, so that importing apportion stays fast."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any


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
