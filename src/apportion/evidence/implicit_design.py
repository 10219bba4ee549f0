"""Where a token was chosen and what else the batch shows there: what an implicit reward model reads (:mod:`.implicit`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..batch import Batch
from ..ops.features import mix
from ..ops.scans import first_active
from ..ops.suffixes import bucketed, suffix_keys
from ..structure import Bool, Float, Int
from ..words import Axis
from .learned import features
from .sources import Array

Reference = Literal["frozen", "policy"]
Texts = Literal["run", "suffix"]

#: A hash per trajectory, and whether each token is what it suggests.
Told = tuple[Array, Bool]
_AGREES = 0x5DEECE66D

#: How many policy tokens of its own unit a slot remembers.
WINDOW = 2


@dataclass(frozen=True, eq=False)
class Slots:
    """The policy tokens of a batch whose choice was open, and the distinct (slot, token) pairs they fall into.

    token, owner, pair, p: per open token its index, its trajectory, its pair and the reference's probability.
    slot, share, seen: per pair its slot, the reference's mean probability of its token there, and its features
    (pairs, m), bucket numbers. n_slots: how many slots there are.
    """

    token: Int
    owner: Int
    pair: Int
    p: Float
    slot: Int
    share: Float
    seen: Int
    n_slots: int

    def forward(self, theta: Float) -> tuple[Float, Float, Float, Float]:
        """log pi/pi_ref of every open token; its pi; and, per pair, its share of and the mass of a slot's others.

        Z = p e^g + (1 - p) W, where W is the mean of e^g over the slot's other alternatives, the unseen ones at e^0.
        """
        g = theta[self.seen].sum(axis=1)
        top = np.zeros(self.n_slots)  # the unseen rest has g = 0
        np.maximum.at(top, self.slot, g)
        height = top[self.slot]
        e = np.exp(g - height)
        known = np.bincount(self.slot, weights=self.share, minlength=self.n_slots)
        rest = np.maximum(1.0 - known, 0.0)
        mass = self.share * e
        total = (np.bincount(self.slot, weights=mass, minlength=self.n_slots) + rest * np.exp(-top))[self.slot]
        size = (known + rest)[self.slot] - self.share
        others = np.where(size > 1e-12, np.maximum(total - mass, 0.0), 0.0)
        w = np.where(size > 1e-12, others / np.maximum(size, 1e-12), e)  # nothing else is possible: no change
        z = self.p * e[self.pair] + (1.0 - self.p) * w[self.pair]
        ratio = (g - height)[self.pair] - np.log(np.maximum(z, 1e-300))
        return ratio, self.p * e[self.pair] / np.maximum(z, 1e-300), mass, others

    def log_ratio(self, theta: Float) -> Float:
        return self.forward(theta)[0]

    def gradient(self, a: Float, pi: Float, mass: Float, others: Float, size: int) -> Float:
        """sum_t a_t d(log-ratio_t)/d theta, shape (size,)."""
        own = np.where(others > 0, np.bincount(self.pair, weights=a * (1.0 - pi), minlength=mass.size), 0.0)
        pull = np.where(others > 0, own / np.where(others > 0, others, 1.0), 0.0)
        around = np.bincount(self.slot, weights=pull, minlength=self.n_slots)[self.slot] - pull
        dg = own - mass * around
        m = self.seen.shape[1]
        return np.bincount(self.seen.ravel(), weights=np.repeat(dg, m), minlength=size).astype(np.float64)


def slots(
    batch: Batch, axis: Axis, buckets: int, reference: Reference, texts: Texts = "run", told: Told | None = None
) -> Slots:  # fmt: skip
    """The slots of a batch; those where the reference had no doubt (probability 1) are left out.

    texts: what stands for the text before a unit: the last "run" of observation tokens (``evidence.learned``), or the
    "suffix" of all that stands there, which is the same for a turn and for the same words as one context.
    told: what else the model knows: one hash per trajectory, (N,), texts with different ones being different slots; and
    whether each token is what that suggests, (T,), one more feature of the token, the same wherever it stands.
    """
    ids = batch.need("ids", "to learn an implicit reward from")
    logp = reference_logp(batch, reference, "as the reference of an implicit reward model")
    unit = batch.within("token", axis)
    token = np.flatnonzero(batch.action & (logp < -1e-9))
    before = _before(batch, axis, texts)[unit[token]]
    said = said_before(ids, batch.action, unit)[token]
    word = mix(ids[token])
    where = mix(np.bitwise_xor.reduce(_salted(before), axis=1) + said)
    if told is not None:
        where = mix(where + told[0][batch.within("token", "trajectory")[token]])
    what = mix(where + word)
    _, first, pair = np.unique(what, return_index=True, return_inverse=True)
    slot = np.unique(where[first], return_inverse=True)[1]
    p = np.exp(np.minimum(logp[token], 0.0))
    share = np.bincount(pair, weights=p) / np.bincount(pair)
    held = mix(said + word)[first]
    seen = (mix(_salted(before[first]) + held[:, None]) % np.uint64(buckets)).astype(np.int64)
    seen = np.where(before[first] == 2**40, buckets, seen)  # nothing there: the column without weight
    alone = (held % np.uint64(buckets)).astype(np.int64)
    seen = np.concatenate([seen, alone[:, None]], axis=1)
    if told is not None:
        agrees = np.where(told[1][token[first]], _AGREES % buckets, buckets)
        seen = np.concatenate([seen, agrees[:, None]], axis=1)
    n_slots = int(slot.max()) + 1 if slot.size else 0
    return Slots(token, batch.within("token", "trajectory")[token], pair, p, slot, share, seen, n_slots)


def _before(batch: Batch, axis: Axis, texts: Texts) -> Int:
    """Features of the text before each unit, (units, m), ``2**40`` where nothing is."""
    if texts == "run":
        return features(batch, axis, buckets=2**40, actions=0)
    starts = batch.offsets("trajectory")[:-1][batch.within(axis, "trajectory")]
    ends = first_active(batch.action, batch.offsets(axis))
    return bucketed(suffix_keys(mix(batch.need("ids")), starts, ends), 0, 2**40)


def _salted(before: Int) -> Any:
    """Features told apart by their column, and mixed."""
    salt = mix(np.arange(1, before.shape[1] + 1))
    return mix(before.astype(np.uint64) + salt[None, :])


def said_before(ids: Int, action: Bool, unit: Int) -> Any:
    """Hash of the last ``WINDOW`` policy tokens of the same unit before each token, and how many there were."""
    where = np.flatnonzero(action)
    word, owner = mix(ids[where]), unit[where]
    said = np.zeros(where.size, dtype=np.uint64)
    for back in range(1, WINDOW + 1):
        same = np.zeros(where.size, dtype=np.bool_)
        same[back:] = owner[back:] == owner[:-back]
        earlier = np.zeros(where.size, dtype=np.uint64)
        earlier[back:] = mix(word[:-back] + np.uint64(back))
        said = mix(said + np.where(same, earlier, np.uint64(0)))
    out = np.zeros(action.size, dtype=np.uint64)
    out[where] = said
    return out


def reference_logp(batch: Batch, reference: Reference, why: str) -> Float:
    """Column ``ref_logp`` (the frozen start) or ``logp`` (the policy that sampled)."""
    column: Float = batch.need("ref_logp" if reference == "frozen" else "logp", why)
    return column
