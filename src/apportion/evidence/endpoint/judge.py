"""A language model behind an endpoint as the judge of units."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...batch import Batch
from ...words import Axis, Provenance
from ..bill import Bill
from ..rubrics import Rubric
from ..sources import Asked
from ..wording import questions
from .client import Endpoint, Message, Watch
from .parse import contract, scores

#: What is asked where a method brings no rubric: a process reward.
PLAIN = (
    "Below is a task and what somebody did about it, unit by unit.\n\nTask:\n{question}\n\n{units}\n\n"
    "For every unit: how likely is the task to be solved after it? 1: certain to succeed, 0: open, -1: certain to fail."
)


class EndpointJudge:
    """Scores units by asking a model; see :class:`apportion.evidence.Judge`.

    references: the reference answer of each trajectory, for rubrics that show it (privileged). questions: the task of each
    trajectory in words; default: what stands before its first unit. decode: token ids -> text, needed for units finer
    than turns. watch: called with (answers, of all).

    An answer that is not what was asked for, was cut off, refused or withheld is NaN for all its units; nothing is guessed.
    ``unparsed`` holds such answers of the last call, to look at. Tokens read and written stand in ``endpoint.spent``;
    the bill counts judge calls, those answered from the cache too, since the method needs them.
    """

    provenance: Provenance = "model_judgement"

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        references: Sequence[str] | None = None,
        questions: Sequence[str] | None = None,
        decode: Callable[[Sequence[int]], str] | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.endpoint, self.references, self.questions = endpoint, references, questions
        self.decode, self.watch = decode, watch
        self.unparsed: list[str] = []

    def score(self, batch: Batch, unit: Axis, rng: np.random.Generator, *, rubric: Rubric | None = None) -> Asked:
        template = PLAIN if rubric is None else rubric.template
        levels = None if rubric is None else rubric.levels
        asked = questions(
            batch, unit, template, rubric, tasks=self.questions, references=self.references, decode=self.decode
        )  # fmt: skip
        told: list[Sequence[Message]] = [
            [{"role": "user", "content": text + contract(part.size, levels)}] for part, text in asked
        ]  # fmt: skip
        replies = self.endpoint.ask_all(told, watch=self.watch)
        values = np.full(batch.count(unit), np.nan)
        self.unparsed = []
        for (part, _), reply in zip(asked, replies, strict=True):
            found = scores(reply.text, part.size, levels) if reply.whole else None
            if found is None:
                self.unparsed.append(reply.text)
            else:
                values[part] = found
        return Asked(values, Bill(judge_calls=float(len(replies))))
