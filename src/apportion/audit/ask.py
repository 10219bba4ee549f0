"""The questions of an audit: the value before each unit and after it, in two halves that know nothing of each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from ..batch import Batch
from ..bench.tabular import Float, Int
from ..errors import BenchError
from ..evidence import Asked, Bill, Sampler
from ..evidence.critic import final_value
from ..words import Axis, Unit
from .design import Design

#: Units asked about in one call of the sampler: enough to be batched, few enough for a bar to move.
TOGETHER = 64

Measured = Literal["advantage", "change"]


@runtime_checkable
class Retaker(Protocol):
    """A sampler that can also take a unit's action again and let the world answer anew; ask ``isinstance(s, Retaker)``."""

    def after_action(self, batch: Batch, units: Int, k: int, rng: np.random.Generator, *, level: Unit) -> Asked:
        """Reward that ``k`` continuations earn from each unit's action on, its own reward included, (len(units), k).

        The state before the unit is had again, its action is taken as it was, all dice after it are fresh.
        """
        ...


@dataclass(frozen=True, eq=False)
class Changes:
    """The change in value at each unit of the design, as either half saw it.

    halves (2, n): independent given the unit, since no continuation is used twice, neither by the other half nor by a
    neighbouring unit. before (2, n): the values before the units. draw: standard deviation of one continuation.
    measured: "advantage", Q - V, where the action was taken again; "change", reward + V after - V before, else.
    lost: units left out because nothing came back for them.
    """

    design: Design
    halves: Float
    before: Float
    draw: float
    measured: Measured
    lost: int
    bill: Bill

    @property
    def replica(self) -> float:
        """Replica noise floor: standard deviation of a half's value at a prefix, from the same prefix asked twice."""
        return float(np.sqrt(((self.before[0] - self.before[1]) ** 2).mean() / 2))

    @property
    def expected(self) -> float:
        """What the replica noise would be if continuations of one call were as independent as those of two."""
        return self.draw / float(np.sqrt(self.design.each))


def ask(
    batch: Batch, sampler: Sampler, design: Design, rng: np.random.Generator, watch: Callable[[int, int], None] | None = None
) -> Changes:
    """Ask the sampler about every unit of the design: twice ``each`` continuations before it, twice after it.

    The halves are separate calls with generators of their own. Fresh continuations stand on both sides of every unit,
    although the prefix after one unit is that before the next: shared ones would make errors of neighbours add up.
    After the last unit of a trajectory there is nothing to continue: its reward is known, and what comes after it is worth
    0, or the batch's ``bootstrap`` where the trajectory was cut off.
    """
    n, k = design.units.size, design.each
    measured: Measured = "advantage" if isinstance(sampler, Retaker) else "change"
    value: Float = np.empty((2, 2, n))  # half, side, unit
    spread: list[Float] = []
    bill = Bill()
    calls = [(h, side, at) for at in range(0, n, TOGETHER) for h in range(2) for side in range(2)]
    draws = rng.spawn(2)
    for done, (h, side, at) in enumerate(calls):
        if watch is not None:
            watch(done, len(calls))
        units = design.units[at : at + TOGETHER]
        got, spent = (_after if side else _before)(batch, sampler, units, design.level, k, draws[h])
        answers = np.isfinite(got).sum(axis=1)
        total = np.where(np.isfinite(got), got, 0.0).sum(axis=1)
        mean = np.where(answers > 0, total / np.maximum(answers, 1), np.nan)
        value[h, side, at : at + TOGETHER] = mean
        if side == 0 and k > 1:
            squares = np.where(np.isfinite(got), (got - mean[:, None]) ** 2, 0.0).sum(axis=1)
            spread.append(squares[answers > 1] / (answers[answers > 1] - 1))
        bill = bill + spent
    known = np.isfinite(value).all(axis=(0, 1))
    if not known.any():
        raise BenchError("the sampler gave nothing back for any unit: no reward is a number")
    cluster = np.unique(design.cluster[known], return_inverse=True)[1]
    kept = Design(design.level, design.units[known], k, cluster, int(cluster.max()) + 1, design.over)
    variance = np.concatenate(spread) if spread else np.empty(0)
    draw = float(np.sqrt(variance.mean())) if variance.size else float("nan")
    halves = (value[:, 1] - value[:, 0])[:, known]
    return Changes(kept, halves, value[:, 0][:, known], draw, measured, int((~known).sum()), bill)


def _axis(batch: Batch, level: Unit) -> tuple[Axis, Int]:
    """The axis of prefixes between units of the level, and where each trajectory begins on it."""
    if level == "step":
        return "step_prefix", batch.step_prefix_offsets
    return "prefix", batch.prefix_offsets


def _prefixes(batch: Batch, units: Int, level: Unit) -> tuple[Axis, Int, Int]:
    """The axis, the prefix before each unit on it, and its trajectory's last prefix."""
    axis, offsets = _axis(batch, level)
    owner = batch.within(level, "trajectory")
    first = np.searchsorted(owner, owner[units])
    return axis, offsets[owner[units]] + units - first, offsets[owner[units] + 1] - 1


def _before(batch: Batch, sampler: Sampler, units: Int, level: Unit, k: int, rng: np.random.Generator) -> tuple[Float, Bill]:
    axis, prefix, _ = _prefixes(batch, units, level)
    return _checked(sampler.continuations(batch, prefix, k, rng, axis=axis), units.size, k)


def _after(batch: Batch, sampler: Sampler, units: Int, level: Unit, k: int, rng: np.random.Generator) -> tuple[Float, Bill]:
    if isinstance(sampler, Retaker):
        return _checked(sampler.after_action(batch, units, k, rng, level=level), units.size, k)
    axis, prefix, last = _prefixes(batch, units, level)
    goes_on = prefix + 1 < last
    ends = final_value(batch)[batch.within(level, "trajectory")[units]]
    values: Float = np.repeat(ends[:, None], k, axis=1)
    bill = Bill()
    if goes_on.any():
        values[goes_on], bill = _checked(
            sampler.continuations(batch, prefix[goes_on] + 1, k, rng, axis=axis), int(goes_on.sum()), k
        )
    return values + batch.rewards(level)[units][:, None], bill


def _checked(asked: Asked, n: int, k: int) -> tuple[Float, Bill]:
    values: Float = np.asarray(asked.values, dtype=np.float64)
    if values.shape != (n, k) or np.isinf(values).any():
        raise BenchError(f"the sampler gave shape {values.shape}: expected ({n}, {k}), finite or NaN")
    return values, asked.bill
