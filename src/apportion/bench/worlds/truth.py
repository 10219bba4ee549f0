"""Advantages estimated from continuations, and how well credit agrees with them. An estimate, never exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...batch import Batch
from ...credit import Credit
from ...errors import OptionError
from ...evidence import Bill, Sampler
from ...words import Axis, Unit
from ..statistics import score_interval, studentised
from .marks import precision
from .walks import Bool, Float, Int


@dataclass(frozen=True, eq=False)
class Estimate:
    """The advantage of every unit of ``batch`` at ``level``: ``value`` (n,), its 95 % interval ``low``, ``high`` (n,).

    ``halves`` (2, n): estimates from either half of the continuations, independent of each other for each unit; their
    mean is ``value``. ``bill``: what the continuations cost, ``k`` from every prefix.
    """

    batch: Batch
    level: Unit
    value: Float
    low: Float
    high: Float
    halves: Float
    k: int
    bill: Bill


def estimate(batch: Batch, sampler: Sampler, k: int, rng: np.random.Generator, *, level: Unit = "turn") -> Estimate:
    """Monte-Carlo estimate of the advantage of every turn or step, from ``k`` continuations of every prefix.

        A = V(after) - V(before),   V = mean reward of k fresh continuations;   after the last unit, V is the reward

    This is Q - V of the policy where what a unit leads to is certain, as in these worlds; elsewhere it holds the luck
    of the world's answer too. Rewards must lie in [0, 1] and come at the end. Estimates of neighbouring units share a
    prefix, so their errors are correlated; those of one unit's two halves are independent.

    The interval is Newcombe's hybrid of two Wilson intervals (1998, method 10): for rewards of 0 and 1 it holds
    about 95 % of the time at any value, and it is cautious for others, which spread less than a coin.
    """
    if k < 2 or k % 2:
        raise OptionError(f"k = {k}: expected an even number of continuations, at least 2, for two halves")
    if level not in ("turn", "step"):
        raise OptionError(f"level = {level!r}: expected 'turn' or 'step'")
    fine = level == "step" and batch.step_offsets is not None
    axis: Axis = "step_prefix" if fine else "prefix"
    owner = batch.within(axis, "trajectory")
    last = np.append(owner[1:] != owner[:-1], True)
    asked = sampler.continuations(batch, np.flatnonzero(~last), k, rng, axis=axis)
    drawn = np.asarray(asked.values, dtype=np.float64)
    if drawn.shape != (int((~last).sum()), k) or not ((drawn >= 0) & (drawn <= 1)).all():
        raise OptionError(f"the sampler gave shape {drawn.shape}: expected ({int((~last).sum())}, {k}), all rewards from 0 to 1")
    halves: Float = np.empty((2, last.size))
    halves[:, last] = batch.reward[owner[last]]
    halves[:, ~last] = drawn.reshape(-1, 2, k // 2).mean(axis=2).T
    mean = halves.mean(axis=0)
    low, high = score_interval(mean, k)
    low[last] = high[last] = mean[last]
    before, after = ~last, np.append(False, ~last[:-1])  # a unit lies between two prefixes of one trajectory
    value = mean[after] - mean[before]
    down = np.hypot(mean[after] - low[after], high[before] - mean[before])
    up = np.hypot(high[after] - mean[after], mean[before] - low[before])
    return Estimate(batch, level, value, value - down, value + up, halves[:, after] - halves[:, before], k, asked.bill)


class Number(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Agreement(NamedTuple):
    """correlation, sign: see :func:`agreement`. precision: average precision at the marked units, and what
    chance gives. units, known: how many units were compared, and how many have a sign that is known. coverage: share of units the
    method has in its loss."""

    correlation: Number
    sign: Number
    precision: Number
    chance: float
    units: int
    known: int
    coverage: float


def agreement(credit: Credit, found: Estimate, marked: Bool, favours: int, *, resamples: int = 1000, seed: int = 0) -> Agreement:
    """How well credit agrees with estimated advantages, unit by unit, over all units that are in its loss.

    correlation: cov(c, (A1 + A2) / 2) / sqrt(var(c) cov(A1, A2)), with A1 and A2 the two halves: the errors of the
    estimate are independent between the halves and so leave the denominator, and what is estimated is the correlation
    with the advantage itself (Spearman's correction, on one side). Errors of the credit stay in. NaN where credit does
    not vary or the halves do not agree; not clipped, so it may come out a little beyond 1.
    sign: how often credit has the sign of the advantage where its interval leaves 0 out; a credit of 0 counts half.
    precision: of ``favours`` * credit at finding the ``marked`` units (bool, one per unit of the estimate): agreement with
    the world's own planner or checker, in which the estimate has no part.

    Intervals: the bootstrap standard error over the rollouts of each group, times Student's quantile at rollouts less
    groups; so they speak of these games and problems.
    """
    given, unit, row = _matched(credit, found)
    a1, a2 = found.halves[:, unit]
    mean, total = (a1 + a2) / 2, np.ones(unit.size)
    known = (found.low[unit] > 0) | (found.high[unit] < 0)
    agree = np.where(given == 0, 0.5, np.sign(given) == np.sign(found.value[unit])) * known
    sums = np.stack([total, given, given**2, a1, a2, a1 * a2, given * mean, agree, known.astype(np.float64)])
    n = found.batch.n_trajectories
    per = np.stack([np.bincount(row, weights=x, minlength=n) for x in sums])  # (9, N)
    group = found.batch.within("trajectory", "group")
    weight, groups = _resampled(group, resamples, np.random.default_rng(seed)), np.unique(group).size
    drawn = per @ weight.T
    positive = marked[unit]

    def number(value: float, samples: Float, low: float, high: float) -> Number:
        ends = studentised(value, samples, n / groups, freedom=max(n - groups, 1), within=(low, high))
        return Number(value, *ends)

    return Agreement(
        number(float(_correlation(per.sum(axis=1))), _correlation(drawn), -np.inf, np.inf),
        number(float(_share(per.sum(axis=1))), _share(drawn), 0.0, 1.0),
        number(*precision(favours * given, positive, row, weight), 0.0, 1.0),
        float(positive.mean()) if unit.size else float("nan"),
        int(unit.size), int(known.sum()), unit.size / found.value.size,
    )  # fmt: skip


def _matched(credit: Credit, found: Estimate) -> tuple[Float, Int, Int]:
    """Credit of the estimate's units that are in the loss, the index of each, and its trajectory; found by trajectory id."""
    batch, level = credit.batch, found.level
    home = {name: i for i, name in enumerate(found.batch.trajectory.to_list())}
    of = [home.get(name, -1) for name in batch.trajectory.to_list()]
    if max(of) < 0:
        raise OptionError("the credit and the estimate share no trajectory: expected credit for the same rollouts")
    owner = batch.within(level, "trajectory")
    kept = np.bincount(batch.within("token", level), weights=credit.kept, minlength=owner.size) > 0
    if credit.scored is not None and credit.level == level:
        kept &= credit.scored
    there, mine = found.batch.within(level, "trajectory"), np.asarray(of, dtype=np.int64)[owner]
    start = np.searchsorted(there, np.arange(len(home)))
    place = np.arange(owner.size) - np.searchsorted(owner, owner)
    units = np.bincount(mine[mine >= 0], minlength=len(home))
    if ((units > 0) & (units != np.bincount(there))).any():  # dropped rollouts are out of the loss, like other units
        raise OptionError(f"the credit's trajectories have other {level}s than the estimate's: expected the same rollouts")
    chosen = np.flatnonzero(kept & (mine >= 0))
    return credit.on(level)[chosen], start[mine[chosen]] + place[chosen], mine[chosen]


def _resampled(group: Int, count: int, rng: np.random.Generator) -> Float:
    """How often each trajectory is drawn, (count, N): with replacement within its group."""
    weight: Float = np.zeros((count, group.size))
    for g in np.unique(group):
        rows = np.flatnonzero(group == g)
        weight[:, rows] = rng.multinomial(rows.size, np.full(rows.size, 1 / rows.size), size=count)
    return weight


def _correlation(s: Float) -> Float:
    """From sums over units of 1, c, c², A1, A2, A1 A2, c (A1 + A2) / 2 along the first axis."""
    n = np.maximum(s[0], 1)
    c, a1, a2 = s[1] / n, s[3] / n, s[4] / n
    spread, signal = s[2] / n - c**2, s[5] / n - a1 * a2
    defined = (spread > 1e-12) & (signal > 1e-12)
    return np.where(defined, (s[6] / n - c * (a1 + a2) / 2) / np.sqrt(np.where(defined, spread * signal, 1.0)), np.nan)


def _share(s: Float) -> Float:
    return np.where(s[8] > 0, s[7] / np.maximum(s[8], 1e-12), np.nan)
