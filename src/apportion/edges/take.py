"""Choosing rows of a batch, for resampling methods and for filters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..batch import Batch, Spans
from ..batch_checks import BOTH, said_twice
from ..errors import BatchError
from ..ids import Codes
from ..structure import Int
from .turns import offsets_of


def ranges(start: Int, length: Int) -> Int:
    """Concatenated aranges: starts [5, 0], lengths [2, 3] -> [5, 6, 0, 1, 2]."""
    start, length = start[length > 0], length[length > 0]
    first = offsets_of(length)
    index = np.ones(int(first[-1]), dtype=np.int64)
    index[first[:-1]] = start
    index[first[1:-1]] -= start[:-1] + length[:-1] - 1
    return np.cumsum(index, out=index)


def take(batch: Batch, rows: Int) -> Batch:
    """Rows in the order given. Consecutive rows of one trajectory stay one trajectory.

    A second copy of a trajectory gets the id "<id>#1", the third "<id>#2" … Each copy carries the
    columns of its whole trajectory (its outcome too); spans are kept where all their rows are.
    """
    if rows.ndim != 1 or not rows.size:
        raise BatchError("rows is empty: take at least one row")
    bad = (rows < 0) | (rows >= batch.n_rows)
    if bad.any():
        raise BatchError(f"rows[{int(np.argmax(bad))}] = {rows[bad][0]}: the batch has rows 0 to {batch.n_rows - 1}")
    owner = batch.within("row", "trajectory")[rows]
    new = np.concatenate(([True], (np.diff(owner) != 0) | (np.diff(rows) <= 0)))
    starts = np.flatnonzero(new)
    turn_count = np.diff(batch.row_turns)[rows]
    turns = ranges(batch.row_turns[rows], turn_count)
    token_count = np.diff(batch.turn_offsets)[turns]
    tokens = ranges(batch.turn_offsets[turns], token_count)
    trajectory_rows = np.append(starts, rows.size)
    row_turns = offsets_of(turn_count)
    firsts = owner[starts]
    ends = row_turns[trajectory_rows[1:]]
    index: dict[str, Int] = {"token": tokens, "turn": turns, "trajectory": firsts}
    # The prefix before every turn taken, and the one after the last turn of each trajectory.
    index["prefix"] = np.insert(batch.prefix_before[turns], ends, batch.prefix_before[turns[ends - 1]] + 1)
    columns: dict[str, Any] = {}
    if batch.step_offsets is not None:
        edges = np.searchsorted(batch.step_offsets, batch.turn_offsets)
        steps = ranges(edges[turns], np.diff(edges)[turns])
        columns["step_offsets"] = offsets_of(np.diff(batch.step_offsets)[steps])
        index["step"] = steps
    else:
        index["step"] = turns
    for name, meta in batch.columns().items():
        columns[name] = _pick(getattr(batch, name), index[meta["axis"]])
    return Batch(
        turn_offsets=offsets_of(token_count),
        row_turns=row_turns,
        trajectory_rows=trajectory_rows,
        action=batch.action[tokens],
        trajectory=_rename(batch.trajectory, firsts),
        episode=_pick(batch.episode, firsts),
        group=_pick(batch.group, firsts),
        limit=batch.limit,
        spans=_spans(batch, rows, new),
        meta=_meta(batch, columns, trajectory_rows, row_turns),
        layout=None if batch.layout is None else batch.layout.take(batch, rows, tokens),
        **columns,
    )


def _meta(batch: Batch, columns: Mapping[str, Any], trajectory_rows: Int, row_turns: Int) -> Mapping[str, Any]:
    """The batch's, which also says that two rewards are two where those taken happen to agree."""
    outcome, turn_reward = columns["outcome"], columns["turn_reward"]
    if outcome is None or turn_reward is None or not said_twice(outcome, turn_reward, row_turns[trajectory_rows]):
        return batch.meta
    return {**batch.meta, BOTH: True}


def _pick(value: Any, index: Int) -> Any:
    if value is None:
        return None
    if isinstance(value, Codes):
        return value.take(index)
    return tuple(value[i] for i in index) if isinstance(value, tuple) else value[index]


def _rename(ids: Codes, index: Int) -> Codes:
    taken = set(ids.names)
    copies: dict[Any, int] = {}
    names = []
    for name in (ids.name(int(i)) for i in index):
        copy = copies.get(name, 0)
        new = name
        while copy and (new := f"{name}#{copy}") in taken:  # "a#1" may be an id of its own
            copy += 1
        taken.add(new)
        copies[name] = copy + 1
        names.append(new)
    return Codes.of(names)


def _spans(batch: Batch, rows: Int, new: Any) -> Mapping[str, Spans]:
    """Span tables shifted to where their rows went; a span over several rows needs them in a run."""
    if not batch.spans:
        return {}
    row_of = batch.within("token", "row")
    old = batch.offsets("row")
    shift = offsets_of(np.diff(old)[rows])[:-1] - old[rows]
    run = np.cumsum(new | np.concatenate(([True], np.diff(rows) != 1)))
    tables = {}
    for name, table in batch.spans.items():
        first, last = row_of[table.start], row_of[table.end - 1]
        order = np.argsort(first, kind="stable")
        low = np.searchsorted(first[order], rows)
        count = np.searchsorted(first[order], rows, side="right") - low
        span = order[ranges(low, count)]
        at = np.repeat(np.arange(rows.size), count)
        to = at + last[span] - first[span]
        whole = to < rows.size
        whole[whole] = run[to[whole]] == run[at[whole]]
        span, at = span[whole], at[whole]
        label = tuple(table.label[i] for i in span) if table.label else ()
        tables[name] = Spans(table.start[span] + shift[at], table.end[span] + shift[at], label)
    return tables
