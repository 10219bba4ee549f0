"""Segmented scans: sums and recursions that restart where a segment ends.

All take flat values plus offsets (segment i is ``values[offsets[i]:offsets[i + 1]]``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import frozen, jit

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def first_active(active: NDArray[np.bool_], offsets: Int) -> Int:
    """Index of the first active position of each segment (segments without one: that of a later one, or n)."""
    where = np.flatnonzero(active)
    found: Int = np.append(where, active.size)[np.searchsorted(where, offsets[:-1])]
    return found


def segment_sum(values: Float, offsets: Int) -> Float:
    """Sum of each segment, shape (segments,)."""
    owner = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    total: Float = np.bincount(owner, weights=values, minlength=offsets.size - 1).astype(np.float64)
    return total


def discounted_suffix(r: Float, offsets: Int, gamma: float = 1.0) -> Float:
    """G_t = r_t + gamma G_{t+1} within each segment (the return from t on), shape of ``r``."""
    out = np.empty(r.shape)
    _suffix(frozen(r), frozen(offsets), float(gamma), out)
    return out


@jit
def _suffix(r, offsets, gamma, out):  # type: ignore[no-untyped-def]
    for i in range(offsets.size - 1):
        carry = 0.0
        for t in range(offsets[i + 1] - 1, offsets[i] - 1, -1):
            carry = r[t] + gamma * carry
            out[t] = carry


def prefix_sum(values: Float, offsets: Int) -> Float:
    """C_t = sum of the values of the segment up to t, t included, shape of ``values``."""
    out = np.empty(values.shape)
    _prefix(frozen(values), frozen(offsets), out)
    return out


@jit
def _prefix(values, offsets, out):  # type: ignore[no-untyped-def]
    for i in range(offsets.size - 1):
        carry = 0.0
        for t in range(offsets[i], offsets[i + 1]):
            carry += values[t]
            out[t] = carry


def suffix_min(x: Float, active: NDArray[np.bool_], offsets: Int, last: Float) -> Float:
    """Least active value from each position on, and ``last`` (shape (segments,)) after the end; inf if none."""
    out = np.empty(x.shape)
    _suffix_min(frozen(x), frozen(active), frozen(offsets), frozen(last), out)
    return out


@jit
def _suffix_min(x, active, offsets, last, out):  # type: ignore[no-untyped-def]
    for i in range(offsets.size - 1):
        least = last[i]
        for t in range(offsets[i + 1] - 1, offsets[i] - 1, -1):
            if active[t] and x[t] < least:
                least = x[t]
            out[t] = least


def gae(r: Float, v: Float, active: NDArray[np.bool_], offsets: Int, gamma: float, lam: float, bootstrap: Float) -> Float:
    """Generalised advantage estimates over the active positions of each segment.

        delta_t = r_t + gamma V_{t+1} - V_t          A_t = delta_t + gamma lam A_{t+1}

    t + 1 is the next *active* position: inactive ones (observation tokens) are skipped, not
    decayed through, and get 0; what ``r`` and ``v`` hold there is of no effect. After the last active
    position V is ``bootstrap`` (shape (segments,)), the value of the state a truncated segment ends
    in, else 0.
    """
    return gae_and_returns(r, v, active, offsets, gamma, lam, bootstrap)[0]


def gae_and_returns(
    r: Float,
    v: Float,
    active: NDArray[np.bool_],
    offsets: Int,
    gamma: float,
    lam: float,
    bootstrap: Float,
    out: Float | None = None,
) -> tuple[Float, Float]:
    """The advantages of :func:`gae`, and the returns A_t + V_t a critic should regress on (0 where inactive).

    out: where the advantages go; it may be ``r`` itself. (At a million tokens fresh memory costs more
    than the arithmetic.)
    """
    out = np.empty(r.shape) if out is None else out
    returns = np.empty(r.shape)
    given = (frozen(r), frozen(v), frozen(active), frozen(offsets), float(gamma), float(lam), frozen(bootstrap))
    _gae(*given, out, returns)
    return out, returns


@jit
def _gae(r, v, active, offsets, gamma, lam, bootstrap, out, returns):  # type: ignore[no-untyped-def]
    def step(t, following, carry):  # type: ignore[no-untyped-def]
        on, here = active[t], v[t]
        advantage = r[t] + gamma * following - here + gamma * lam * carry
        out[t] = advantage if on else 0.0
        returns[t] = advantage + here if on else 0.0
        return (here, advantage) if on else (following, carry)

    one, n = np.uint64(1), offsets.size - 1  # unsigned: no test for an index from the end
    for i in range(0, n, 2):  # two segments at a time, because each step waits for the one before
        j = min(i + 1, n - 1)
        a, b, c = np.uint64(offsets[i]), np.uint64(offsets[i + 1]), np.uint64(offsets[j + 1])
        start, s, t = b, b, c
        following, carry, following_too, carry_too = bootstrap[i], 0.0, bootstrap[j], 0.0
        while s > a and t > start:
            s -= one
            t -= one
            following, carry = step(s, following, carry)  # type: ignore[no-untyped-call]
            following_too, carry_too = step(t, following_too, carry_too)  # type: ignore[no-untyped-call]
        while s > a:
            s -= one
            following, carry = step(s, following, carry)  # type: ignore[no-untyped-call]
        while t > start:
            t -= one
            following_too, carry_too = step(t, following_too, carry_too)  # type: ignore[no-untyped-call]


def gae_discounted(
    r: Float, v: Float, active: NDArray[np.bool_], offsets: Int, gamma: Float, lam: float, bootstrap: Float
) -> tuple[Float, Float]:
    """:func:`gae_and_returns` with a discount per position: gamma_t (shape of ``r``) stands between t and the next one.

    delta_t = r_t + gamma_t V_{t+1} - V_t          A_t = delta_t + gamma_t lam A_{t+1}
    """
    out, returns = np.empty(r.shape), np.empty(r.shape)
    given = (frozen(r), frozen(v), frozen(active), frozen(offsets), frozen(gamma), float(lam), frozen(bootstrap))
    _gae_discounted(*given, out, returns)
    return out, returns


@jit
def _gae_discounted(r, v, active, offsets, gamma, lam, bootstrap, out, returns):  # type: ignore[no-untyped-def]
    for i in range(offsets.size - 1):
        following, carry = bootstrap[i], 0.0
        for t in range(offsets[i + 1] - 1, offsets[i] - 1, -1):
            if not active[t]:
                out[t], returns[t] = 0.0, 0.0
                continue
            carry = r[t] + gamma[t] * following - v[t] + gamma[t] * lam * carry
            following = v[t]
            out[t], returns[t] = carry, carry + v[t]
