"""Rollouts as the thin plug-ins read them, turn by turn, and the batch made of them."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..batch import Batch
from ..batch_checks import BOTH
from ..edges.layout import plain_layout
from ..errors import BatchError
from ..structure import Bool, Float, Int

#: Columns with one number per policy token.
WRITTEN = ("logp", "ref_logp", "entropy")


@dataclass(frozen=True, eq=False)
class Turn:
    """What was shown and what the policy then wrote. ids, action: (n,). The others: one per policy token, or unknown."""

    ids: Int
    action: Bool
    logp: Float | None = None
    ref_logp: Float | None = None
    entropy: Float | None = None


@dataclass(frozen=True, eq=False)
class Rollout:
    """One trajectory. name: for errors. state: a key per turn, and perhaps one after the last. turn_reward: besides outcome."""

    name: str
    turns: Sequence[Turn]
    outcome: float
    group: Hashable
    agent: str | None = None
    episode: Hashable = None
    truncated: bool | None = None
    state: Sequence[Any] | None = None
    turn_reward: Sequence[float] | None = None


def turn(name: str, ids: Any, action: Any, **written: Any) -> Turn:
    """A checked turn: sizes that agree, and finite numbers, else an error that begins with ``name``."""
    own, mask = np.asarray(ids, dtype=np.int64), np.asarray(action)
    if own.ndim != 1 or mask.shape != own.shape:
        raise BatchError(f"{name}: the mask has {mask.size} entries, but there are {own.size} tokens")
    mask = mask != 0
    made: dict[str, Any] = {}
    for column, values in written.items():
        if values is None or (len(values) == 0 and mask.any()):
            continue
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (int(mask.sum()),):
            raise BatchError(f"{name}: {column} has {array.size} numbers, but there are {int(mask.sum())} policy tokens")
        if not np.isfinite(array).all():
            k = int(np.argmax(~np.isfinite(array)))
            raise BatchError(f"{name}: {column} of policy token {k} is {array[k]}, expected a finite number")
        made[column] = array
    return Turn(own, mask, **made)


def whole(rollout: Rollout) -> Rollout:
    """The same with turns in which the policy wrote nothing joined to the next (at the end: to the one before).

    Their state keys go, as nothing was decided there; what they earned is earned by the turn before, or the next
    where there is none. Sizes of what was handed over are checked here.
    """
    n = len(rollout.turns)
    if rollout.state is not None and len(rollout.state) not in (n, n + 1):
        raise BatchError(f"{rollout.name}: state has {len(rollout.state)} keys, but there are {n} turns (one more is fine)")
    if rollout.turn_reward is not None and len(rollout.turn_reward) != n:
        raise BatchError(f"{rollout.name}: turn_reward has {len(rollout.turn_reward)} entries, but there are {n} turns")
    earned = np.asarray([0.0] * n if rollout.turn_reward is None else rollout.turn_reward, dtype=np.float64)
    if not (np.isfinite(rollout.outcome) and np.isfinite(earned).all()):
        raise BatchError(f"{rollout.name}: its rewards are {rollout.outcome} and {earned.tolist()}, expected finite numbers")
    wrote = [k for k, t in enumerate(rollout.turns) if t.action.any()]
    if not wrote:
        raise BatchError(f"{rollout.name}: the policy wrote no token of it")
    at = np.arange(n)
    home = np.minimum(np.searchsorted(wrote, at), len(wrote) - 1)  # the turn that takes its tokens
    pays = np.maximum(np.searchsorted(wrote, at, side="right") - 1, 0)  # the turn that takes its reward
    return replace(
        rollout,
        turns=[
            _joined([t for t, h in zip(rollout.turns, home, strict=True) if h == j], rollout.turns[k])
            for j, k in enumerate(wrote)
        ],
        state=None if rollout.state is None else [*(rollout.state[k] for k in wrote), *rollout.state[n:]],
        turn_reward=None if rollout.turn_reward is None else np.bincount(pays, weights=earned).tolist(),
    )


def pack(rollouts: Sequence[Rollout], **more: Any) -> Batch:
    """One batch, a row and a trajectory each. A column some rollouts lack is left out; state keys they lack are unknown."""
    made = [whole(r) for r in rollouts]
    flat = [t for r in made for t in r.turns]
    action = np.concatenate([t.action for t in flat])
    columns: dict[str, Any] = {"outcome": [r.outcome for r in made], **more}
    for name in WRITTEN:
        values = [getattr(t, name) for t in flat]
        if all(v is not None for v in values):
            columns[name] = np.zeros(action.size)
            columns[name][action] = np.concatenate(values)
    if any(r.state is not None for r in made):
        columns["state"] = [key for r in made for key in _keys(r)]
    if any(r.turn_reward is not None for r in made):
        _pay(columns, made)
    for name in ("agent", "episode", "truncated"):
        values = [getattr(r, name) for r in made]
        if all(v is not None for v in values):
            columns[name] = values
    batch = Batch.from_turns(
        [[t.ids.size for t in r.turns] for r in made],
        action=action,
        ids=np.concatenate([t.ids for t in flat]),
        group=[r.group for r in made],
        **columns,
    )
    return batch.with_columns(layout=plain_layout(batch))


def groups_of(rollouts: Sequence[Rollout]) -> tuple[list[Hashable], list[Hashable] | None]:
    """The group of each, and its episode where all have one."""
    episodes = [r.episode for r in rollouts]
    return [r.group for r in rollouts], None if any(e is None for e in episodes) else episodes


def _pay(columns: dict[str, Any], made: Sequence[Rollout]) -> None:
    turns = [list(r.turn_reward or [0.0] * len(r.turns)) for r in made]
    columns["meta"] = {**columns.get("meta", {}), **both_count(turns, columns["outcome"])}
    columns["turn_reward"] = [x for t in turns for x in t]


def both_count(turns: Sequence[Sequence[float]], outcomes: Sequence[float]) -> dict[str, bool]:
    """For ``meta``: rewards of turns are besides the outcomes, also where they add up to all of them.

    A batch would refuse that. In a group of a few rollouts it is mostly chance, and no run should end for it; where they
    vary it is worth a word.
    """
    sums = [sum(t) for t in turns]
    if np.ptp(sums) > 0 and np.allclose(sums, outcomes, rtol=1e-9, atol=1e-12):
        warnings.warn("turn_reward adds up to the reward of every rollout: is one reward given twice?", stacklevel=2)
    return {BOTH: True}


def _keys(rollout: Rollout) -> list[Any]:
    n = len(rollout.turns)
    keys = [None] * (n + 1) if rollout.state is None else [*rollout.state, *[None] * (n + 1 - len(rollout.state))]
    for key in keys:
        try:
            hash(key)
        except TypeError:
            raise BatchError(f"{rollout.name}: a state key is a {type(key).__name__}, expected a str") from None
    return keys


def _joined(turns: Sequence[Turn], wrote: Turn) -> Turn:
    if len(turns) == 1:
        return wrote
    return replace(wrote, ids=np.concatenate([t.ids for t in turns]), action=np.concatenate([t.action for t in turns]))
