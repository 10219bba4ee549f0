"""The critics that methods of the PPO family learn from a batch where no policy-sized one is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from ..batch import Batch
from ..errors import BatchError, OptionError
from ..ops.features import join, mix
from ..ops.ridge import cross_fit, predict
from ..ops.scans import first_active, gae
from ..structure import Float, Int
from .bill import Bill
from .learned import LearnedValue, features, fit_linear, trajectory_keys
from .sources import Array, Evidence


def fit_turn_value(
    batch: Batch,
    rng: np.random.Generator,
    *,
    gamma: float,
    discount: Literal["token", "turn"],
    folds: int,
    ridge: float,
    buckets: int,
) -> LearnedValue:
    """The return from each turn on, discounted per policy ``discount``, regressed on what was seen before the turn.

    A linear model of hashed text features, cross-fitted by trajectory (see ``evidence.learned``); its
    value is the same at all tokens of a turn.
    """
    if discount == "turn":
        r, active, offsets = batch.rewards("turn"), np.ones(batch.n_turns, dtype=np.bool_), batch.trajectory_turns
    else:
        r, active, offsets = batch.rewards("token"), batch.action, batch.offsets("trajectory")
    to_go = gae(r, np.zeros(r.size), active, offsets, gamma, 1.0, final_value(batch))
    target = to_go if discount == "turn" else to_go[first_active(batch.action, batch.turn_offsets)]
    value = fit_linear(batch, "turn", target, rng, folds=folds, ridge=ridge, buckets=buckets)
    return LearnedValue(value, Bill(trained=float(batch.action.sum())))


def final_value(batch: Batch) -> Float:
    """Value after the last unit of each trajectory, shape (N,): ``bootstrap`` where it was cut off, else 0."""
    if batch.bootstrap is None:
        return np.zeros(batch.n_trajectories)
    return batch.bootstrap if batch.truncated is None else np.where(batch.truncated, batch.bootstrap, 0.0)


@dataclass(frozen=True, eq=False)
class LearnedTokenValue:
    """A critic of tokens: the expected return before each policy token, given what was seen and the turn's words so far.

    A cross-fitted ridge regression (see ``evidence.learned``). weights: (folds + 1, buckets + 2), the last row
    fitted on everything. keys (sorted) and fold: the trajectories it was fitted on, and where they were held out.
    """

    weights: Float
    keys: Array
    fold: Int
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        keys = trajectory_keys(batch)
        at = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
        row = np.where(self.keys[at] == keys, self.fold[at], self.weights.shape[0] - 1)
        value = np.zeros(batch.n_tokens)
        seen = _token_features(batch, int(self.weights.shape[1] - 2))
        value[batch.action] = predict(self.weights, row[batch.within("token", "trajectory")[batch.action]], seen)
        return Evidence({"value": value}, {"value": "token"}, bill=Bill(scored=float(batch.action.sum())), provenance="learned")

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``LearnedTokenValue.load(x.save())`` predicts the same, bit for bit."""
        bill = np.asarray(list(asdict(self.bill).values()))
        return {"weights": self.weights, "keys": self.keys, "fold": self.fold, "bill": bill}

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> LearnedTokenValue:
        return cls(saved["weights"], saved["keys"], saved["fold"], Bill(*saved["bill"].tolist()))


def fit_token_value(
    batch: Batch, target: Float, rng: np.random.Generator, *, folds: int, ridge: float, buckets: int
) -> LearnedTokenValue:
    """Regress ``target`` (one per token, read at policy tokens) on what stood before each policy token.

    folds: held-out parts, by trajectory. ridge: penalty in trajectories, as in ``evidence.learned.fit_linear``.
    """
    n = batch.n_trajectories
    if n < 2:
        raise BatchError(
            "one trajectory cannot be held out from itself: fit on at least two, or pass learned= from another batch"
        )
    if folds < 2 or ridge <= 0 or buckets < 1:
        raise OptionError(f"folds = {folds}, ridge = {ridge}, buckets = {buckets}: expected at least 2, above 0, at least 1")
    folds = min(folds, n)
    part = rng.permutation(n) % folds
    seen = _token_features(batch, buckets)
    owner = batch.within("token", "trajectory")[batch.action]
    penalty = ridge * owner.size / n
    weights = cross_fit(seen, target[batch.action], part[owner], folds=folds, buckets=buckets, penalty=penalty)
    keys = trajectory_keys(batch)
    order = np.argsort(keys)
    return LearnedTokenValue(weights, keys[order], part[order], Bill(trained=float(batch.action.sum())))


def _token_features(batch: Batch, buckets: int) -> Int:
    """Hashed features (policy tokens, m): those of the turn, then the turn's policy tokens so far, alone and with them.

    Before the first policy token of a turn there is nothing so far: only the turn's own features stand.
    """
    ids = batch.need("ids", "to learn a critic of tokens")[batch.action]
    turn = batch.within("token", "turn")[batch.action]
    first = np.searchsorted(turn, np.arange(batch.n_turns))[turn]  # of the turn, among policy tokens
    place = np.arange(turn.size) - first
    word = mix(mix(ids) + mix(place))
    before = np.cumsum(word, dtype=np.uint64) - word
    so_far = mix(before - before[first])
    own = features(batch, "turn", buckets=buckets, actions=0)
    prompt, position, last = (mix(own[:, column])[turn] for column in (0, 2, 3))
    kinds = [so_far, join(so_far, last), join(so_far, position), join(so_far, prompt), join(so_far, prompt, position)]
    out = np.empty((turn.size, own.shape[1] + len(kinds)), dtype=np.int64)
    out[:, : own.shape[1]] = own[turn]
    for j, kind in enumerate(kinds):
        salted = mix(kind + mix(np.array([1000 + j]))) % np.uint64(buckets)
        out[:, own.shape[1] + j] = np.where(place == 0, buckets, salted.astype(np.int64))
    return out
