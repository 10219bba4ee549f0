"""A model of whole texts, learned from the batch: linear in the pieces that a text consists of.

A text is the bag of its pieces: its prompt, and per unit (step or turn) what stood right before the
unit's own words, the words themselves, both together, and the words with those of the unit
before (see :func:`pieces`). The score is the intercept plus the weights of the pieces that are there, so any
prefix and any text with units blanked has a score as well, whatever the model was fitted on:
complete texts only (``rows="complete"``, an outcome reward model) or every prefix, each labelled
with the return (``rows="prefixes"``, a return predictor). Cross-fitted as in :mod:`.learned`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..batch import Batch
from ..errors import BatchError, OptionError
from ..structure import Bool, Float, Int
from ..words import Axis, check_word
from .learned import trajectory_keys
from .sources import Array
from .text_pieces import SEEN, made_of, pieces

Rows = Literal["complete", "prefixes"]

#: Rows of dense features handled at a time.
_CHUNK = 8192


@dataclass(frozen=True, eq=False)
class TextModel:
    """weights: (folds + 1, buckets + 2), the last row fitted on everything; column ``buckets`` is 0 (no
    piece), the last one the intercept. keys (sorted) and fold: where each trajectory was held out."""

    axis: Axis
    weights: Float
    keys: Array
    fold: Int

    def parts(self, batch: Batch, keep: Bool | None = None) -> tuple[Float, Float, Float]:
        """What the score consists of: (prompt (N,), seen (n,), done (n,)), out of fold where fitted on.

        The score of a text is the sum of its parts: ``prompt`` of the trajectory, ``seen`` of each unit
        once what precedes its words is there, ``done`` once its words are. keep: (n,), False blanks a unit.
        """
        row = self._row(batch)
        opening, units = pieces(batch, self.axis, self.weights.shape[1] - 2, keep)
        prompt = self.weights[row, -1] + self.weights[row[:, None], opening].sum(axis=1)
        value = self.weights[row[batch.within(self.axis, "trajectory")][:, None], units]
        return prompt, value[:, :SEEN].sum(axis=1), value[:, SEEN:].sum(axis=1)

    def shapley(self, batch: Batch) -> Float:
        """Shapley value of every unit in the game v(S) = score of the text with the units outside S blanked, (n,).

        Exact without asking for a single coalition: the score is a sum of pieces, a piece is there when the
        units it is made of are (its own, the one before, or both), and a game of "all of these" pays them equally.
        """
        row = self._row(batch)
        _, units = pieces(batch, self.axis, self.weights.shape[1] - 2)
        value = self.weights[row[batch.within(self.axis, "trajectory")][:, None], units]
        own, before = made_of(batch, self.axis)
        share = value / np.maximum(own.astype(np.int64) + before, 1)
        paid: Float = (share * own).sum(axis=1)
        paid[:-1] += (share * before)[1:].sum(axis=1)
        return paid

    def _row(self, batch: Batch) -> Int:
        """Row of ``weights`` for each trajectory."""
        keys = trajectory_keys(batch)
        at = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
        return np.where(self.keys[at] == keys, self.fold[at], self.weights.shape[0] - 1)

    def score(self, batch: Batch, keep: Bool | None = None) -> Float:
        """Score of each complete text, or of what is left of it, shape (N,)."""
        prompt, seen, done = self.parts(batch, keep)
        owner = batch.within(self.axis, "trajectory")
        return prompt + np.bincount(owner, weights=seen + done, minlength=prompt.size)


def fit_text(
    batch: Batch,
    axis: Axis,
    rng: np.random.Generator,
    *,
    rows: Rows,
    folds: int,
    ridge: float,
    buckets: int,
    final: float = 1.0,
    every: float = 0.5,
) -> TextModel:
    """Ridge regression of the total reward on the pieces of each text.

        w = argmin  sum_i [ final (R_i - g_i,last)^2 + every mean_t (R_i - g_i,t)^2 ] + ridge |w|^2

    rows: "complete" uses the first term only, whatever ``every`` says. ridge: in trajectories. Where all
    rewards it learns from are equal the weights are 0 and every text scores that reward.
    """
    check_word(rows, Rows, "rows")
    n = batch.n_trajectories
    if n < 2:
        raise BatchError(
            "one trajectory cannot be held out from itself: fit on at least two, or pass learned= from another batch"
        )
    if folds < 2 or ridge <= 0 or buckets < 1 or final < 0 or every < 0 or final + every == 0:
        raise OptionError(
            f"folds = {folds}, ridge = {ridge}, buckets = {buckets}, final = {final}, every = {every}: expected at least 2, "
            f"above 0, at least 1, and two weights of at least 0 that are not both 0"
        )
    folds = min(folds, n)
    part = rng.permutation(n) % folds
    opening, units = pieces(batch, axis, buckets)
    owner = batch.within(axis, "trajectory")
    gram, rhs = np.zeros((folds, buckets + 1, buckets + 1)), np.zeros((folds, buckets + 1))
    bounds = np.searchsorted(owner, np.arange(n + 1))
    weight = (0.0, final or 1.0) if rows == "complete" else (every, final)
    for f in range(folds):
        chosen = np.flatnonzero(part == f)
        cuts = np.searchsorted(np.cumsum(np.diff(bounds)[chosen]), np.arange(_CHUNK, owner.size, _CHUNK))
        for some in np.split(chosen, np.unique(cuts)):
            if some.size:
                _add(gram[f], rhs[f], some, opening, units, bounds, batch.reward, weight)
    weights = np.zeros((folds + 1, buckets + 2))
    for k in range(folds + 1):
        others = [f for f in range(folds) if f != k]  # formed afresh: row k knows nothing of fold k, not even by rounding
        weights[k, :buckets], weights[k, -1] = _solve(gram[others].sum(axis=0), rhs[others].sum(axis=0), ridge)
    keys = trajectory_keys(batch)
    order = np.argsort(keys)
    return TextModel(axis, weights, keys[order], part[order])


def _add(
    gram: Float, rhs: Float, some: Int, opening: Int, units: Int, bounds: Int, reward: Float, weight: tuple[float, float]
) -> None:
    """Adds the weighted rows of some trajectories; the last column is the intercept."""
    size = np.diff(bounds)[some]
    ends = np.cumsum(size)
    at = np.arange(ends[-1]) + np.repeat(bounds[some] - (ends - size), size)
    row = np.repeat(np.arange(some.size), size) if weight[0] == 0 else np.arange(at.size)  # only the ends, or every prefix
    n, first = (some.size, np.arange(some.size)) if weight[0] == 0 else (at.size, ends - size)
    width = gram.shape[0]  # the last column counts "no piece" until the intercept goes there
    where = np.concatenate([(row[:, None] * width + units[at]).ravel(), (first[:, None] * width + opening[some]).ravel()])
    x = np.bincount(where, minlength=n * width).astype(np.float64).reshape(n, width)
    w, y = np.full(n, weight[1]), reward[some]
    if weight[0]:
        np.cumsum(x, axis=0, out=x)
        x -= np.repeat(np.vstack([np.zeros((1, width)), x[ends[:-1] - 1]]), size, axis=0)
        w, y = np.repeat(weight[0] / size, size), np.repeat(reward[some], size)
        w[ends - 1] += weight[1]
    x[:, -1] = 1.0
    scaled = x * w[:, None]
    gram += scaled.T @ x
    rhs += scaled.T @ y


def _solve(gram: Float, rhs: Float, ridge: float) -> tuple[Float, float]:
    """Weights and intercept; the intercept is not penalised. Pieces never met, and constant rewards, get exactly 0."""
    total, mean_x, mean_y = gram[-1, -1], gram[-1, :-1] / gram[-1, -1], rhs[-1] / gram[-1, -1]
    used = np.flatnonzero(np.diag(gram)[:-1])
    centred = gram[np.ix_(used, used)] - total * np.outer(mean_x[used], mean_x[used])
    target = rhs[used] - total * mean_x[used] * mean_y
    target[np.abs(target) <= 1e-12 * np.abs(rhs[used])] = 0.0
    w = np.zeros(mean_x.size)
    w[used] = np.linalg.solve(centred + ridge * np.eye(used.size), target)
    return w, float(mean_y - mean_x @ w)
