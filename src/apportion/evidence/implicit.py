"""Implicit reward models: a policy learned from outcomes alone, whose log-ratio to its reference is the reward.

A log-linear policy over the tokens the batch itself shows as alternatives,

    pi(v | s) = pi_ref(v | s) exp(g(s, v)) / Z(s),      g(s, v) = sum_j theta[feature_j(s, v)],

is trained on whole responses: sigmoid(beta sum_t log pi/pi_ref) should be the outcome (binary cross-
entropy), or higher for the chosen one of a pair (Bradley-Terry). It stands in for the language model
that PRIME, ITPO and DPO train: small, deterministic, learned from the batch alone.

It reads token ids, the action mask, the reference's log-probabilities, rewards and (for pairs) groups; never
state keys. A slot s is what was seen before its unit and the ``WINDOW`` policy tokens before it. Its vocabulary
is what the batch shows there; the rest of the reference's mass is one further alternative with g = 0, so that pi
is normalised exactly, and a token the reference was sure of gets 0.

Learning can go on from batch to batch: the weights then start from, and are drawn to, those of before.

Cross-fitting is as in ``evidence.learned``: a trajectory the model was fitted on is scored by weights of
a fold it was not in, or by what was known before it (``update="after"``). Which tokens stand where (not how
anything ended) is taken from the batch being scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from ..batch import Batch
from ..errors import BatchError, OptionError
from ..ops.lbfgs import minimise
from ..structure import Bool, Float, Int
from ..words import Axis, check_word
from .bill import Bill
from .implicit_design import Reference, Slots, Texts, Told, reference_logp, slots
from .learned import trajectory_keys
from .sources import Array, Evidence

Update = Literal["before", "after", "none"]

#: Winners, losers and weights.
Pairs = tuple[Int, Int, Float]


@dataclass(frozen=True, eq=False)
class LearnedImplicit:
    """The policy of each fold, and where its log-probabilities are wanted.

    name: the evidence it leaves, one log-probability per token. weights: theta of each fold, the last row
    fitted on everything, the last column 0, shape (folds + 1, buckets + 1), in units of 1 / beta. keys
    (sorted) and fold: which trajectories it was fitted on, and where they were held out. examples: how many
    rollouts or pairs it learned from; none leaves the policy at its reference, and ``diagnostics`` says so.
    """

    name: str
    reference: Reference
    axis: Axis
    beta: float
    weights: Float
    keys: Array
    fold: Int
    examples: int
    bill: Bill
    texts: Texts = "run"

    def evidence(self, batch: Batch) -> Evidence:
        base = reference_logp(batch, self.reference, "to score with an implicit reward model")
        ratio = self.log_ratio(batch)
        # one pass of the model, and one of a reference that nobody has run yet
        bill = Bill(scored=float(batch.action.sum()) * (2.0 if self.reference == "frozen" else 1.0))
        logp = np.where(batch.action, np.minimum(base + ratio, 0.0), 0.0)
        told = {"examples": float(self.examples)}
        return Evidence({self.name: logp}, {self.name: "token"}, bill=bill, provenance="learned", diagnostics=told)

    def log_ratio(self, batch: Batch, told: Told | None = None) -> Float:
        """log pi/pi_ref of every token, shape (T,); 0 on observation tokens. told: as for :func:`slots`."""
        table = slots(batch, self.axis, self.weights.shape[1] - 1, self.reference, self.texts, told)
        keys = trajectory_keys(batch)
        at = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
        row = np.where(self.keys[at] == keys, self.fold[at], self.weights.shape[0] - 1)[table.owner]
        out = np.zeros(batch.n_tokens)
        for k in np.unique(row):
            here = row == k
            out[table.token[here]] = table.log_ratio(self.weights[k] / self.beta)[here]
        return out

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``LearnedImplicit.load(x.save())`` scores the same, bit for bit."""
        about = np.array([self.name, self.reference, self.axis, self.texts])
        numbers = {"beta": np.array(self.beta), "examples": np.array(self.examples)}
        bill = np.asarray(list(asdict(self.bill).values()))
        return {"about": about, **numbers, "weights": self.weights, "keys": self.keys, "fold": self.fold, "bill": bill}

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> LearnedImplicit:
        name, reference, axis, texts = saved["about"].tolist()
        bill = Bill(*saved["bill"].tolist())
        kept = {n: saved[n] for n in ("weights", "keys", "fold")}
        return cls(
            name, reference, axis, beta=float(saved["beta"]), **kept, examples=int(saved["examples"]), bill=bill, texts=texts
        )


def fit_implicit(
    batch: Batch,
    name: str,
    rng: np.random.Generator,
    *,
    labels: Float | None,
    beta: float,
    reference: Reference,
    folds: int,
    ridge: float,
    buckets: int,
    steps: int,
    pairs: Pairs | None = None,
    share: Float | None = None,
    offset: Float | None = None,
    state: LearnedImplicit | None = None,
    update: Update = "before",
    together: Axis = "trajectory",
    texts: Texts = "run",
    told: Told | None = None,
) -> LearnedImplicit:
    """Train on outcomes (``labels`` in [0, 1], one per trajectory), or on pairs: all of solved/unsolved of a prompt (None).

    pairs: other ones. share: what each token's log-ratio counts in the sum of its trajectory, (T,), default 1. offset: what
    is added to that sum before beta, (N,). texts, told: see :func:`slots`.
    state: what was learned before; the penalty is on what changes. update: how the trajectories of this batch are
    scored: "before", by the update, with weights of a fold they were not in; "after", by what was known until now;
    "none" learns nothing. together: what is held out at once; the "group" where rewards of one rollout decide which pairs
    the others are in.
    beta: what the summed log-ratio is multiplied by. folds: held-out parts, drawn by trajectory. ridge: penalty in
    *trajectories*, as in ``evidence.learned.fit_linear``. steps: how often L-BFGS may move. The bill counts one
    training pass over what was trained on, as the papers make; our few steps stand for it.
    """
    check_word(reference, Reference, "reference")
    n = batch.n_trajectories
    if n < 2:
        raise BatchError(
            "one trajectory cannot be held out from itself: fit on at least two, or pass learned= from another batch"
        )
    if folds < 2 or ridge <= 0 or buckets < 1 or steps < 1 or beta <= 0:
        raise OptionError(
            f"folds = {folds}, ridge = {ridge}, buckets = {buckets}, steps = {steps}, beta = {beta}: "
            "expected at least 2, above 0, at least 1, at least 1, above 0"
        )
    check_word(update, Update, "update")
    if state is not None and state.weights.shape[1] != buckets + 1:
        raise OptionError(f"buckets = {buckets}, but what was learned before has {state.weights.shape[1] - 1}: they must agree")
    axis: Axis = "turn" if batch.step_offsets is None else "step"
    table = slots(batch, axis, buckets, reference, texts, told)
    units = batch.count(together)
    if units < 2:  # one prompt: its own trajectories are held out from one another
        together, units = "trajectory", n
    folds = min(folds, units) if update == "before" else 1
    part = (rng.permutation(units) % folds)[batch.within("trajectory", together)]
    if labels is None and pairs is None:
        pairs = pairs_of(batch)
    old = np.zeros(buckets + 1) if state is None else state.weights[-1]
    weights = np.tile(old, (folds + 1, 1))
    sums = np.zeros(n) if offset is None else offset
    share = np.ones(batch.n_tokens) if share is None else share
    for k in range(folds + 1):
        if update == "before" or (update == "after" and k == folds):
            weights[k] = _train(table, share, sums, old, labels, pairs, part != k, beta, ridge, steps)
    keys = trajectory_keys(batch)
    order = np.argsort(keys)
    used = np.ones(n, dtype=np.bool_)
    if pairs is not None:
        used = np.isin(np.arange(n), np.concatenate(pairs[:2]))
    trained = float(batch.action_count("trajectory")[used].sum()) if update != "none" else 0.0
    bill = Bill(trained=trained, scored=trained if reference == "frozen" else 0.0)
    examples = n if pairs is None else pairs[0].size
    return LearnedImplicit(name, reference, axis, beta, weights, keys[order], part[order], examples, bill, texts)


def pairs_of(batch: Batch) -> Pairs:
    """All (solved, unsolved) pairs of every prompt, and weights that make a prompt's add up to half its rollouts."""
    over, solved = batch.within("trajectory", "group"), batch.solved
    chosen: list[Int] = []
    rejected: list[Int] = []
    order = np.argsort(over, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(over[order])) + 1):
        good, bad = members[solved[members]], members[~solved[members]]
        chosen.append(np.repeat(good, bad.size))
        rejected.append(np.tile(bad, good.size))
    up, down = np.concatenate(chosen), np.concatenate(rejected)
    count = np.bincount(over[up], minlength=int(over.max()) + 1)
    weight = np.bincount(over)[over[up]] / (2.0 * count[over[up]])
    return up, down, weight


def log_ratio(batch: Batch, logp: Float, name: str, reference: Reference) -> Float:
    """``logp`` less the reference's at every policy token, 0 elsewhere; refuses nulls and positive values by index."""
    check_word(reference, Reference, "reference")
    base = reference_logp(batch, reference, f"to compare '{name}' with")
    return log_ratio_to(batch, logp, name, base, "ref_logp" if reference == "frozen" else "logp")


def log_ratio_to(batch: Batch, logp: Float, name: str, base: Float | None, base_name: str) -> Float:
    """``logp`` less ``base`` at every policy token, 0 elsewhere; refuses nulls and positive values by index."""
    if base is None:
        raise OptionError(f"evidence '{base_name}' is missing: give one per token")
    for told, array in ((name, logp), (base_name, base)):
        bad = batch.action & ~(array <= 1e-3)
        if bad.any():
            i = int(np.argmax(bad))
            raise OptionError(
                f"evidence '{told}'[{i}] = {array[i]:g}: expected a log-probability, at most 0, at every policy token"
            )
    return np.where(batch.action, logp - base, 0.0)


# --- training ------------------------------------------------------------------------------------------------


def _train(
    table: Slots,
    share: Float,
    offset: Float,
    old: Float,
    labels: Float | None,
    pairs: Pairs | None,
    kept: Bool,
    beta: float,
    ridge: float,
    steps: int,
) -> Float:
    """theta times beta (a scale that does not hang on beta), fitted on the kept trajectories, shape (buckets + 1,)."""
    n, buckets = offset.size, old.size - 1
    counts = share[table.token]
    used, place = np.unique(table.seen, return_inverse=True)  # only what occurs is searched over
    small = replace(table, seen=place.reshape(table.seen.shape))
    free = used != buckets  # "nothing there" carries no weight
    prior = old[used]

    def loss(x: Float) -> tuple[float, Float]:
        ratio, pi, mass, others = small.forward(x / beta)
        total = np.bincount(table.owner, weights=counts * ratio, minlength=n) + offset
        score: Float = np.asarray(beta * total, dtype=np.float64)
        value, slope = _cross_entropy(score, labels, kept) if pairs is None else _bradley_terry(score, pairs, kept)
        g = small.gradient(counts * slope[table.owner], pi, mass, others, used.size)
        moved = x - prior
        return value + ridge / 8.0 * float(moved @ moved), np.where(free, g + ridge / 4.0 * moved, 0.0)

    theta: Float = old.copy()
    theta[used] = minimise(loss, prior, steps=steps)
    return theta


def _cross_entropy(score: Float, labels: Float | None, kept: Bool) -> tuple[float, Float]:
    """Sum of the kept trajectories' cross-entropies of sigmoid(score), and its slope in every score."""
    y = np.zeros(score.size) if labels is None else labels
    value = np.logaddexp(0.0, score) - y * score
    return float(value[kept].sum()), np.where(kept, _sigmoid(score) - y, 0.0)


def _bradley_terry(score: Float, pairs: Pairs, kept: Bool) -> tuple[float, Float]:
    """Weighted sum of -log sigmoid(chosen - rejected) over pairs that are both kept, and its slope in every score."""
    up, down, weight = pairs
    weight = np.where(kept[up] & kept[down], weight, 0.0)
    margin = score[up] - score[down]
    pull = weight * _sigmoid(-margin)
    slope = np.bincount(down, weights=pull, minlength=score.size) - np.bincount(up, weights=pull, minlength=score.size)
    return float((weight * np.logaddexp(0.0, -margin)).sum()), np.asarray(slope, dtype=np.float64)


def _sigmoid(x: Float) -> Float:
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)), dtype=np.float64)
