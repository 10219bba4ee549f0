"""Every agent's own value, learned through the function that joins them: only their sum of parts is ever paid.

    minimise over theta   sum_j (Q_tot_j - G_j)^2 + ridge |theta|^2,     q_i = b + theta . features of turn i

over joint steps j. G: rewards from there on, undiscounted by default (TD(lambda = 1)). Q_tot is linear in q for most
functions, and this is one least-squares problem; where it is not, it is solved again around the last solution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from ..batch import Batch
from ..errors import BatchError, OptionError
from ..ops.least_squares import fold_grams, solve_folds
from ..ops.ridge import predict
from ..ops.scans import discounted_suffix
from ..structure import Float, Int
from ..words import Axis
from .bill import Bill
from .learned import Linear, features, trajectory_keys
from .mixer import Mixer
from .sources import Array, Evidence

#: Joint steps whose features are laid out at a time.
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class LearnedMixed:
    """Evidence ``q``, each agent's own value of its turn, and ``weight``, what the team's value gains with it."""

    q: Linear
    mixer: Mixer
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        q = self.q.predict(batch)
        return Evidence(
            {"q": q, "weight": self.mixer.weights(batch, q)}, {"q": "turn", "weight": "turn"},
            Bill(scored=float(batch.action.sum())), "learned",
        )  # fmt: skip

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``LearnedMixed.load(x.save())`` says the same, bit for bit."""
        return {**self.q.arrays("q"), **self.mixer.save(), "bill": np.asarray(list(asdict(self.bill).values()))}

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> LearnedMixed:
        return cls(Linear.of(saved, "q"), Mixer.load(saved), Bill(*saved["bill"].tolist()))


def fit_mixed(
    batch: Batch, mixer: Mixer, rng: np.random.Generator, *, gamma: float, folds: int, ridge: float, buckets: int, actions: int
) -> LearnedMixed:
    """Learn q through the mixer; episodes of a prompt are held out together. Options as in ``evidence.learned.fit_linear``."""
    if folds < 2 or ridge <= 0 or buckets < 1:
        raise OptionError(f"folds = {folds}, ridge = {ridge}, buckets = {buckets}: expected at least 2, above 0, at least 1")
    if not 0 <= gamma <= 1:
        raise OptionError(f"gamma = {gamma}: expected a number from 0 to 1")
    axis: Axis = "group" if batch.group is not None and batch.group.n > 1 else "episode"
    units = batch.count(axis)
    if units < 2:
        raise BatchError("one episode cannot be held out from itself: fit on at least two, or pass learned= from another batch")
    folds = min(folds, units)
    part = (rng.permutation(units) % folds)[batch.within("trajectory", axis)]
    seen = features(batch, "turn", buckets=buckets, actions=actions)
    to_go = discounted_suffix(batch.rewards("turn"), batch.trajectory_turns, gamma)
    zero = np.zeros(batch.n_turns)
    value, joint = mixer.total(batch, zero)
    size = np.bincount(joint)
    goal = np.bincount(joint, weights=to_go) / size
    fold = np.zeros(size.size, dtype=np.int64)
    fold[joint] = part[batch.within("turn", "trajectory")]
    slope = mixer.weights(batch, zero)
    penalty = np.append(np.full(buckets, ridge * size.size / batch.count("episode")), 1e-6 * size.size)
    gram, rhs = _normal(seen, slope, joint, goal - value, fold, folds, buckets)
    weights = _with_gap(solve_folds(gram, rhs, penalty, definite=True))
    linear = np.allclose(mixer.weights(batch, rng.normal(size=zero.size)), slope, rtol=1e-4, atol=1e-6)
    for row in range(0 if linear else folds + 1):
        apart = np.where(fold == row, 0, 1)  # all that is not held out is one fold here, and the rest another
        for _ in range(_STEPS):
            q = predict(weights, np.full(zero.size, row), seen)
            slope = mixer.weights(batch, q)
            left = goal - mixer.total(batch, q)[0] + np.bincount(joint, weights=slope * q)
            gram, rhs = _normal(seen, slope, joint, left, apart, 2, buckets)
            solved = np.linalg.solve(np.diag(penalty) + gram[1], rhs[1])
            weights[row] = _with_gap(solved[None])[0]
    keys = trajectory_keys(batch)
    order = np.argsort(keys)
    model = Linear("turn", actions, weights, keys[order], part[order])
    return LearnedMixed(model, mixer, Bill(trained=float(batch.action.sum())))


#: How often a function that is not linear in q is linearised around the last solution.
_STEPS = 3


def _normal(seen: Int, slope: Float, joint: Int, y: Float, fold: Int, folds: int, buckets: int) -> tuple[Float, Float]:
    """Normal equations per fold of y_j = sum_{i in j} slope_i (b + theta . features_i), the intercept last."""
    order = np.argsort(joint, kind="stable")
    bounds = np.searchsorted(joint[order], np.arange(y.size + 1))
    gram, rhs = np.zeros((folds, buckets + 1, buckets + 1)), np.zeros((folds, buckets + 1))
    for start in range(0, y.size, _CHUNK):
        stop = min(start + _CHUNK, y.size)
        own = order[bounds[start] : bounds[stop]]
        wide = buckets + 2  # the last two: no feature, and the intercept
        at = (joint[own] - start)[:, None] * wide + np.column_stack([seen[own], np.full(own.size, buckets + 1)])
        x = np.bincount(at.ravel(), weights=np.repeat(slope[own], at.shape[1]), minlength=(stop - start) * wide)
        x = x.reshape(-1, wide)
        more = fold_grams(np.delete(x, buckets, axis=1), y[start:stop], fold[start:stop], folds)
        gram, rhs = gram + more[0], rhs + more[1]
    return gram, rhs


def _with_gap(weights: Float) -> Float:
    """As ``ops.ridge`` holds weights: a column of 0 for "no feature" before the intercept."""
    return np.insert(weights, weights.shape[1] - 1, 0.0, axis=1)
