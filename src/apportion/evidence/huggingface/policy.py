"""A language model asked about tokens it wrote: their log-probabilities, also under another context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ...words import Axis, Provenance
from ..bill import Bill
from ..cuts import prefix_tokens
from ..sources import Array, Asked
from . import checks
from .prefix import Prefix
from .scoring import Watch, first_broken, token_logp


@dataclass(frozen=True, eq=False)
class HFPolicy:
    """Asks ``model`` about the batch's token ids; see :class:`apportion.evidence.Policy` and ``Answerer``.

    tokenizer: for texts that are put into the context. answers: the reference answer of each trajectory, as text or token
    ids, for ``answer_logp``. max_tokens: of one forward pass (None: as the device likes it). Texts are packed, see
    ``packing``. A trajectory must not begin with a policy token: there nothing stands from which it could be told.
    """

    model: Any
    tokenizer: Any = None
    answers: Sequence[str | Sequence[int]] | None = None
    max_tokens: int | None = None
    watch: Watch | None = None
    provenance: Provenance = "model_judgement"

    def logp(self, batch: Batch, rng: np.random.Generator, *, hindsight: Sequence[str | None] | None = None) -> Asked:
        """Log-probability of every policy token, (T,), 0 elsewhere; the hindsight text stands before each action slot."""
        values, _, scored = self._read(batch, self._texts(hindsight, batch.n_trajectories, "hindsight"))
        return Asked(values, Bill(scored=scored))

    def told_logp(self, batch: Batch, texts: Sequence[str | Sequence[int] | None]) -> Asked:
        """The same where each trajectory's text stands once, before its first action slot: what a critic with privileged
        information reads (the reference answer, a solution). None: as it is."""
        values, _, scored = self._read(batch, self._texts(texts, batch.n_trajectories, "texts"), once=True)
        return Asked(values, Bill(scored=scored))

    def entropy(self, batch: Batch) -> Asked:
        """Entropy (nats) of what could have stood at every policy token, (T,), 0 elsewhere."""
        _, values, scored = self._read(batch, self._texts(None, batch.n_trajectories, ""), entropy=True)
        return Asked(values, Bill(scored=scored))

    def columns(self, batch: Batch, *, reference: Any = None) -> tuple[Batch, Bill]:
        """The batch with this model's ``logp`` and ``entropy``, and ``ref_logp`` by the model ``reference``; the bill.

        For methods that read columns (SPRO, PRL, AEM, and all that compare with a reference). Log-probabilities of the
        model as it is now: where rollouts were sampled by other weights or at another temperature, theirs are to be had
        from whoever sampled.
        """
        nothing = self._texts(None, batch.n_trajectories, "")
        logp, spread, scored = self._read(batch, nothing, entropy=True)
        more = {"logp": logp, "entropy": np.maximum(spread, 0.0)}
        if reference is not None:
            more["ref_logp"], _, again = replace(self, model=reference)._read(batch, nothing)
            scored += again
        return batch.with_columns(**more), Bill(scored=scored)

    def answer_logp(self, batch: Batch, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        """Mean log-probability per token of the reference answer after each prefix; each trajectory is read once."""
        if self.answers is None or len(self.answers) != batch.n_trajectories:
            many = "none" if self.answers is None else f"{len(self.answers)}"
            raise OptionError(f"answers: {many} given, expected {batch.n_trajectories}: the reference answer of each trajectory")
        ids = checks.token_ids(self.model, batch, self.tokenizer)
        starts, cuts, owner = batch.offsets("trajectory"), prefix_tokens(batch, axis), batch.within(axis, "trajectory")
        checks.opened(batch, starts[owner][cuts == starts[owner]])
        answers = [self._text(answer, f"answers[{i}]") for i, answer in enumerate(self.answers)]
        for i, answer in enumerate(answers):
            if not answer:
                raise OptionError(f"answers[{i}] is empty: nothing can be forced")
        whole = [[*ids[starts[i] : starts[i + 1]].tolist(), *answer] for i, answer in enumerate(answers)]
        checks.texts(self.model, whole, "with its reference answer, trajectory")
        values, scored = np.zeros(owner.size), 0
        for i, answer in enumerate(answers):
            here = np.flatnonzero(owner == i)
            read = Prefix(self.model, whole[i][: -len(answer)])
            said = read.score((cuts[here] - starts[i]).tolist(), [answer] * here.size)
            values[here] = [float(one.mean()) for one in said]
            scored += read.length + len(answer) * here.size
            if self.watch:
                self.watch(i + 1, batch.n_trajectories)
        checks.finite(batch, values, np.minimum(cuts, batch.n_tokens - 1), "the log-probability of the reference answer")
        return Asked(values, Bill(scored=float(scored)))

    def _read(
        self, batch: Batch, inserted: list[list[int]], *, once: bool = False, entropy: bool = False
    ) -> tuple[Array, Array, float]:
        """Log-probability and entropy at every policy token, 0 elsewhere, and how many tokens were read for it."""
        ids = checks.token_ids(self.model, batch, self.tokenizer)
        texts, places = _with(batch, ids, inserted, once)
        checks.texts(self.model, texts, "trajectory")
        starts = batch.offsets("trajectory")
        first = [place[0] == 0 and batch.action[start] for place, start in zip(places, starts[:-1], strict=True)]
        checks.opened(batch, starts[:-1][np.asarray(first)])
        wanted = [np.zeros(len(text), dtype=np.bool_) for text in texts]
        for i, (mask, place) in enumerate(zip(wanted, places, strict=True)):
            mask[place[batch.action[starts[i] : starts[i + 1]]]] = True
        found = token_logp(
            self.model, texts, wanted=wanted, entropy=entropy, max_tokens=self.max_tokens, watch=self.watch
        )  # fmt: skip
        logp, spread = (np.concatenate([one[own] for one, own in zip(kind, places, strict=True)]) for kind in found)
        if not np.isfinite(logp).all():
            i, t = first_broken(self.model, texts, wanted)
            checks.finite(batch, np.array([np.nan]), starts[i : i + 1] + np.searchsorted(places[i], t), "the log-probability")
        return logp, spread, float(sum(map(len, texts)))

    def _texts(self, given: Sequence[str | Sequence[int] | None] | None, count: int, name: str) -> list[list[int]]:
        if given is None:
            return [[] for _ in range(count)]
        if len(given) != count:
            raise OptionError(f"{name} has {len(given)} texts, expected {count}: one per trajectory")
        return [self._text(text, f"{name}[{i}]") if text else [] for i, text in enumerate(given)]

    def _text(self, text: str | Sequence[int], name: str) -> list[int]:
        if not isinstance(text, str):
            return list(text)
        if self.tokenizer is None:
            raise OptionError(f"{name} is text: give HFPolicy(tokenizer=...) or token ids")
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _with(batch: Batch, ids: Array, inserted: list[list[int]], once: bool) -> tuple[list[list[int]], list[Array]]:
    """Each trajectory with its text put before every run of policy tokens (or the first), and where its own tokens stand."""
    starts = batch.offsets("trajectory")
    texts, places = [], []
    for i, extra in enumerate(inserted):
        own, acts = ids[starts[i] : starts[i + 1]], batch.action[starts[i] : starts[i + 1]]
        begins = acts & ~np.concatenate([[False], acts[:-1]])
        if once:
            begins &= np.cumsum(begins) == 1
        place = np.arange(own.size) + len(extra) * np.cumsum(begins)
        text = np.zeros(own.size + len(extra) * int(begins.sum()), dtype=np.int64)
        text[place] = own
        for slot in place[begins]:
            text[slot - len(extra) : slot] = extra
        texts.append(text.tolist())
        places.append(place)
    return texts, places
