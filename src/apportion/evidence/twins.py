"""Twin critics of turns, learned off-policy: Q(s, a) and V(s) twice, with slowly following target copies and replay.

    y_c = r + gamma Vbar_c(s')         what Q_c is regressed on, c = 1, 2
    z_c = Qbar_c(s, a~), a~ ~ pi       what V_c is regressed on
    target <- (1 - tau) target + tau online

Each head is linear in hashed features of the text (:mod:`apportion.ops.suffixes`); the twins differ in
their hashes, so that they are not wrong in the same places. An epoch fits all four heads exactly (ridge
regression) and moves the targets once. Cross-fitted as in :mod:`.learned`, replay included: a trajectory keeps
its fold as long as it is remembered, and is scored by weights that were never fitted on it, nor bootstrapped from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ..batch import Batch
from ..errors import BatchError, OptionError
from ..ops.features import NONE, Hash, join, mix
from ..ops.ridge import predict
from ..ops.suffixes import bucketed, products
from ..structure import Float, Int
from ..words import check_word
from .bill import Bill
from .implicit_design import said_before
from .learned import _stream, trajectory_keys
from .replay import Replay, transitions, turn_keys
from .sources import Array, Evidence

Values = Literal["newest", "replay"]
HEADS = ("q", "v", "target_q", "target_v")


@dataclass(frozen=True, eq=False)
class LearnedTwins:
    """Four heads and their targets, the replay buffer, and how many batches they have seen.

    q, v, target_q, target_v: (2, folds + 1, buckets + 2), the last row fitted on everything, column ``buckets`` 0,
    the last one the intercept. baseline: the token baseline of the same shape without the first axis.
    Nothing is said (NaN) while ``updates`` <= ``warmup``.
    """

    q: Float
    v: Float
    target_q: Float
    target_v: Float
    baseline: Float
    replay: Replay
    updates: int
    warmup: int
    bill: Bill

    @property
    def folds(self) -> int:
        return int(self.q.shape[1] - 1)

    @property
    def buckets(self) -> int:
        return int(self.q.shape[2] - 2)

    def evidence(self, batch: Batch) -> Evidence:
        row = self.rows(batch)
        q, v = self.heads(batch, row)
        token = np.zeros(batch.n_tokens)
        if batch.ids is None:  # words of a text do not say which token they are
            token[:] = np.nan
        else:
            at = row[batch.within("token", "trajectory")[batch.action]]
            token[batch.action] = predict(self.baseline, at, _token_features(batch, self.buckets))
        arrays = {"q": q, "v": v, "token_baseline": token}
        if self.updates <= self.warmup:
            arrays = {name: np.full_like(x, np.nan) for name, x in arrays.items()}
        told = {"updates": float(self.updates), "remembered": float(self.replay.size)}
        axis = {"q": "turn", "v": "turn", "token_baseline": "token"}
        bill = Bill(scored=float(batch.action.sum()))
        return Evidence(arrays, axis, bill=bill, provenance="learned", diagnostics=told)  # type: ignore[arg-type]

    def heads(self, batch: Batch, row: Int) -> tuple[Float, Float]:
        """Q1, Q2 and V1, V2 of every turn, (turns, 2) each; row: of the weights, per trajectory."""
        seen, did, _ = turn_keys(batch)
        at = row[batch.within("turn", "trajectory")]
        both = np.concatenate([seen, did], axis=1)
        q = [predict(self.q[c], at, bucketed(both, c, self.buckets)) for c in (0, 1)]
        v = [predict(self.v[c], at, bucketed(seen, c, self.buckets)) for c in (0, 1)]
        return np.stack(q, axis=1), np.stack(v, axis=1)

    def rows(self, batch: Batch) -> Int:
        """Row of the weights for each trajectory: that of its fold where it is remembered, else the last."""
        known, first = np.unique(self.replay.trajectory, return_index=True)
        keys = trajectory_keys(batch)
        at = np.minimum(np.searchsorted(known, keys), known.size - 1)
        return np.where(known[at] == keys, self.replay.fold[first][at], self.folds)

    def save(self) -> dict[str, Array]:
        """Plain arrays, the buffer included; ``LearnedTwins.load(x.save())`` scores and goes on learning the same."""
        heads = {name: getattr(self, name) for name in (*HEADS, "baseline")}
        counts = {"updates": np.array(self.updates), "warmup": np.array(self.warmup)}
        return {**heads, **counts, "bill": np.asarray(list(asdict(self.bill).values())), **self.replay.arrays()}

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> LearnedTwins:
        heads: dict[str, Any] = {name: saved[name] for name in (*HEADS, "baseline")}
        updates, warmup = int(saved["updates"]), int(saved["warmup"])
        return cls(**heads, replay=Replay.of(saved), updates=updates, warmup=warmup, bill=Bill(*saved["bill"].tolist()))


def fit_twins(
    batch: Batch,
    rng: np.random.Generator,
    *,
    state: LearnedTwins | None,
    gamma: float,
    tau: float,
    epochs: int,
    values: Values,
    capacity: int,
    warmup: int,
    folds: int,
    ridge: float,
    buckets: int,
) -> LearnedTwins:
    """Put the batch into the buffer and train on it.

    values: which turns V learns from: those of the "newest" batch, whose actions the current policy drew, or all in the
    "replay" buffer. ridge: penalty in trajectories, as in ``evidence.learned``. The bill counts one training pass
    over the buffer, whatever ``epochs`` is: ours needs no more, and the paper's 50 steps on 256 turns come to about ten
    passes over what an iteration brings.
    """
    check_word(values, Values, "values")
    _check(gamma, tau, epochs, capacity, warmup, folds, ridge, buckets)
    n = batch.n_trajectories
    if state is None and n < 2:
        raise BatchError("one trajectory cannot be held out from itself: fit on at least two, or go on from state=")
    if state is not None and state.buckets != buckets:
        raise OptionError(f"buckets = {buckets}, but what was learned before has {state.buckets}: they must agree")
    folds = min(folds, n) if state is None else state.folds
    part = rng.permutation(n) % folds
    if state is not None:  # a trajectory that comes again stays where it was
        part = np.where(state.rows(batch) < folds, state.rows(batch), part)
    replay = transitions(batch, part, gamma)
    replay = (replay if state is None else state.replay.then(replay)).last(capacity)
    blank = np.zeros((2, folds + 1, buckets + 2))
    heads = {name: np.array(getattr(state, name) if state is not None else blank) for name in HEADS}
    for c in (0, 1):
        _train(replay, c, heads, gamma, tau, epochs, values, ridge, buckets)
    updates = 1 + (state.updates if state is not None else 0)
    trained = float(batch.action.sum()) / batch.n_turns * replay.size
    made = LearnedTwins(**heads, baseline=blank[0], replay=replay, updates=updates, warmup=warmup, bill=Bill(trained=trained))
    fields = {**made.__dict__, "baseline": _token_baseline(batch, made, part, ridge)}
    return LearnedTwins(**fields)


def _check(
    gamma: float, tau: float, epochs: int, capacity: int, warmup: int, folds: int, ridge: float, buckets: int
) -> None:  # fmt: skip
    if not 0 <= gamma <= 1 or not 0 < tau <= 1:
        raise OptionError(f"gamma = {gamma}, tau = {tau}: expected from 0 to 1, and above 0 up to 1")
    if epochs < 1 or capacity < 1 or warmup < 0 or folds < 2 or ridge <= 0 or buckets < 1:
        raise OptionError(
            f"epochs = {epochs}, capacity = {capacity}, warmup = {warmup}, folds = {folds}, ridge = {ridge}, "
            f"buckets = {buckets}: expected at least 1, 1, 0, 2, above 0, at least 1"
        )


def _train(
    replay: Replay, c: int, heads: dict[str, Float], gamma: float, tau: float, epochs: int, values: Values, ridge: float,
    buckets: int,
) -> None:  # fmt: skip
    """Twin ``c`` of every head in place: online heads fitted to the targets, targets moved, ``epochs`` times.

    Both fits are linear in the weights of the target copies, w_q = a + B wbar_v and w_v = D wbar_q: the sums
    over the buffer are made once, and an epoch is two products of a matrix and a vector.
    """
    both = _local(bucketed(np.concatenate([replay.seen, replay.did], axis=1), c, buckets), buckets)
    here, next_ = (_local(bucketed(keys, c, buckets), buckets) for keys in (replay.seen, replay.after))
    q_used, v_used = np.unique(both[both >= 0]), np.unique(np.concatenate([here[here >= 0], next_[next_ >= 0]]))
    both, here, next_ = _among(both, q_used), _among(here, v_used), _among(next_, v_used)
    folds = heads["q"].shape[1] - 1
    Q, V = q_used.size, v_used.size
    one = np.ones(replay.size)
    shared = np.unique(replay.fold[replay.newest]).size > 1  # else a fold would have nothing to learn V from
    now = replay.newest.astype(np.float64) if values == "newest" and shared else one
    on: Float = gamma * replay.goes_on.astype(np.float64)
    qq = products(both, both, one, replay.fold, (folds, Q, Q))
    qn = products(both, next_, on, replay.fold, (folds, Q, V))
    vv = products(here, here, now, replay.fold, (folds, V, V))
    vq = products(here, both, now, replay.fold, (folds, V, Q))
    earned = products(both, np.zeros((replay.size, 1), dtype=np.int64), replay.reward, replay.fold, (folds, Q, 1))
    penalty = [_penalty(replay, ridge, x > 0) for x in (one, now)]
    for k in range(folds + 1):
        others = [f for f in range(folds) if f != k]
        right = np.concatenate([earned[others].sum(axis=0), qn[others].sum(axis=0)], axis=1)
        solved = _solve(qq[others].sum(axis=0), right, penalty[0])
        a, B = solved[:, 0], solved[:, 1:]
        D = _solve(vv[others].sum(axis=0), vq[others].sum(axis=0), penalty[1])
        tq, tv = heads["target_q"][c, k, q_used], heads["target_v"][c, k, v_used]
        for _ in range(epochs):
            wq, wv = a + B @ tv, D @ tq
            tq, tv = (1 - tau) * tq + tau * wq, (1 - tau) * tv + tau * wv
        for name, used, w in (("q", q_used, wq), ("v", v_used, wv), ("target_q", q_used, tq), ("target_v", v_used, tv)):
            heads[name][c, k, used] = w


def _local(features: Int, buckets: int) -> Int:
    """Features with the intercept (column buckets + 1) added, and "nothing there" as -1."""
    with_one = np.concatenate([features, np.full((features.shape[0], 1), buckets + 1)], axis=1)
    return np.where(with_one == buckets, -1, with_one)


def _among(features: Int, used: Int) -> Int:
    return np.where(features >= 0, np.searchsorted(used, features), -1)


def _penalty(replay: Replay, ridge: float, rows: Array) -> float:
    return ridge * float(rows.sum()) / max(np.unique(replay.trajectory[rows]).size, 1)


def _solve(gram: Float, right: Float, penalty: float) -> Float:
    """Ridge regression from its sums; the last column, the intercept, is (all but) not penalised."""
    scale = np.append(np.full(gram.shape[0] - 1, penalty), 1e-9 * penalty)
    return np.asarray(np.linalg.solve(gram + np.diag(scale), right))


def _token_features(batch: Batch, buckets: int) -> Int:
    """Features of the text before each policy token of a turn, (policy tokens, m)."""
    ids, action, _ = _stream(batch, "turn")
    unit = batch.within("token", "turn")
    said = said_before(ids, action, unit)[action]
    seen = turn_keys(batch)[0][unit[action]]
    with_said = [join(said, seen[:, j]) for j in range(seen.shape[1])]
    columns: list[Hash] = [np.where(x == NONE, NONE, mix(x + np.uint64(7))) for x in (said, *with_said)]
    return bucketed(np.stack(columns, axis=1), 2, buckets)


def _token_baseline(batch: Batch, twins: LearnedTwins, part: Int, ridge: float) -> Float:
    """A ridge regression of the turn's advantage on the text before each policy token, (folds + 1, buckets + 2).

    Row k sees neither the texts of fold k nor, in the advantages, heads that were fitted on them.
    """
    buckets, folds = twins.buckets, twins.folds
    if batch.ids is None:
        return np.zeros((folds + 1, buckets + 2))
    seen = _local(_token_features(batch, buckets), buckets)
    used = np.unique(seen[seen >= 0])
    seen = _among(seen, used)
    turn = batch.within("token", "turn")[batch.action]
    fold = part[batch.within("turn", "trajectory")][turn]
    gram = products(seen, seen, np.ones(turn.size), fold, (folds, used.size, used.size))
    penalty = ridge * turn.size / batch.n_trajectories
    weights = np.zeros((folds + 1, buckets + 2))
    for k in range(folds + 1):
        q, v = twins.heads(batch, np.full(batch.n_trajectories, k))
        y = (q.min(axis=1) - v.min(axis=1))[turn]
        zero = np.zeros((turn.size, 1), dtype=np.int64)
        right = products(seen, zero, np.where(fold == k, 0.0, y), np.zeros_like(fold), (1, used.size, 1))[0]
        others = [f for f in range(folds) if f != k]
        weights[k, used] = _solve(gram[others].sum(axis=0), right, penalty)[:, 0]
    return weights
