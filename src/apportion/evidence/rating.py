"""A rating of steps learned from outcomes, where a fine-grained process reward model is not at hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..batch import Batch
from .bill import Bill
from .learned import Linear, _evidence, _Saved
from .sources import Evidence

#: Ends of the scale of ratings.
WORST, BEST = 1.0, 4.0


@dataclass(frozen=True, eq=False)
class LearnedRating(_Saved):
    """How much a step raised the chance of success, on the scale of ratings from 1 to 4.

        p_j = 2.5 + 1.5 clip(P(success | seen, done) - P(success | seen), -1, 1)

    Two cross-fitted linear success models, one that sees the action and one that does not: their
    difference rates what was done, not how well things stood already. No change is 2.5.
    """

    before: Linear
    after: Linear
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        gain = np.clip(self.after.predict(batch) - self.before.predict(batch), -1.0, 1.0)
        rating = (BEST + WORST) / 2 + (BEST - WORST) / 2 * gain
        return _evidence("rating", rating, "step", Bill(scored=2.0 * float(batch.action.sum())))
