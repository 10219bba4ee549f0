"""Group statistics: over what, counting what once, which spread, and what a group of one gets.

Half of all differences between papers and their code live in these four choices, so each is an
argument here and none is implied.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import BatchError
from ..words import Single, Spread, SpreadOver, check_word
from ._jit import frozen, jit

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Baseline = Literal["mean", "leave_one_out", "none"]


def firsts(owner: Int) -> NDArray[np.bool_]:
    """True at the first item of each owner: a mask that counts every owner once."""
    seen = np.zeros(owner.size, dtype=np.bool_)
    seen[np.unique(owner, return_index=True)[1]] = True
    return seen


def group_mean(x: Float, over: Int, counted: NDArray[np.bool_] | None = None) -> tuple[Float, Float]:
    """Mean and size of each group of ``over`` (shape (groups,)), from the counted items only."""
    n = int(over.max()) + 1
    if counted is not None:
        x, over = x[counted], over[counted]
    size = np.bincount(over, minlength=n).astype(np.float64)
    return np.bincount(over, weights=x, minlength=n) / np.maximum(size, 1), size


def level_mean(x: Float, over: Int) -> Float:
    """Mean of each group of ``over``, shape (groups,): exactly their value where all members are equal.

    Measured from the first member, so that groups of other sizes do not differ by the rounding of a sum.
    """
    first = np.zeros(int(over.max()) + 1)
    first[over[::-1]] = x[::-1]
    return first + group_mean(x - first[over], over)[0]


def standardise(
    x: Float,
    over: Int,
    *,
    baseline: Baseline = "mean",
    spread: Spread = "none",
    spread_over: SpreadOver = "group",
    eps: float = 1e-6,
    counted: NDArray[np.bool_] | None = None,
    single: Single = "error",
    what: str = "group",
) -> Float:
    """(x - baseline) / (spread + eps), per group.

    x, over: shape (n,), one value and one group index (0..groups-1) per item.
    baseline: the group mean, the mean of the *other* members, or nothing.
    spread: none, sample (ddof 1) or population (ddof 0) standard deviation.
    spread_over: the "group"; the "batch", one spread of all values about their common mean; or the
    "centred_batch", one spread of all x - baseline about 0.
    counted: which items enter the statistics (default all); every item is transformed. An item
    that is not counted is taken for a copy of a counted one (another row of its trajectory).
    single: a group with one counted member raises, keeps its own value ("raw": mean 0, spread 1)
    or gets 0; of no interest where no statistic is used. Its own value is divided by the batch's
    spread, where that is asked for. A group whose counted values are all equal, or differ by a few roundings
    of their own size only (0.1 + 0.2 and 0.3), has spread 0 exactly, and its members get 0 even with eps = 0.
    """
    check_word(baseline, Baseline, "baseline")
    check_word(spread, Spread, "spread")
    check_word(single, Single, "single")
    check_word(spread_over, SpreadOver, "spread_over")
    x = np.asarray(x, dtype=np.float64)
    if baseline == "none" and spread == "none":
        return np.array(x)
    mean, size = group_mean(x, over, counted)
    lone = size == 1
    if single == "error" and lone.any():
        g = int(np.argmax(lone))
        i = int(np.argmax(over == g))
        raise BatchError(
            f"{what} {g} has a single member (item {i}), so no baseline can be made: "
            f"sample at least two, or choose single='raw' or single='zero'"
        )
    centred = x - mean[over] if baseline != "none" else x.copy()
    if baseline == "leave_one_out":
        centred *= (size / np.maximum(size - 1, 1))[over]
    constant, level = _constant(x, over, counted, mean.size)
    if baseline != "none":
        centred[constant[over]] = np.where(lone[over], 0.0, _from(x, level, over))[constant[over]]
    alone = 1.0  # what a lone member's own value is divided by
    if spread != "none" and spread_over == "group":
        divisor = group_spread(x, over, ddof=1 if spread == "sample" else 0, counted=counted) + eps
        centred /= np.where(lone | (divisor == 0), 1.0, divisor)[over]
        alone += eps
    elif spread != "none":
        values = (x if spread_over == "batch" else centred)[slice(None) if counted is None else counted]
        alone = _batch_spread(values, spread, about_mean=spread_over == "batch") + eps or 1.0
        centred /= alone
    if lone.any():
        centred = np.where(lone[over], x / alone if single == "raw" else 0.0, centred)
    return centred


def _batch_spread(x: Float, spread: Spread, *, about_mean: bool) -> float:
    """One standard deviation of all values, about their mean or about 0; exactly 0 where they are all equal (all 0)."""
    if about_mean:
        return float(group_spread(x, np.zeros(x.size, dtype=np.int64), ddof=1 if spread == "sample" else 0)[0])
    return float(np.sqrt(np.square(x).sum() / max(x.size - (spread == "sample"), 1)))


def group_spread(x: Float, over: Int, *, ddof: int, counted: NDArray[np.bool_] | None = None) -> Float:
    """Standard deviation of each group; exactly 0 where all counted values are equal but for rounding."""
    mean, size = group_mean(x, over, counted)
    deviation = (x - mean[over]) ** 2
    total, _ = group_mean(deviation, over, counted)
    sd: Float = np.sqrt(total * size / np.maximum(size - ddof, 1))
    sd[_constant(x, over, counted, mean.size)[0]] = 0.0
    return sd


def _constant(x: Float, over: Int, counted: NDArray[np.bool_] | None, n: int) -> tuple[NDArray[np.bool_], Float]:
    """Groups whose counted values are all equal but for rounding, and the least value of each (0: none counted)."""
    if counted is not None:
        x, over = x[counted], over[counted]
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, over, x)
    np.maximum.at(high, over, x)
    empty = low > high
    low[empty], high[empty] = 0.0, 0.0
    equal: NDArray[np.bool_] = high - low <= _ROUNDING * np.maximum(np.abs(low), np.abs(high))
    return equal, low


#: Values this close, relative to their size, are sums of the same numbers in another order.
_ROUNDING = 4 * float(np.finfo(np.float64).eps)


def _from(x: Float, level: Float, over: Int) -> Float:
    """x - level, without rounding: a mean of many equal values differs from them."""
    difference = x - level[over]
    return np.where(np.abs(difference) <= _ROUNDING * np.abs(x), 0.0, difference)


def whiten(
    x: Float,
    active: NDArray[np.bool_],
    *,
    spread: Spread = "sample",
    eps: float = 1e-8,
    clamp: bool = False,
    out: Float | None = None,
) -> Float:
    """(x - mean) / sqrt(var + eps) over the active items; inactive ones get 0.

    x, active: shape (n,). spread: sample (ddof 1, verl) or population (ddof 0, OpenRLHF). clamp:
    divide by sqrt(max(var, eps)) instead (OpenRLHF). One item has no variance, equal items no
    deviation: both give 0. out: where the result goes; it may be ``x`` itself.
    """
    if spread == "none":
        raise ValueError("spread = 'none': whitening needs 'sample' or 'population'")
    out = np.array(x, dtype=np.float64) if out is None else out
    if out is not x:
        np.copyto(out, x)
    n, mean, square = _moments(frozen(out), frozen(active))
    if n < 2 or square == 0:
        out[:] = 0.0
        return out
    variance = square / (n - 1 if spread == "sample" else n)
    _scale(out, frozen(active), mean, float(np.sqrt(max(variance, eps) if clamp else variance + eps)))
    return out


@jit
def _moments(x, active):  # type: ignore[no-untyped-def]
    """Count, mean and summed squared deviation of the active items; the last is 0 only if all are equal.

    Block by block, each about a value of its own, the blocks joined as Chan et al. (1983) do: no
    cancellation. Four sums at a time, because one would wait for itself.
    """
    n, origin, mean, square = 0, 0.0, 0.0, 0.0  # mean: from origin, the first active value
    for begin in range(0, x.size, 1024):
        end = min(begin + 1024, x.size)
        first = begin
        while first < end and not active[first]:
            first += 1
        if first == end:
            continue
        shift = x[first]
        origin = shift if n == 0 else origin
        some = 0
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        aa, bb, cc, dd = 0.0, 0.0, 0.0, 0.0
        last = first + (end - first) // 4 * 4
        for k in range(first, last, 4):
            s, t, u, v = np.uint64(k), np.uint64(k + 1), np.uint64(k + 2), np.uint64(k + 3)  # unsigned: no test for k < 0
            e = x[s] - shift if active[s] else 0.0
            f = x[t] - shift if active[t] else 0.0
            g = x[u] - shift if active[u] else 0.0
            h = x[v] - shift if active[v] else 0.0
            some += active[s] + active[t] + active[u] + active[v]
            a, b, c, d = a + e, b + f, c + g, d + h
            aa, bb, cc, dd = aa + e * e, bb + f * f, cc + g * g, dd + h * h
        for k in range(last, end):
            if active[k]:
                some += 1
                a += x[k] - shift
                aa += (x[k] - shift) ** 2
        total = (a + b) + (c + d)
        apart = shift - origin + total / some - mean
        square += (aa + bb) + (cc + dd) - total * total / some + apart * apart * n * some / (n + some)
        mean += apart * some / (n + some)
        n += some
    return n, origin + mean, square


@jit
def _scale(x, active, mean, divisor):  # type: ignore[no-untyped-def]
    for t in range(x.size):
        scaled = (x[t] - mean) / divisor
        x[t] = scaled if active[t] else 0.0
