"""How an agent loop hands over what only it knows: one dictionary in ``extra_fields`` of each output.

    output.extra_fields["apportion"] = {"state": [...], "turn_reward": [...], ...}

Names are those of the batch's columns. :func:`hand_over` fills it and checks it at once, in the agent
loop, where a mistake is easy to find; the trainer checks again what it receives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from ...batch import Batch, what_it_is
from ...errors import BatchError
from ...structure import Bool, Int

#: The key of ``AgentLoopOutput.extra_fields``.
FIELD = "apportion"

#: Boundaries: policy tokens of each turn, and of each reasoning step.
LENGTHS = {"turn_lengths": "turn", "step_lengths": "step"}

Output = TypeVar("Output")


def columns() -> dict[str, str]:
    """What may be handed over besides lengths: column -> axis; tokens come from verl itself."""
    axes = {name: str(meta["axis"]) for name, meta in Batch.columns().items()}
    found = {n: a for n, a in axes.items() if a in ("prefix", "turn", "step", "trajectory") and n not in ("outcome", "text")}
    return {**found, "episode": "trajectory"}


def hand_over(output: Output, **given: Any) -> Output:
    """Fill ``output.extra_fields["apportion"]`` of an ``AgentLoopOutput`` (each, if the loop returns several).

    state: one hashable key per turn, what the policy saw before it, and optionally one more for
    what it saw at the end. turn_reward: what each turn earned *besides* the reward of the whole
    trajectory (verl's ``reward_score``); a reward said in both places counts twice. turn_lengths:
    policy tokens of each turn; without them the runs of ones in ``response_mask`` are the turns,
    and adjacent turns merge. step_lengths: likewise, reasoning steps inside turns. process: a score
    per step (per turn without step_lengths). node, parent: tree nodes per turn. truncated, bootstrap,
    success, agent, episode: one value.

    The last entry of turn_lengths (and step_lengths) may reach beyond a response that verl cut at its
    limit; a turn that lies beyond it altogether is an error, as its reward would be lost.

    >>> hand_over(output, state=seen, turn_reward=[0.0, 0.5])  # doctest: +SKIP
    """
    holder: Any = output
    mask = np.asarray(holder.response_mask) != 0
    for name in LENGTHS:
        if given.get(name) is not None:
            given[name] = _cut(name, given[name], int(mask.sum()))
    given = {n: v for n, v in given.items() if v is not None}
    check_row("hand_over", given, mask)
    holder.extra_fields[FIELD] = given
    return output


def check_row(where: str, given: Any, mask: Bool) -> dict[str, int]:
    """Turns and steps of one row, where everything it hands over has the right size; else an error naming ``where``."""
    if not isinstance(given, Mapping):
        raise BatchError(f"{where}: extra_fields[{FIELD!r}] is {type(given).__name__}, expected a dictionary of columns")
    known = columns()
    for name in given:
        if name not in known and name not in LENGTHS:
            raise BatchError(f"{where}: nothing called '{name}' can be handed over; there are: {', '.join([*known, *LENGTHS])}")
    turns = runs(mask) if given.get("turn_lengths") is None else _lengths(where, "turn_lengths", given, mask)
    steps = turns if given.get("step_lengths") is None else _lengths(where, "step_lengths", given, mask)
    if (stray := np.setdiff1d(np.cumsum(turns), np.cumsum(steps))).size:
        raise BatchError(f"{where}: a turn ends after {stray[0]} policy tokens, inside a step: steps must refine turns")
    count = {"turn": turns.size, "step": steps.size}
    for name, value in given.items():
        axis = known.get(name)
        if axis in ("turn", "step"):
            _sized(where, name, value, (count[axis],), f"{count[axis]} {axis}s")
        elif axis == "prefix":
            _sized(where, name, value, (count["turn"], count["turn"] + 1), f"{count['turn']} turns (one more is fine)")
    return count


def unit_ids(lengths: Int, mask: Bool) -> Int:
    """The unit of every policy token of a row, -1 elsewhere, shape (T,)."""
    ids = np.full(mask.size, -1, dtype=np.int64)
    ids[mask] = np.repeat(np.arange(lengths.size), lengths)
    return ids


def runs(mask: Bool) -> Int:
    """Lengths of the runs of ones."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return edges[1::2] - edges[::2]


def _lengths(where: str, name: str, given: Mapping[str, Any], mask: Bool) -> Int:
    lengths = np.asarray(given[name])
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 1).any():
        raise BatchError(f"{where}: {name} = {given[name]!r}: expected the policy tokens of each {LENGTHS[name]}")
    if int(lengths.sum()) != int(mask.sum()):
        raise BatchError(f"{where}: {name} add up to {lengths.sum()}, but response_mask has {mask.sum()} policy tokens")
    return lengths.astype(np.int64)


def _sized(where: str, name: str, value: Any, sizes: tuple[int, ...], of: str) -> None:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        raise BatchError(f"{where}: {name} is {type(value).__name__}, expected a list ({what_it_is(name)})")
    if len(value) not in sizes:
        raise BatchError(f"{where}: {name} has {len(value)} entries, but the row has {of}")


def _cut(name: str, value: Any, written: int) -> list[int]:
    """The lengths with the last one cut to what is left of the response."""
    lengths = [int(n) for n in value]
    left = written - sum(lengths[:-1])
    if lengths and left < 1:
        raise BatchError(
            f"hand_over: {name} = {lengths}, but the response was cut after {written} policy tokens: the last one has "
            f"none left. Hand over what lies within the response, and give what it earned to its last {LENGTHS[name]}"
        )
    return [*lengths[:-1], min(lengths[-1], left)] if lengths else lengths
