"""Options and parts: which turns one subgoal spans, and which tokens of a turn decide, say and pursue it.

Two span tables of a batch say so. ``option``: runs of whole turns, one after the other without a gap. ``part``: spans
within a turn, labelled switch, subgoal or action; tokens in no part, or in one with another label, are none of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..batch import Batch, Spans
from ..errors import BatchError
from ..ops.features import Hash, mix, sequence_hash
from ..structure import Bool, Int


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """start: first turn of each option, in order (options,). opens: turns that are one (turns,). part: turn of each part.
    label: that of each part."""

    start: Int
    opens: Bool
    part: Int
    label: NDArray[np.str_]

    @property
    def held(self) -> Int:
        """The option that each turn belongs to, shape (turns,)."""
        return np.cumsum(self.opens) - 1

    def having(self, label: str) -> Bool:
        """Turns with a part of this label, shape (turns,)."""
        found = np.zeros(self.opens.size, dtype=np.bool_)
        found[self.part[self.label == label]] = True
        return found


def hierarchy(batch: Batch) -> Hierarchy:
    """Read and check the tables ``option`` and ``part``; as options end with their trajectory, its first turn opens one."""
    tables = batch.need("spans", "to tell options and the parts of turns")
    for name in ("option", "part"):
        if name not in tables:
            raise BatchError(
                f"the batch has spans {sorted(tables)}, expected a table '{name}' (apportion.evidence.options makes one)"
            )
    option, part = tables["option"], tables["part"]
    edges = batch.turn_offsets
    order = np.argsort(option.start, kind="stable")
    start, end = option.start[order], option.end[order]
    whole = (edges[np.searchsorted(edges, start)] == start) & (edges[np.searchsorted(edges, end)] == end)
    whole &= np.concatenate(([0], end[:-1])) == start
    of = batch.within("token", "trajectory")
    whole &= of[start] == of[end - 1]
    if not whole.all() or not end.size or end[-1] != batch.n_tokens:
        i = int(order[np.argmin(whole)]) if not whole.all() else int(order[-1]) if order.size else 0
        raise BatchError(
            f"spans['option'][{i}]: expected whole turns of one trajectory, and every turn of the batch in one option"
        )
    opens = np.zeros(batch.n_turns, dtype=np.bool_)
    opens[np.searchsorted(edges, start)] = True
    turn = np.searchsorted(edges, part.start, side="right") - 1
    inside = part.end <= edges[turn + 1]
    if not inside.all():
        i = int(np.argmin(inside))
        raise BatchError(f"spans['part'][{i}] = [{part.start[i]}, {part.end[i]}): expected a span within one turn")
    if not part.label:
        raise BatchError("spans['part'] has no labels: expected switch, subgoal, action (or another word for the rest) for each")
    return Hierarchy(np.flatnonzero(opens), opens, turn, np.asarray(part.label))


def options(batch: Batch, switch: Bool) -> Spans:
    """A table ``option`` from one decision a turn, shape (turns,): each turn that switches opens an option."""
    opens = np.array(switch, dtype=np.bool_)
    if opens.shape != (batch.n_turns,):
        raise BatchError(f"switch has shape {opens.shape}, expected ({batch.n_turns},): one decision per turn")
    opens[batch.trajectory_turns[:-1]] = True
    start = batch.turn_offsets[:-1][opens]
    return Spans(start, np.append(start[1:], batch.n_tokens))


def actions(batch: Batch) -> Spans:
    """A table ``part`` for turns that write neither decision nor subgoal: all of each turn is its action."""
    return Spans(batch.turn_offsets[:-1], batch.turn_offsets[1:], ("action",) * batch.n_turns)


def subgoals(batch: Batch, found: Hierarchy, ids: Int) -> tuple[Hash, Bool]:
    """Hash of the words of each turn's (first) subgoal, and which turns have one, each of shape (turns,)."""
    table = batch.spans["part"]
    at = np.flatnonzero(found.label == "subgoal")
    at = at[np.argsort(table.start[at], kind="stable")]
    turn, first = np.unique(found.part[at], return_index=True)
    start, length = table.start[at[first]], (table.end - table.start)[at[first]]
    hashed, known = np.zeros(batch.n_turns, dtype=np.uint64), found.having("subgoal")
    if turn.size:
        ends = np.concatenate(([0], np.cumsum(length)))
        said = ids[np.arange(ends[-1]) + np.repeat(start - ends[:-1], length)]
        hashed[turn] = sequence_hash(mix(said), ends)
    return hashed, known
