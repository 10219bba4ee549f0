"""A critic that is told what the policy is not: an implicit reward model that also reads a text known in training only.

The text c of a trajectory (a reference solution) is a sequence of token ids. The model of :mod:`.implicit`
reads it as a copying reader would: a token *agrees* where c goes on like that after a word that stands just
before it (and once in c). Agreement is one feature more, the same everywhere: how far to trust c is
learned from outcomes, like all the rest. Without texts it is the model without privilege.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..ops.features import mix, sequence_hash
from ..structure import Bool, Float, Int
from ..words import Axis, check_word
from .bill import Bill
from .implicit import LearnedImplicit, Pairs, fit_implicit, pairs_of
from .implicit_design import Reference, Told, reference_logp
from .sources import Array, Evidence

Mean = Literal["turn", "trajectory", "none"]
Pairing = Literal["best", "all"]

#: How many tokens back a word of c is looked for, and how far c is followed after it.
BACK, REACH = 6, 4


@dataclass(frozen=True, eq=False)
class Texts:
    """What is known of each trajectory by name: ``tokens[offsets[i]:offsets[i + 1]]`` of ``names[i]``."""

    names: Array
    offsets: Int
    tokens: Int

    @classmethod
    def of(cls, batch: Batch, privileged: Sequence[Sequence[int] | None]) -> Texts:
        if len(privileged) != batch.n_trajectories:
            raise OptionError(f"privileged has {len(privileged)} entries, expected {batch.n_trajectories}: one per trajectory")
        lengths = [0 if text is None else len(text) for text in privileged]
        tokens = [int(t) for text in privileged for t in (text or ())]
        names = np.asarray([str(name) for name in batch.trajectory.to_list()])
        return cls(names, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))), np.asarray(tokens, dtype=np.int64))

    def rows(self, batch: Batch) -> Int:
        """Which text each trajectory has, -1 for none: its own, or that of the one whose turn it answers anew."""
        known = {name: i for i, name in enumerate(self.names.tolist())}
        own = [str(name) for name in batch.trajectory.to_list()]
        groups = own if batch.group is None else [str(name).rpartition("@")[0] for name in batch.group.to_list()]
        return np.asarray([known.get(a, known.get(b, -1)) for a, b in zip(own, groups, strict=True)], dtype=np.int64)

    def told(self, batch: Batch, axis: Axis) -> Told:
        """A hash of each trajectory's text, and which tokens agree with it."""
        row = self.rows(batch)
        some = np.flatnonzero(np.diff(self.offsets))
        code = np.zeros(self.names.size + 1, dtype=np.uint64)  # the last one: no text
        if some.size:
            code[some] = sequence_hash(mix(self.tokens), np.append(self.offsets[some], self.offsets[-1]))
        mine = code[row]
        keys = _continuations(code, self.offsets, self.tokens, some)
        return mine, _agrees(batch, axis, mine[batch.within("token", "trajectory")], keys)


def _continuations(code: Array, offsets: Int, tokens: Int, some: Int) -> Array:
    """Keys (text, word that stands there once, how far after it, what stands there) of all texts."""
    found = []
    for i in some[np.unique(code[some], return_index=True)[1]]:
        text = tokens[offsets[i] : offsets[i + 1]]
        _, where, times = np.unique(text, return_index=True, return_counts=True)
        for far in range(REACH):
            at = where[(times == 1) & (where + far + 1 < text.size)]
            found.append(_key(code[i], text[at], far, text[at + far + 1]))
    return np.concatenate(found) if found else np.zeros(0, dtype=np.uint64)


def _agrees(batch: Batch, axis: Axis, code: Array, keys: Array) -> Bool:
    ids = batch.need("ids", "to compare with privileged texts")
    token = np.flatnonzero(batch.action & (code != 0))
    unit = batch.offsets(axis)[:-1][batch.within("token", axis)[token]]
    begin = batch.offsets("trajectory")[:-1][batch.within("token", "trajectory")[token]]
    said = np.concatenate(([0], np.cumsum(batch.action)))
    out = np.zeros(batch.n_tokens, dtype=np.bool_)
    for back in range(1, BACK + 1):
        word = np.maximum(token - back, 0)
        far = said[token] - np.maximum(said[word + 1], said[unit])  # words of this unit in between
        key = _key(code[token], ids[word], far, ids[token])
        out[token] |= (token - back >= begin) & np.isin(key, keys)
    return out


def _key(code: Any, word: Int, far: Any, then: Int) -> Any:
    return mix(mix(mix(mix(word) + code) + np.asarray(far).astype(np.uint64)) + mix(then))


@dataclass(frozen=True, eq=False)
class LearnedCritic:
    """The critic: evidence ``critic_logp``, and ``seed_logp`` of the policy it started from."""

    model: LearnedImplicit
    texts: Texts | None
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        base = reference_logp(batch, self.model.reference, "as the critic's seed")
        told = None if self.texts is None else self.texts.told(batch, self.model.axis)
        ratio = self.model.log_ratio(batch, told)
        arrays = {
            "critic_logp": np.where(batch.action, np.minimum(base + ratio, 0.0), 0.0),
            "seed_logp": np.where(batch.action, base, 0.0),
        }
        axis: dict[str, Axis] = {"critic_logp": "token", "seed_logp": "token"}
        diagnostics = {"examples": float(self.model.examples)}
        if self.texts is not None:
            diagnostics["told"] = float((self.texts.rows(batch) >= 0).mean())
        bill = Bill(scored=2.0 * float(batch.action.sum()))
        return Evidence(arrays, axis, bill, "learned" if self.texts is None else "privileged", diagnostics=diagnostics)

    def with_texts(self, batch: Batch, privileged: Sequence[Sequence[int] | None]) -> LearnedCritic:
        """The same critic, told of another batch's texts."""
        return LearnedCritic(self.model, Texts.of(batch, privileged), self.bill)

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``LearnedCritic.load(x.save())`` scores the same, bit for bit."""
        saved = {f"model.{name}": array for name, array in self.model.save().items()}
        saved["bill"] = np.asarray(list(asdict(self.bill).values()))
        if self.texts is not None:
            saved |= {f"texts.{name}": array for name, array in self.texts.__dict__.items()}
        return saved

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> LearnedCritic:
        def part(name: str) -> dict[str, Array]:
            return {key.removeprefix(f"{name}."): array for key, array in saved.items() if key.startswith(f"{name}.")}

        texts = Texts(**part("texts")) if "texts.names" in saved else None
        return cls(LearnedImplicit.load(part("model")), texts, Bill(*saved["bill"].tolist()))


def fit_critic(
    batch: Batch,
    rng: np.random.Generator,
    *,
    state: LearnedCritic | None,
    privileged: Sequence[Sequence[int] | None] | None,
    mean: Mean,
    pairing: Pairing,
    at_least: float | None,
    beta: float,
    base: Reference,
    folds: int,
    ridge: float,
    buckets: int,
    steps: int,
) -> LearnedCritic:
    """Bradley-Terry on trajectories of a task: the better one's turns should have the larger sum of mean log-ratios."""
    check_word(pairing, Pairing, "pairing")
    texts = None if privileged is None else Texts.of(batch, privileged)
    axis: Axis = "turn" if batch.step_offsets is None else "step"
    model = fit_implicit(
        batch, "critic_logp", rng, labels=None, beta=beta, reference=base, folds=folds, ridge=ridge, buckets=buckets,
        steps=steps, pairs=best_pairs(batch, at_least) if pairing == "best" else pairs_of(batch),
        share=shares(batch, mean), state=None if state is None else state.model, texts="suffix", together="group",
        told=None if texts is None else texts.told(batch, axis),
    )  # fmt: skip
    return LearnedCritic(model, texts, model.bill)


def shares(batch: Batch, mean: Mean) -> Float:
    """What each policy token's log-ratio counts: 1 over those of its turn or trajectory, or 1; (T,)."""
    check_word(mean, Mean, "mean")
    if mean == "none":
        return batch.action.astype(np.float64)
    share: Float = batch.action / batch.action_count(mean)[batch.within("token", mean)]
    return share


def best_pairs(batch: Batch, at_least: float | None) -> Pairs:
    """(best, worse) of every prompt whose best reward is ``at_least`` that: the first of equals, and all strictly worse.

    A prompt's pairs weigh together half its rollouts, as in ``implicit.pairs_of``.
    """
    over, reward = batch.within("trajectory", "group"), batch.reward
    order = np.lexsort((np.arange(reward.size), -reward, over))
    best = np.full(int(over.max()) + 1, -1)
    best[over[order][::-1]] = order[::-1]  # from the last to the first: the best, the first of equals, stays
    down = np.flatnonzero(reward < reward[best][over])
    if at_least is not None:
        down = down[reward[best][over[down]] >= at_least]
    size, count = np.bincount(over), np.bincount(over[down], minlength=best.size)
    return best[over[down]], down, size[over[down]] / (2.0 * count[over[down]])
