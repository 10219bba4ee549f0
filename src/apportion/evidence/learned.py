"""What ``fit`` returns: cross-fitted linear models of success on hashed text features.

They stand in for a critic or a process reward model wherever none is at hand: small, deterministic,
learned from the batch alone. They read token ids (or, without ids, the words of ``text``), the
action mask and rewards; never state keys or groups.

Cross-fitting: a trajectory of the batch a model was fitted on is always predicted by the weights
of a fold it was not in, so that no reward reaches its own baseline; any other trajectory by the
weights of all folds. Trajectories are known again by id and content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary
from zlib import crc32

import numpy as np

from ..batch import Batch
from ..errors import BatchError, OptionError
from ..ops.features import hashed_features, join, mix, sequence_hash
from ..ops.ridge import cross_fit, predict
from ..structure import Bool, Float, Int
from ..words import Axis
from .bill import Bill
from .sources import Array, Evidence


@dataclass(frozen=True, eq=False)
class Linear:
    """A ridge regression per fold on the hashed features of units at level ``axis``.

    weights: (folds + 1, buckets + 2), the last row fitted on everything, the last column the
    intercept. keys (sorted) and fold: which trajectories it was fitted on, and where they were
    held out. actions: how many tokens of the unit's own action it looks at (0: none).
    """

    axis: Axis
    actions: int
    weights: Float
    keys: Array
    fold: Int

    @cached_property
    def buckets(self) -> int:
        return int(self.weights.shape[1] - 2)

    def predict(self, batch: Batch) -> Float:
        """One number per unit, shape (count,): out of fold where the trajectory was fitted on."""
        keys = trajectory_keys(batch)
        at = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
        row = np.where(self.keys[at] == keys, self.fold[at], self.weights.shape[0] - 1)
        seen = features(batch, self.axis, buckets=self.buckets, actions=self.actions)
        return predict(self.weights, row[batch.within(self.axis, "trajectory")], seen)

    def arrays(self, name: str) -> dict[str, Array]:
        about = np.array([self.axis, str(self.actions)])
        return {f"{name}.about": about, f"{name}.weights": self.weights, f"{name}.keys": self.keys, f"{name}.fold": self.fold}

    @classmethod
    def of(cls, saved: Mapping[str, Array], name: str) -> Linear:
        axis, actions = saved[f"{name}.about"].tolist()
        return cls(axis, int(actions), saved[f"{name}.weights"], saved[f"{name}.keys"], saved[f"{name}.fold"])


def fit_linear(
    batch: Batch, axis: Axis, y: Float, rng: np.random.Generator, *, folds: int, ridge: float, buckets: int, actions: int = 0,
    together: Axis = "trajectory",
) -> Linear:  # fmt: skip
    """Regress ``y`` (one per unit) on what the policy saw and, with ``actions`` > 0, did.

    y: NaN where a unit has no label and is left out; every trajectory needs one. folds: held-out
    parts, drawn by trajectory (never more than there are trajectories), or by the episode or group that
    trajectories are held out ``together`` with. ridge: penalty in
    *trajectories*: a feature met in that many trajectories is shrunk by half.
    """
    n = batch.n_trajectories
    if n < 2:
        raise BatchError(
            "one trajectory cannot be held out from itself: fit on at least two, or pass learned= from another batch"
        )
    if folds < 2 or ridge <= 0 or buckets < 1:
        raise OptionError(f"folds = {folds}, ridge = {ridge}, buckets = {buckets}: expected at least 2, above 0, at least 1")
    units = batch.count(together)
    if units < 2:
        raise BatchError(
            f"one {together} cannot be held out from itself: fit on at least two, or pass learned= from another batch"
        )
    folds = min(folds, units)
    part = (rng.permutation(units) % folds)[batch.within("trajectory", together)]
    seen = features(batch, axis, buckets=buckets, actions=actions)
    known = ~np.isnan(y)
    penalty = ridge * float(known.sum()) / n
    fold = part[batch.within(axis, "trajectory")][known]
    weights = cross_fit(seen[known], y[known], fold, folds=folds, buckets=buckets, penalty=penalty)
    keys = trajectory_keys(batch)
    order = np.argsort(keys)
    return Linear(axis, actions, weights, keys[order], part[order])


def features(batch: Batch, axis: Axis, *, buckets: int, actions: int) -> Int:
    """Hashed features (n, m) of every turn or step; see :func:`ops.features.hashed_features`."""
    made = _MADE.setdefault(batch, {})
    key = (axis, buckets, actions)
    if key not in made:
        made[key] = _features(batch, axis, buckets, actions)
    return made[key]


#: Features of batches still in use: fitting and predicting on one batch makes them once.
_MADE: WeakKeyDictionary[Batch, dict[tuple[Axis, int, int], Int]] = WeakKeyDictionary()


def _features(batch: Batch, axis: Axis, buckets: int, actions: int) -> Int:
    ids, action, offsets = _stream(batch, axis)
    owner = batch.within(axis, "trajectory")
    first = np.searchsorted(owner, np.arange(batch.n_trajectories))[owner]
    return hashed_features(ids, action, offsets, first, buckets=buckets, actions=actions)


def trajectory_keys(batch: Batch) -> Array:
    """One 64-bit key per trajectory, made from its id and its content."""
    ids, action, offsets = _stream(batch, "turn")
    starts = offsets[batch.trajectory_turns]
    content = sequence_hash(mix(ids) + mix(action.astype(np.int64)), starts)
    names = np.asarray(batch.trajectory.names)
    if names.dtype.kind != "i" or names.ndim != 1:
        names = np.asarray([crc32(repr(name).encode()) for name in batch.trajectory.names], dtype=np.int64)
    return join(content, mix(names[batch.trajectory.codes]))


def _stream(batch: Batch, axis: Axis) -> tuple[Int, Bool, Int]:
    """Token ids, policy mask and unit offsets; words of ``text`` stand in for missing ids."""
    if batch.ids is not None:
        return batch.ids, batch.action, batch.offsets(axis)
    if batch.text is None or (axis == "step" and batch.step_offsets is not None):
        batch.need("ids", "to learn from what the policy saw")
    # A turn's text does not say which part the policy wrote: all of it counts as the action of
    # its turn, and as what was seen at the next one.
    words = [[crc32(w.encode()) for w in (t or "").split()] or [0] for t in batch.need("text")]
    opens = set(batch.trajectory_turns[:-1].tolist())
    before = [[] if u in opens else words[u - 1] for u in range(len(words))]
    lengths = np.asarray([[len(b), len(w)] for b, w in zip(before, words, strict=True)], dtype=np.int64)
    ids = np.asarray([x for b, w in zip(before, words, strict=True) for x in (*b, *w)], dtype=np.int64)
    action = np.repeat(np.tile([False, True], len(words)), lengths.ravel())
    return ids, action, np.concatenate(([0], np.cumsum(lengths.sum(axis=1))))


class _Saved:
    """Saving and loading shared by the learned objects: their Linear models and their bill."""

    bill: Bill

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``type(x).load(x.save())`` predicts the same, bit for bit."""
        saved: dict[str, Array] = {"bill": np.asarray(list(asdict(self.bill).values()))}
        for name, value in self.__dict__.items():
            if isinstance(value, Linear):
                saved |= value.arrays(name)
        return saved

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> Any:
        names = dict.fromkeys(k.split(".")[0] for k in saved if "." in k)
        return cls(**{n: Linear.of(saved, n) for n in names}, bill=Bill(*saved["bill"].tolist()))  # type: ignore[call-arg]


@dataclass(frozen=True, eq=False)
class LearnedValue(_Saved):
    """A critic: the expected return before each turn, at all tokens of the turn."""

    value: Linear
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        value = self.value.predict(batch)[batch.within("token", "turn")]
        return _evidence("value", value, "token", Bill(scored=float(batch.action.sum())))


@dataclass(frozen=True, eq=False)
class LearnedProcess(_Saved):
    """A process reward model: 2 P(success | what was seen and done up to this step) - 1."""

    success: Linear
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        score = np.clip(2.0 * self.success.predict(batch) - 1.0, -1.0, 1.0)
        return _evidence("process", score, "step", Bill(scored=float(batch.action.sum())))


@dataclass(frozen=True, eq=False)
class LearnedHindsight(_Saved):
    """log P(action | seen, outcome) = log pi(action | seen) + log P(outcome | seen, action) / P(outcome | seen).

    Bayes' rule, with the policy's own log-probabilities (column ``logp``) and two success models,
    one that sees the action and one that does not: an action is likelier in hindsight exactly
    where it is commoner among the trajectories that ended the same way. Probabilities are kept
    within [FLOOR, 1 - FLOOR]; the turn's log-ratio is shared equally by its policy tokens, and no
    log-probability rises above 0.
    """

    before: Linear
    after: Linear
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        logp = batch.need("logp", "to turn success models into hindsight log-probabilities")
        solved = batch.solved[batch.within("turn", "trajectory")]
        chance = [np.clip(m.predict(batch), FLOOR, 1.0 - FLOOR) for m in (self.before, self.after)]
        before, after = (np.where(solved, p, 1.0 - p) for p in chance)
        shift = np.log(after / before) / batch.action_count("turn")
        hindsight = np.where(batch.action, np.minimum(logp + shift[batch.within("token", "turn")], 0.0), 0.0)
        return _evidence("hindsight_logp", hindsight, "token", Bill(scored=2.0 * float(batch.action.sum())))


#: Learned success probabilities are kept this far from 0 and 1.
FLOOR = 0.02


def _evidence(name: str, array: Float, axis: Axis, bill: Bill) -> Evidence:
    return Evidence({name: array}, {name: axis}, bill=bill, provenance="learned")
