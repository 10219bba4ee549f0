"""A critic with three values a turn: of the state, before the decision to switch, and of the state with a subgoal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from ..batch import Batch
from ..ops.features import NONE, join, mix
from ..ops.ridge import cross_fit, predict
from ..ops.scans import gae
from ..structure import Float, Int
from .bill import Bill
from .critic import final_value
from .learned import Linear, features, fit_linear, trajectory_keys
from .options import hierarchy, subgoals
from .sources import Array, Evidence


@dataclass(frozen=True, eq=False)
class LearnedOptions:
    """Evidence ``v_high``, ``v_term`` and ``v_low`` of every turn: cross-fitted linear models (see ``evidence.learned``).

    high and term see what stood before the turn; low, (folds + 1, buckets + 2) with the folds of term, also the words
    of the subgoal it is in, and for how many turns. Only turns that open an option taught high.
    """

    high: Linear
    term: Linear
    low: Float
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        keys = trajectory_keys(batch)
        at = np.minimum(np.searchsorted(self.term.keys, keys), self.term.keys.size - 1)
        row = np.where(self.term.keys[at] == keys, self.term.fold[at], self.low.shape[0] - 1)
        low = predict(self.low, row[batch.within("turn", "trajectory")], _with_subgoal(batch, self.low.shape[1] - 2))
        arrays = {"v_low": low, "v_term": self.term.predict(batch), "v_high": self.high.predict(batch)}
        return Evidence(arrays, dict.fromkeys(arrays, "turn"), Bill(scored=float(batch.action.sum())), "learned")

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``LearnedOptions.load(x.save())`` predicts the same, bit for bit."""
        bill = np.asarray(list(asdict(self.bill).values()))
        return {**self.high.arrays("high"), **self.term.arrays("term"), "low": self.low, "bill": bill}

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> LearnedOptions:
        bill = Bill(*saved["bill"].tolist())
        return cls(Linear.of(saved, "high"), Linear.of(saved, "term"), saved["low"], bill)


def fit_options(
    batch: Batch, rng: np.random.Generator, *, gamma: float, folds: int, ridge: float, buckets: int
) -> LearnedOptions:  # fmt: skip
    """Regress the discounted return from each turn on: what all three values are, in expectation.

    The return itself, not the method's bootstrapped targets: those hold a value that was learned from others' returns,
    through which a trajectory's own return would come back to its baseline.
    """
    found, n_turns = hierarchy(batch), batch.n_turns
    everywhere, end = np.ones(n_turns, dtype=np.bool_), final_value(batch)
    to_go = gae(batch.rewards("turn"), np.zeros(n_turns), everywhere, batch.trajectory_turns, gamma, 1.0, end)
    high = fit_linear(batch, "turn", np.where(found.opens, to_go, np.nan), rng, folds=folds, ridge=ridge, buckets=buckets)
    term = fit_linear(batch, "turn", to_go, rng, folds=folds, ridge=ridge, buckets=buckets)
    part = term.fold[np.searchsorted(term.keys, trajectory_keys(batch))][batch.within("turn", "trajectory")]
    low = cross_fit(
        _with_subgoal(batch, buckets), to_go, part, folds=term.weights.shape[0] - 1, buckets=buckets,
        penalty=ridge * n_turns / batch.n_trajectories,
    )  # fmt: skip
    return LearnedOptions(high, term, low, Bill(trained=float(batch.action.sum())))


def _with_subgoal(batch: Batch, buckets: int) -> Int:
    """Hashed features (turns, m): those of the turn, then the subgoal's words and the turns since it was set."""
    found = hierarchy(batch)
    own = features(batch, "turn", buckets=buckets, actions=0)
    since = mix(np.minimum(np.arange(batch.n_turns) - found.start[found.held], 8))
    subgoal = np.full(batch.n_turns, NONE)
    if batch.ids is not None:
        said, known = subgoals(batch, found, batch.ids)
        first = found.start[found.held]
        subgoal = np.where(known[first], said[first], NONE)
    position, last = mix(own[:, 2]), mix(own[:, 3])
    kinds = [since, join(since, last), subgoal, join(subgoal, last), join(subgoal, position)]
    out = np.empty((batch.n_turns, own.shape[1] + len(kinds)), dtype=np.int64)
    out[:, : own.shape[1]] = own
    for j, kind in enumerate(kinds):
        salted = mix(kind + mix(np.array([2000 + j]))) % np.uint64(buckets)
        out[:, own.shape[1] + j] = np.where(kind == NONE, buckets, salted.astype(np.int64))
    return out
