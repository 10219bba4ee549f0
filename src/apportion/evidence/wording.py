"""What stands in the units of a batch, in words, and a judge's question with them in it, for a model to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from ..batch import Batch
from ..errors import MissingColumn, OptionError
from ..structure import Int
from ..words import Axis
from .rubrics import Rubric


def wording(batch: Batch, unit: Axis, decode: Callable[[Sequence[int]], str] | None = None) -> list[str]:
    """The text of every unit: of turns from ``batch.text``, of anything else from its token ids with ``decode``."""
    if decode is not None and batch.ids is not None:
        offsets, ids = batch.offsets(unit), batch.ids
        return [decode(ids[a:b].tolist()) for a, b in pairwise(offsets.tolist())]
    if batch.text is None:
        raise MissingColumn("a judge reads words: the batch has no text (Batch.from_messages keeps it), nor ids with decode=")
    turns = [text or "" for text in batch.text]
    if unit == "turn" or batch.count(unit) == batch.n_turns:
        return turns
    if unit in ("trajectory", "episode", "group"):
        owner = batch.within("turn", unit)
        return ["\n\n".join(turns[t] for t in np.flatnonzero(owner == i)) for i in range(batch.count(unit))]
    raise MissingColumn(f"a judge of {unit}s reads words finer than turns: give decode= (token ids -> text)")


def questions_of(batch: Batch) -> list[str]:
    """The task of each trajectory: its messages before the first of the policy, where the batch holds chats."""
    kept = batch.meta.get("messages")
    if kept is None:
        return [""] * batch.n_trajectories
    from ..edges.messages import is_action, to_messages

    found = []
    for chat in to_messages(batch):
        first = next(i for i, message in enumerate(chat) if is_action(message))
        found.append("\n\n".join(str(message.get("content") or "") for message in chat[:first]))
    return found


def questions(
    batch: Batch,
    unit: Axis,
    template: str,
    rubric: Rubric | None,
    *,
    tasks: Sequence[str] | None,
    references: Sequence[str] | None,
    decode: Callable[[Sequence[int]], str] | None,
) -> list[tuple[Int, str]]:
    """What a judge is to be asked: the units a question is about, and the template with them in it.

    A question for each trajectory, or for each unit where the rubric says so. tasks, references: of each trajectory.
    """
    texts = wording(batch, unit, decode)
    named = tasks_of(batch, tasks)
    shown = _each(references, "references", batch)
    if rubric is not None and rubric.privileged and shown is None:
        raise OptionError(f"rubric {rubric.name} shows the reference answer: give the judge references=[...]")
    owner = batch.within(unit, "trajectory")
    parts = [np.flatnonzero(owner == i) for i in range(batch.n_trajectories)]
    if rubric is not None and not rubric.one_call:
        parts = [np.array([u]) for u in range(owner.size)]
    found = []
    for part in parts:
        i = int(owner[part[0]])
        found.append((part, filled(template, named[i], None if shown is None else shown[i], [texts[u] for u in part], unit)))
    return found


def tasks_of(batch: Batch, given: Sequence[str] | None) -> list[str]:
    """The task of each trajectory in words: as given, or what stands before its first unit."""
    return _each(given, "questions", batch) or questions_of(batch)


def _each(given: Sequence[str] | None, name: str, batch: Batch) -> list[str] | None:
    if given is None:
        return None
    if len(given) != batch.n_trajectories:
        raise OptionError(f"{name} has {len(given)} entries, expected {batch.n_trajectories}: one per trajectory")
    return list(given)


def filled(template: str, question: str, reference: str | None, units: Sequence[str], unit: str) -> str:
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
