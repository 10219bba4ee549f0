"""The chance of success from every prefix of a trajectory, learned from labels of prefixes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..ops.answers import mean_answer
from ..structure import Float, Int
from ..words import Axis
from .bill import Bill
from .learned import FLOOR, Linear, _evidence, _Saved, fit_linear
from .sources import Evidence, Sampler


@dataclass(frozen=True, eq=False)
class LearnedPrefix(_Saved):
    """P(success | prefix), one per prefix between turns or steps: evidence ``success_rate``.

    before: from what is seen at the unit that follows a prefix. after: from what was seen and done in
    the unit that it ends with. A prefix is judged by what was last seen where its next unit opens
    with an observation (and at the start), and by what was last done elsewhere.
    """

    before: Linear
    after: Linear
    bill: Bill

    @property
    def axis(self) -> Axis:
        return "prefix" if self.before.axis == "turn" else "step_prefix"

    def chance(self, batch: Batch) -> Float:
        """In [0, 1], shape (count of ``axis``,)."""
        unit = self.before.axis
        owner = batch.within(unit, "trajectory")
        prefix = np.arange(owner.size) + owner  # the one before each unit
        chance = np.empty(batch.count(self.axis))
        chance[prefix + 1] = self.after.predict(batch)
        shown = ~batch.action[batch.offsets(unit)[:-1]]
        shown[np.searchsorted(owner, np.arange(batch.n_trajectories))] = True
        chance[prefix[shown]] = self.before.predict(batch)[shown]
        return np.clip(chance, 0.0, 1.0)

    def evidence(self, batch: Batch) -> Evidence:
        return _evidence("success_rate", self.chance(batch), self.axis, self._cost(batch))

    def _cost(self, batch: Batch) -> Bill:
        return Bill(scored=float(batch.action.sum()))


@dataclass(frozen=True, eq=False)
class LearnedBelief(LearnedPrefix):
    """log P(success | prefix), for methods that ask how likely the right answer is: evidence ``answer_logp``.

    Learned from outcomes alone: unlike the reference answer's own probability it is not privileged.
    """

    def evidence(self, batch: Batch) -> Evidence:
        return _evidence("answer_logp", np.log(np.maximum(self.chance(batch), FLOOR)), self.axis, self._cost(batch))


def own_ends(batch: Batch, unit: Literal["turn", "step"]) -> Float:
    """1 at every prefix of a solved trajectory, 0 at the others: its own end is one completion of each."""
    axis: Axis = "prefix" if unit == "turn" else "step_prefix"
    return batch.solved.astype(np.float64)[batch.within(axis, "trajectory")]


def fit_prefix(
    batch: Batch,
    unit: Literal["turn", "step"],
    labels: Float,
    rng: np.random.Generator,
    *,
    folds: int,
    ridge: float,
    buckets: int,
    actions: int,
) -> tuple[Linear, Linear, Bill]:
    """The two models of :class:`LearnedPrefix` and their bill.

    labels: chance of success per prefix, in [0, 1], NaN where unknown; both ends of each trajectory need one.
    """
    owner = batch.within(unit, "trajectory")
    prefix = np.arange(owner.size) + owner
    seed = int(rng.integers(2**63))  # the same folds for both
    before, after = (
        fit_linear(
            batch, unit, labels[at], np.random.default_rng(seed), folds=folds, ridge=ridge, buckets=buckets, actions=looks
        )
        for at, looks in ((prefix, 0), (prefix + 1, actions))
    )  # fmt: skip
    return before, after, Bill(trained=2.0 * float(batch.action.sum()))


def share_correct(batch: Batch, sampler: Sampler, at: Int, k: int, above: float, rng: np.random.Generator) -> tuple[Float, Bill]:
    """Share of ``k`` completions from each prefix ``at`` between steps whose reward is above ``above``; NaN: none came back."""
    if k < 1:
        raise OptionError(f"k = {k}: ask at least one completion")
    if batch.step_offsets is None:
        got = sampler.continuations(batch, at, k, rng)
    else:
        got = sampler.continuations(batch, at, k, rng, axis="step_prefix")
    values = np.asarray(got.values, dtype=np.float64)
    return mean_answer(np.where(np.isnan(values), np.nan, values > above), at.size, k), got.bill
