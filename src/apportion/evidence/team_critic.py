"""A critic of messages: the expected reward once a turn has been taken, from what its agent saw and wrote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..batch import Batch
from ..words import Axis
from .bill import Bill
from .learned import Linear, _Saved, fit_linear
from .sources import Evidence


@dataclass(frozen=True, eq=False)
class LearnedQ(_Saved):
    """q of every turn, in [0, 1]; ``alternatives`` are null, because it asks nobody to act."""

    q: Linear
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        q = np.clip(self.q.predict(batch), 0.0, 1.0)
        return Evidence(
            {"q": q, "alternatives": np.full(batch.n_turns, np.nan)}, {"q": "turn", "alternatives": "turn"},
            Bill(scored=float(batch.action.sum())), "learned",
        )  # fmt: skip


def fit_q(
    batch: Batch, *, rng: np.random.Generator, folds: int = 5, ridge: float = 3.0, buckets: int = 512, actions: int = 4
) -> LearnedQ:  # fmt: skip
    """Regress the total reward, clipped to [0, 1], on every turn; a prompt is always held out whole.

    Siblings share their prompt, and so their rewards are no part of each other's q. actions: tokens of the
    message it looks at.
    """
    y = np.clip(batch.reward, 0.0, 1.0)[batch.within("turn", "trajectory")]
    together: Axis = "group" if batch.count("group") > 1 else "episode"
    model = fit_linear(
        batch, "turn", y, rng, folds=folds, ridge=ridge, buckets=buckets, actions=actions, together=together
    )  # fmt: skip
    return LearnedQ(model, Bill(trained=float(batch.action.sum())))
