"""A language model asked about tokens it wrote: their log-probabilities, also under another context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ...words import Axis, Provenance
from ..bill import Bill
from ..sources import Array, Asked
from .prefix import Prefix
from .scoring import Watch, token_logp


@dataclass(frozen=True, eq=False)
class HFPolicy:
    """Asks ``model`` about the batch's token ids; see :class:`apportion.evidence.Policy` and ``Answerer``.

    tokenizer: for texts that are put into the context. answers: the reference answer of each trajectory, as text or token
    ids, for ``answer_logp``. max_tokens: of one batch. The first token of a trajectory has no context and scores 0.
    """

    model: Any
    tokenizer: Any = None
    answers: Sequence[str | Sequence[int]] | None = None
    max_tokens: int = 8192
    watch: Watch | None = None
    provenance: Provenance = "model_judgement"

    def logp(self, batch: Batch, rng: np.random.Generator, *, hindsight: Sequence[str | None] | None = None) -> Asked:
        """Log-probability of every policy token, (T,), 0 elsewhere; the hindsight text stands before each action slot."""
        texts, kept = _with(batch, self._texts(hindsight, batch.n_trajectories))
        found, _ = token_logp(self.model, texts, max_tokens=self.max_tokens, watch=self.watch)
        values = np.concatenate([one[own] for one, own in zip(found, kept, strict=True)])
        return Asked(np.where(batch.action, values, 0.0), Bill(scored=float(sum(map(len, texts)))))

    def entropy(self, batch: Batch) -> Asked:
        """Entropy (nats) of what could have stood at every policy token, (T,), 0 elsewhere."""
        texts, _ = _with(batch, [[] for _ in range(batch.n_trajectories)])
        _, found = token_logp(self.model, texts, max_tokens=self.max_tokens, watch=self.watch)
        return Asked(np.where(batch.action, np.concatenate(found), 0.0), Bill(scored=float(batch.n_tokens)))

    def answer_logp(self, batch: Batch, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        """Mean log-probability per token of the reference answer after each prefix; each trajectory is read once."""
        if self.answers is None or len(self.answers) != batch.n_trajectories:
            many = "none" if self.answers is None else f"{len(self.answers)}"
            raise OptionError(f"answers: {many} given, expected {batch.n_trajectories}: the reference answer of each trajectory")
        ids, starts, cuts = batch.need("ids"), batch.offsets("trajectory"), prefix_tokens(batch, axis)
        owner = batch.within(axis, "trajectory")
        values, scored = np.zeros(owner.size), 0
        for i in range(batch.n_trajectories):
            answer = self._text(self.answers[i], f"answers[{i}]")
            if not answer:
                raise OptionError(f"answers[{i}] is empty: nothing can be forced")
            here = np.flatnonzero(owner == i)
            read = Prefix(self.model, ids[starts[i] : starts[i + 1]].tolist())
            at = [max(int(c - starts[i]), 1) for c in cuts[here]]
            values[here] = [float(one.mean()) for one in read.score(at, [answer] * here.size)]
            scored += read.length + len(answer) * here.size
            if self.watch:
                self.watch(i + 1, batch.n_trajectories)
        return Asked(values, Bill(scored=float(scored)))

    def _texts(self, given: Sequence[str | None] | None, count: int) -> list[list[int]]:
        if given is None:
            return [[] for _ in range(count)]
        if len(given) != count:
            raise OptionError(f"hindsight has {len(given)} texts, expected {count}: one per trajectory")
        return [self._text(text, f"hindsight[{i}]") if text else [] for i, text in enumerate(given)]

    def _text(self, text: str | Sequence[int], name: str) -> list[int]:
        if not isinstance(text, str):
            return list(text)
        if self.tokenizer is None:
            raise OptionError(f"{name} is text: give HFPolicy(tokenizer=...) or token ids")
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _with(batch: Batch, inserted: list[list[int]]) -> tuple[list[list[int]], list[Array]]:
    """Each trajectory with its text put before every run of policy tokens, and where its own tokens then stand."""
    ids, starts = batch.need("ids"), batch.offsets("trajectory")
    texts, places = [], []
    for i, extra in enumerate(inserted):
        own, acts = ids[starts[i] : starts[i + 1]].tolist(), batch.action[starts[i] : starts[i + 1]]
        begins = acts & ~np.concatenate([[False], acts[:-1]])
        place = np.arange(len(own)) + len(extra) * np.cumsum(begins)
        text = np.zeros(len(own) + len(extra) * int(begins.sum()), dtype=np.int64)
        text[place] = own
        for slot in place[begins]:
            text[slot - len(extra) : slot] = extra
        texts.append(text.tolist())
        places.append(place)
    return texts, places


def prefix_tokens(batch: Batch, axis: Axis) -> Array:
    """How many tokens of the batch stand before each prefix (the end of its trajectory for the last).

    The state before a turn includes what the policy is shown there, so the cut lies before its first policy token.
    """
    if axis == "token":
        return np.arange(batch.n_tokens)
    unit: Axis = {"prefix": "turn", "step_prefix": "step"}[axis]  # type: ignore[assignment]
    ends, owner = batch.offsets("trajectory"), batch.within(axis, "trajectory")
    offsets = batch.offsets(unit)
    at = np.arange(owner.size) - owner
    place = offsets[at]
    acts = np.append(np.flatnonzero(batch.action), batch.n_tokens)
    first = acts[np.searchsorted(acts, place)]
    last = np.append(np.flatnonzero(np.diff(owner)), owner.size - 1)
    first[last] = ends[owner[last] + 1]
    found: Array = np.minimum(first, ends[owner + 1])
    return found
