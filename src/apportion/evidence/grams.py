"""Strategic n-grams: runs of tokens that many solved answers share, mined once and matched anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..batch import Batch
from ..errors import BatchError, OptionError
from ..ops.features import Hash, join, mix
from ..structure import Bool, Float, Int
from .bill import Bill
from .learned import _evidence, trajectory_keys
from .sources import Array, Evidence

#: Groups n-grams that mean the same: tuples of token ids in, one label each out.
Cluster = Callable[[Sequence[tuple[int, ...]]], Iterable[int]]


@dataclass(frozen=True, eq=False)
class Grams:
    """Which n-grams mark planning: evidence ``planning``, 1 on policy tokens inside any match, else 0.

    hashes (sorted, uint64) and length: of each n-gram. fold (folds + 1, n-grams): which of them were found
    without that fold's answers; the last row is all. keys (sorted) and part: the trajectories mined and their folds:
    each is matched with what the *other* folds share, any other trajectory with all.
    """

    hashes: Hash
    length: Int
    fold: Bool
    keys: Array
    part: Int
    bill: Bill

    def mask(self, batch: Batch) -> Bool:
        """Policy tokens inside a match, shape (tokens,); a match lies within a run of policy tokens of one trajectory."""
        ids = batch.need("ids", "to match n-grams")
        row = np.full(batch.n_trajectories, self.fold.shape[0] - 1)
        if self.keys.size:
            keys = trajectory_keys(batch)
            at = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
            row = np.where(self.keys[at] == keys, self.part[at], row)
        inside = np.zeros(batch.n_tokens + 1, dtype=np.int64)
        for n in np.unique(self.length).tolist():
            start, hashed = windows(batch, ids, n)
            own = np.flatnonzero(self.length == n)
            at = np.minimum(np.searchsorted(self.hashes[own], hashed), own.size - 1)
            found = self.hashes[own][at] == hashed
            found &= self.fold[row[batch.within("token", "trajectory")[start]], own[at]]
            inside += np.bincount(start[found], minlength=inside.size)
            inside -= np.bincount(start[found] + n, minlength=inside.size)
        covered: Bool = np.cumsum(inside[:-1]) > 0
        return covered

    def evidence(self, batch: Batch) -> Evidence:
        return _evidence("planning", self.mask(batch).astype(np.float64), "token", Bill())

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``Grams.load(x.save())`` matches the same, bit for bit."""
        named = {k: v for k, v in self.__dict__.items() if k != "bill"}
        return {**named, "bill": np.asarray(list(asdict(self.bill).values()))}

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> Grams:
        arrays: dict[str, Any] = {k: v for k, v in saved.items() if k != "bill"}
        return cls(**arrays, bill=Bill(*saved["bill"].tolist()))

    @classmethod
    def of(cls, phrases: Iterable[Sequence[int]]) -> Grams:
        """N-grams from a list of token-id sequences, any length: a hand-made or an offline mined list."""
        given = sorted({(len(p), int(_hash(p))) for p in phrases if len(p)})
        if not given:
            raise OptionError("phrases: expected at least one non-empty sequence of token ids")
        length = np.asarray([n for n, _ in given], dtype=np.int64)
        hashes = np.asarray([h for _, h in given], dtype=np.uint64)
        none = np.zeros(0, dtype=np.int64)
        return cls(
            hashes.astype(np.uint64), length, np.ones((1, length.size), dtype=np.bool_), none.astype(np.uint64), none, Bill()
        )


def windows(batch: Batch, ids: Int, n: int) -> tuple[Int, Hash]:
    """First token and hash of every run of ``n`` policy tokens that stand next to each other in one trajectory."""
    last = batch.n_tokens - n + 1
    if last < 1:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
    action = np.concatenate(([0], np.cumsum(batch.action)))
    trajectory = batch.within("token", "trajectory")
    whole = (action[n:] - action[:last] == n) & (trajectory[:last] == trajectory[n - 1 :])
    start = np.flatnonzero(whole)
    hashed = mix(ids)
    return start, join(*(hashed[start + j] for j in range(n)))


def _hash(phrase: Sequence[int]) -> int:
    hashed = mix(np.asarray(phrase, dtype=np.int64))
    return int(join(*hashed[:, None])[0])


def mine(
    batch: Batch,
    rng: np.random.Generator,
    *,
    lengths: tuple[int, int],
    top: float,
    least: int,
    folds: int,
    cluster: Cluster | None,
) -> Grams:
    """N-grams of the most documented clusters of the batch's solved answers.

        CDF(c) = number of solved answers that hold any n-gram of cluster c;  keep c with CDF >= its (1 - top) quantile

    lengths: shortest and longest n. least: n-grams in fewer solved answers are not looked at (nearly all
    are found once, and a quantile among those would keep everything). cluster: None, each n-gram is its own.
    folds: answers are mined without their own fold, and matched with what the other folds gave.
    """
    low, high = lengths
    if not 1 <= low <= high:
        raise OptionError(f"lengths = {lengths}: expected 1 <= shortest <= longest")
    if not 0 < top <= 1:
        raise OptionError(f"top = {top}: expected a share above 0")
    if least < 1 or folds < 2:
        raise OptionError(f"least = {least}, folds = {folds}: expected at least 1 answer and 2 folds")
    if batch.n_trajectories < 2:
        raise BatchError("one answer cannot be held out from itself: mine at least two, or pass learned= from another batch")
    ids = batch.need("ids", "to mine n-grams")
    folds = min(folds, batch.n_trajectories)
    part = rng.permutation(batch.n_trajectories) % folds
    start, hashed, length = _solved_windows(batch, ids, low, high)
    known, where, gram = np.unique(_with_length(hashed, length), return_index=True, return_inverse=True)
    answer = batch.within("token", "trajectory")[start]
    kept = _recurring(gram, answer, known.size, least)
    label = np.full(known.size, -1, dtype=np.int64)
    label[kept] = _labels(ids, start[where[kept]], length[where[kept]], cluster)
    chosen = np.zeros((folds + 1, known.size), dtype=np.bool_)
    for f in range(folds + 1):
        seen = part[answer] != f
        chosen[f] = _chosen(gram[seen], answer[seen], label, known.size, least, top)
    any_ = np.flatnonzero(chosen.any(axis=0))
    order = any_[np.lexsort((hashed[where[any_]], length[where[any_]]))]
    keys = trajectory_keys(batch)
    by_key = np.argsort(keys)
    return Grams(
        hashed[where[order]], length[where[order]], chosen[:, order], keys[by_key], part[by_key],
        Bill(trained=float(batch.action.sum())),
    )  # fmt: skip


def _solved_windows(batch: Batch, ids: Int, low: int, high: int) -> tuple[Int, Hash, Int]:
    solved = batch.solved[batch.within("token", "trajectory")]
    starts, hashes, lengths = [], [], []
    for n in range(low, high + 1):
        start, hashed = windows(batch, ids, n)
        own = solved[start]
        starts.append(start[own])
        hashes.append(hashed[own])
        lengths.append(np.full(int(own.sum()), n))
    return np.concatenate(starts), np.concatenate(hashes), np.concatenate(lengths).astype(np.int64)


def _with_length(hashed: Hash, length: Int) -> Hash:
    return mix(hashed + length.astype(np.uint64))


def _documents(group: Int, answer: Int, n: int) -> Int:
    """In how many different answers each group occurs, shape (n,)."""
    if not group.size:
        return np.zeros(n, dtype=np.int64)
    width = int(answer.max()) + 1
    pairs = np.unique(group * width + answer)
    return np.bincount(pairs // width, minlength=n)


def _recurring(gram: Int, answer: Int, n: int, least: int) -> Int:
    return np.flatnonzero(_documents(gram, answer, n) >= least)


def _labels(ids: Int, start: Int, length: Int, cluster: Cluster | None) -> Int:
    if cluster is None:
        return np.arange(start.size)
    grams = [tuple(ids[a : a + n].tolist()) for a, n in zip(start.tolist(), length.tolist(), strict=True)]
    label = np.asarray(list(cluster(grams)))
    if label.shape != (len(grams),):
        raise OptionError(
            f"cluster returned {label.shape[0] if label.ndim else 'no'} labels, expected {len(grams)}: one per n-gram"
        )
    found: Int = np.unique(label, return_inverse=True)[1].astype(np.int64)
    return found


def _chosen(gram: Int, answer: Int, label: Int, n: int, least: int, top: float) -> Bool:
    """N-grams of the clusters whose document frequency is in the upper ``top``."""
    usable = (label >= 0) & (_documents(gram, answer, n) >= least)
    if not usable.any():
        return usable
    own = usable[gram]
    frequency: Float = _documents(label[gram[own]], answer[own], int(label.max()) + 1).astype(np.float64)
    there = np.unique(label[usable])
    frequent = frequency >= np.quantile(frequency[there], 1.0 - top)
    chosen: Bool = usable & frequent[label]
    return chosen
