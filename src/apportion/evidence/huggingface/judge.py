"""A local language model as the judge of units: not what it writes, but how likely it holds each answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ...structure import Float, Int
from ...words import Axis, Provenance
from ..bill import Bill
from ..rubrics import Rubric
from ..sources import Asked
from ..wording import questions, tasks_of, wording
from . import checks
from .prefix import Prefix
from .scoring import Watch

#: Where a method brings no rubric. The units follow, and after each of them what is asked stands.
PLAIN = "Task:\n{question}\n\nWhat was done about it:\n"
ASKED = "\n\nIs this right so far? Answer Yes or No."
YES_NO = ("Yes", "No")
LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True, eq=False)
class HFJudge:
    r"""Scores units by the chances of the answers it may give; see :class:`apportion.evidence.Judge`.

        without a rubric    r_k = P(Yes | units up to k) - P(No | units up to k)      over P(Yes) + P(No), in [-1, 1]
        with one            the level whose letter is the likeliest, all units in view

    A judge that is read, not parsed: no answer can be unreadable, and models too small to write a list of scores can be
    asked. How well they judge is another matter: audit them. A trajectory is read once for all its units (:class:`Prefix`).

    questions, references: the task and the reference answer of each trajectory, in words; default of the first: what stands
    before its first unit. The tokenizer's chat template is used where it has one. Where a rubric allows its worst level
    once in a trajectory, the likeliest unit gets it and the others their next best.
    The bill counts a judge call for every unit.

    Source: a verifier that is read by the chance of "Yes", Zhang et al. 2025 (Generative Verifiers, arXiv 2408.15240).
    """

    model: Any
    tokenizer: Any
    questions: Sequence[str] | None = None
    references: Sequence[str] | None = None
    watch: Watch | None = None
    provenance: Provenance = "model_judgement"

    def score(self, batch: Batch, unit: Axis, rng: np.random.Generator, *, rubric: Rubric | None = None) -> Asked:
        """One score per unit."""
        if batch.ids is not None:  # else the text is read
            checks.token_ids(self.model, batch, self.tokenizer)
        logp = self._plain(batch, unit) if rubric is None else self._lettered(batch, unit, rubric)
        checks.finite(batch, logp.max(axis=1), batch.offsets(unit)[:-1], "the log-probability of the judge's answer")
        values: Float = np.tanh((logp[:, 0] - logp[:, 1]) / 2)  # P(Yes) - P(No), of the two
        if rubric is not None:
            values = np.asarray(rubric.levels)[chosen(logp, batch.within(unit, "trajectory"), rubric.at_most_one)]
        return Asked(values, Bill(judge_calls=float(len(logp))))

    def _plain(self, batch: Batch, unit: Axis) -> Float:
        tasks, words = tasks_of(batch, self.questions), wording(batch, unit, self._decode)
        owner = batch.within(unit, "trajectory")
        parts = [np.flatnonzero(owner == i) for i in range(batch.n_trajectories)]
        head, tail = self._frame()
        texts = []
        for task, part in zip(tasks, parts, strict=True):
            begin = self._ids(head + PLAIN.replace("{question}", task))
            texts.append([begin, *(self._ids(words[u]) for u in part)])
        asked = [[ASKED + tail] * part.size for part in parts]
        return self._chances(parts, texts, asked, YES_NO)

    def _lettered(self, batch: Batch, unit: Axis, rubric: Rubric) -> Float:
        if len(rubric.levels) > len(LETTERS):
            raise OptionError(f"rubric {rubric.name} has {len(rubric.levels)} levels: letters stand for at most {len(LETTERS)}")
        asked = questions(
            batch, unit, rubric.template, rubric, tasks=self.questions, references=self.references, decode=self._decode
        )  # fmt: skip
        head, tail = self._frame()
        letters = LETTERS[: len(rubric.levels)]
        scale = ", ".join(f"{letter} for {level:g}" for letter, level in zip(letters, rubric.levels, strict=True))
        parts = [part for part, _ in asked]
        # every unit stands in view of every question, so that all cuts are the end of the text
        texts = [[self._ids(head + text), *([] for _ in part)] for part, text in asked]
        tails = [[f"\n\nAnswer for <{unit}_{k}> only, with a letter: {scale}." + tail for k in range(p.size)] for p in parts]
        return self._chances(parts, texts, tails, tuple(letters))

    def _chances(
        self, parts: Sequence[Int], texts: Sequence[list[list[int]]], asked: Sequence[list[str]], answers: Sequence[str]
    ) -> Float:
        """(U, answers): log-probability of each answer after ``asked`` behind each piece of its text but the first."""
        options = [self._ids(answer) for answer in answers]
        tails = [[self._ids(one) for one in some] for some in asked]
        whole = [[t for piece in pieces for t in piece] for pieces in texts]
        longest = [max((len(t) for t in some), default=0) + max(map(len, options)) for some in tails]
        checks.texts(self.model, [w + [0] * n for w, n in zip(whole, longest, strict=True)], "asked about it, trajectory")
        found = np.zeros((sum(part.size for part in parts), len(options)))
        for i, (part, pieces, some) in enumerate(zip(parts, texts, tails, strict=True)):
            cuts = np.cumsum([len(piece) for piece in pieces])[1:].tolist()
            rows = [[*t, *option] for t in some for option in options]
            said = Prefix(self.model, whole[i]).score(np.repeat(cuts, len(options)).tolist(), rows)
            sizes = [len(option) for _ in some for option in options]
            own = [float(one[-n:].sum()) for one, n in zip(said, sizes, strict=True)]
            found[part] = np.reshape(own, (part.size, len(options)))
            if self.watch:
                self.watch(i + 1, len(parts))
        return found

    def _frame(self) -> tuple[str, str]:
        """What the chat template puts before a question and between it and the answer."""
        if not getattr(self.tokenizer, "chat_template", None):
            return self.tokenizer.bos_token or "", "\n"
        mark = "\0question\0"
        chat = [{"role": "user", "content": mark}]
        before, _, after = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False).partition(mark)
        return before, after

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @property
    def _decode(self) -> Callable[[Sequence[int]], str]:
        return lambda ids: str(self.tokenizer.decode(ids, skip_special_tokens=True))


def chosen(logp: Float, owner: Int, worst_once: bool) -> Int:
    """The likeliest answer of each row; worst_once: of an owner's rows at most one has the first, which is the worst."""
    best: Int = logp.argmax(axis=1)
    if worst_once:
        worst = np.flatnonzero(best == 0)
        worst = worst[np.lexsort((-logp[worst, 0], owner[worst]))]
        kept = np.unique(owner[worst], return_index=True)[1]
        others = np.delete(worst, kept)
        best[others] = 1 + logp[others, 1:].argmax(axis=1)
    return best
