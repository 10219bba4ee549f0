"""A language model that goes on from prefixes of what it wrote: many cuts of one text in one call, the text read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ...words import Axis, Provenance
from ..bill import Bill
from ..cuts import answer_cuts, unfinished
from ..sources import Array, Asked
from . import checks
from .prefix import Prefix
from .scoring import Watch

#: Reward of a finished text: (number of the trajectory it went on from, all its token ids, whether it ended by itself).
Reward = Callable[[int, Sequence[int], bool], float]


@dataclass(frozen=True, eq=False)
class HFSampler:
    """Continuations of answers by ``model``; see :class:`apportion.evidence.Sampler`.

    For rollouts in which nothing but the policy acts after the prefix: the text is the state, so a prefix is had again
    exactly. Where observations follow, the environment must be run, which this sampler cannot: it refuses. So it does
    where an answer is finished (its last prefix, unless the trajectory is marked truncated), and where the model has no
    positions for what stands before a prefix and ``max_new_tokens`` after it.

    reward: what a finished text earns; NaN: no verdict. stop: token ids that end an answer (default: the model's own).
    rows: continuations in memory at a time.
    """

    model: Any
    reward: Reward
    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: Sequence[int] | None = None
    rows: int = 128
    watch: Watch | None = None
    provenance: Provenance = "exact_restore"

    def __post_init__(self) -> None:
        for name, fine in (
            ("max_new_tokens", self.max_new_tokens >= 1), ("temperature", self.temperature >= 0), ("top_p", 0 < self.top_p <= 1)
        ):  # fmt: skip
            if not fine:
                raise OptionError(
                    f"{name} = {getattr(self, name)}: expected max_new_tokens >= 1, temperature >= 0, 0 < top_p <= 1"
                )

    def continuations(self, batch: Batch, prefixes: Array, k: int, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        ids, starts = checks.token_ids(self.model, batch), batch.offsets("trajectory")
        cuts, owner = answer_cuts(batch, prefixes, axis, "HFSampler")
        unfinished(batch, prefixes, axis)
        self._check_room(prefixes, cuts - starts[owner])
        stop = self._stop()
        values, written, read = np.full((len(prefixes), k), np.nan), 0, 0
        for done, i in enumerate(np.unique(owner).tolist(), 1):
            here = np.flatnonzero(owner == i)
            text = ids[starts[i] : starts[i + 1]].tolist()
            at = (cuts[here] - starts[i]).tolist()
            shared = Prefix(self.model, text[: max(at)], rows=self.rows)
            try:
                made, ended = shared.generate(
                    np.repeat(at, k).tolist(), max_new_tokens=self.max_new_tokens, stop=stop, rng=rng,
                    temperature=self.temperature, top_p=self.top_p,
                )  # fmt: skip
            except OptionError as error:
                raise OptionError(f"trajectory {i} ({batch.trajectory.to_list()[i]!r}), {error}") from None
            paid = [self.reward(i, text[:c] + new, e) for c, new, e in zip(np.repeat(at, k).tolist(), made, ended, strict=True)]
            values[here] = np.asarray(paid, dtype=np.float64).reshape(-1, k)
            written, read = written + sum(map(len, made)), read + shared.length
            if self.watch:
                self.watch(done, np.unique(owner).size)
        return Asked(values, Bill(generated=float(written), scored=float(read)))

    def branch(self, batch: Batch, prefixes: Array, rng: np.random.Generator) -> tuple[Batch, Bill]:
        """Not offered: a branch of turns needs the environment."""
        raise OptionError("HFSampler continues answers; it grows no branches, which need an environment")

    def _check_room(self, prefixes: Array, before: Array) -> None:
        most = checks.positions(self.model)
        over = [] if most is None else np.flatnonzero(before + self.max_new_tokens > most).tolist()
        if most is not None and over:
            i = over[0]
            raise OptionError(
                f"prefixes[{i}] = {int(prefixes[i])}: {int(before[i])} tokens stand before it, and with max_new_tokens = "
                f"{self.max_new_tokens} after them {type(self.model).__name__}, which has positions for {most}, cannot go on: "
                f"at most {max(most - int(before[i]), 0)} fit"
            )

    def _stop(self) -> Sequence[int]:
        if self.stop is not None:
            return self.stop
        end = self.model.generation_config.eos_token_id
        if end is None:
            raise OptionError("the model names no end token: give stop=[...]")
        return end if isinstance(end, list) else [end]
