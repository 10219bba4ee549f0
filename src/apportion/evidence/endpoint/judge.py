"""A language model behind an endpoint as the judge of units."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ...words import Axis, Provenance
from ..bill import Bill
from ..rubrics import Rubric
from ..sources import Asked
from .client import Endpoint, Message, Watch
from .parse import contract, scores
from .wording import questions_of, wording

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

    An answer that is not what was asked for, or was cut off, is NaN for all its units; nothing is guessed.
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
        texts = wording(batch, unit, self.decode)
        template = PLAIN if rubric is None else rubric.template
        levels = None if rubric is None else rubric.levels
        tasks = self._each(self.questions, "questions", batch) or questions_of(batch)
        shown = self._each(self.references, "references", batch)
        if rubric is not None and rubric.privileged and shown is None:
            raise OptionError(f"rubric {rubric.name} shows the reference answer: give EndpointJudge(references=[...])")
        owner = batch.within(unit, "trajectory")
        parts = [np.flatnonzero(owner == i) for i in range(batch.n_trajectories)]
        if rubric is not None and not rubric.one_call:
            parts = [np.array([u]) for u in range(owner.size)]
        asked: list[Sequence[Message]] = []
        for part in parts:
            i = int(owner[part[0]])
            filled = _filled(template, tasks[i], None if shown is None else shown[i], [texts[u] for u in part], unit)
            asked.append([{"role": "user", "content": filled + contract(part.size, levels)}])
        replies = self.endpoint.ask_all(asked, watch=self.watch)
        values = np.full(owner.size, np.nan)
        self.unparsed = []
        for part, reply in zip(parts, replies, strict=True):
            found = None if reply.finish == "length" else scores(reply.text, part.size, levels)
            if found is None:
                self.unparsed.append(reply.text)
            else:
                values[part] = found
        return Asked(values, Bill(judge_calls=float(len(replies))))

    def _each(self, given: Sequence[str] | None, name: str, batch: Batch) -> list[str] | None:
        if given is None:
            return None
        if len(given) != batch.n_trajectories:
            raise OptionError(f"{name} has {len(given)} entries, expected {batch.n_trajectories}: one per trajectory")
        return list(given)


def _filled(template: str, question: str, reference: str | None, units: Sequence[str], unit: str) -> str:
    """The template with its places filled; braces in what is filled in stay as they are."""
    listed = "\n\n".join(f"<{unit}_{i}>\n{text}\n</{unit}_{i}>" for i, text in enumerate(units))
    made = template
    # marks that no text holds, so that a "{units}" in a task is not taken for ours
    places = {"{question}": question, "{reference}": reference or "", "{units}": listed}
    pieces: list[str] = []
    while made:
        at, name = min(((made.find(p), p) for p in places if p in made), default=(-1, ""))
        if at < 0:
            pieces.append(made)
            break
        pieces += [made[:at], places[name]]
        made = made[at + len(name) :]
    return "".join(pieces)
