"""Limited-memory BFGS: the minimum of a smooth function, arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def minimise(
    function: Callable[[Float], tuple[float, Float]], x: Float, *, steps: int, memory: int = 8, tolerance: float = 1e-6
) -> Float:
    """Where ``function`` (value and gradient at a point) is least, from ``x``, in at most ``steps`` steps.

    Nocedal's two loops over the last ``memory`` changes, and halving of the step until the value
    falls by a ten-thousandth of what the slope promises. Pairs without positive curvature are left
    out. Stops where the largest part of the gradient is below ``tolerance``, or no step helps.
    """
    x = np.array(x, dtype=np.float64)
    value, g = function(x)
    pairs: list[tuple[Float, Float, float]] = []
    for _ in range(steps):
        if np.abs(g).max(initial=0.0) < tolerance:
            break
        direction = -_inverse_times(g, pairs)
        slope = float(g @ direction)
        length = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(g).max()))
        for _ in range(30):
            new_value, new_g = function(x + length * direction)
            if new_value <= value + 1e-4 * length * slope:
                break
            length /= 2
        else:
            break
        step, change = length * direction, new_g - g
        curvature = float(step @ change)
        if curvature > 1e-12:
            pairs = [*pairs[1 - memory :], (step, change, 1.0 / curvature)]
        x, value, g = x + step, new_value, new_g
    return x


def _inverse_times(g: Float, pairs: list[tuple[Float, Float, float]]) -> Float:
    """The inverse Hessian that the pairs of (step, change of gradient) suggest, times ``g``."""
    q: Float = g.copy()
    factors: list[float] = []
    for step, change, rho in reversed(pairs):
        factors.append(rho * float(step @ q))
        q = q - factors[-1] * change
    if pairs:
        step, change, rho = pairs[-1]
        q = q / (rho * float(change @ change))
    for (step, change, rho), a in zip(pairs, reversed(factors), strict=True):
        q = q + (a - rho * float(change @ q)) * step
    return q
