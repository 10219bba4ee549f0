"""How much likelier an action is once the outcome is known: learned from outcomes by Bayes' rule, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..batch import Batch
from ..structure import Bool, Float
from .bill import Bill
from .learned import FLOOR, Linear, _Saved, fit_linear
from .sources import Evidence


@dataclass(frozen=True, eq=False)
class _Posterior(_Saved):
    """log P(action | seen, outcome) = log pi(action | seen) + log P(outcome | seen, action) / P(outcome | seen).

    Two cross-fitted models of success, one that sees the action of a step and one that does not, and the
    policy's own log-probabilities (column ``logp``). Chances are kept within [FLOOR, 1 - FLOOR]. The tokens of a
    step share its change in proportion to their own log-probability: what was certain stays certain, and
    no log-probability rises above 0.
    """

    before: Linear
    after: Linear
    bill: Bill

    def logp(self, batch: Batch, won: Bool) -> Float:
        """Log-probability of every token where the trajectories end as ``won`` says, shape (T,)."""
        logp = np.where(batch.action, batch.need("logp", "to turn success models into hindsight log-probabilities"), 0.0)
        axis = self.before.axis
        chance = [np.clip(m.predict(batch), FLOOR, 1.0 - FLOOR) for m in (self.before, self.after)]
        ended = won[batch.within(axis, "trajectory")]
        before, after = (np.where(ended, p, 1.0 - p) for p in chance)
        own = np.bincount(batch.within("token", axis), weights=logp, minlength=before.size)
        factor = np.maximum(1.0 + np.log(after / before) / np.minimum(own, -1e-12), 0.0)
        shifted: Float = np.where(batch.action, np.minimum(logp, 0.0) * factor[batch.within("token", axis)], 0.0)
        return shifted

    def _left(self, batch: Batch, **arrays: Float) -> Evidence:
        bill = Bill(scored=2.0 * float(batch.action.sum()))
        return Evidence(arrays, dict.fromkeys(arrays, "token"), bill=bill, provenance="learned")


class LearnedOutcome(_Posterior):
    """Evidence ``hindsight_logp``: the outcome that is known is the trajectory's own."""

    def evidence(self, batch: Batch) -> Evidence:
        return self._left(batch, hindsight_logp=self.logp(batch, batch.solved))


class LearnedContrast(_Posterior):
    """Evidence ``better_logp`` and ``worse_logp``: knowing that it will succeed, and that it will fail."""

    def evidence(self, batch: Batch) -> Evidence:
        every = np.ones(batch.n_trajectories, dtype=np.bool_)
        return self._left(batch, better_logp=self.logp(batch, every), worse_logp=self.logp(batch, ~every))


def fit_outcomes(
    batch: Batch, rng: np.random.Generator, *, folds: int, ridge: float, buckets: int, actions: int
) -> tuple[Linear, Linear, Bill]:
    """The two success models, per step, and their bill."""
    solved = batch.solved.astype(np.float64)[batch.within("step", "trajectory")]
    seed = int(rng.integers(2**63))  # the same folds for both, so that their noise cancels in the ratio
    before, after = (
        fit_linear(batch, "step", solved, np.random.default_rng(seed), folds=folds, ridge=ridge, buckets=buckets, actions=looks)
        for looks in (0, actions)
    )
    return before, after, Bill(trained=2.0 * float(batch.action.sum()))
