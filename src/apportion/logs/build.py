"""Rollouts as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..batch import Batch
from ..edges.messages import Tokenizer, shown
from ..ids import Codes
from .keys import combined, lookup, prompt_of, short, value_of
from .rollout import Rollout


@dataclass(frozen=True)
class Making:
    """How batches are made: which key is which column, tokens of the log or of a tokenizer, states or none."""

    keys: Mapping[str, str]
    by_prompt: bool
    tokens: bool
    logp: bool
    observed: bool
    tokenizer: Tokenizer | None = None
    keep_messages: bool = False


def batch_of(rollouts: Sequence[Rollout], names: Sequence[Any], making: Making) -> Batch:
    """One batch of these trajectories, named ``names`` where no key names them."""
    columns: dict[str, Any] = {"trajectory": list(names)}
    for name, key in making.keys.items():
        raw = [combined(r.facts, key) if name == "outcome" else lookup(r.facts, key) for r in rollouts]
        columns[name] = [value_of(name, v, r) for v, r in zip(raw, rollouts, strict=True)]
    if making.by_prompt:
        columns["group"] = [prompt_of(r) for r in rollouts]
    for name in {"group", "episode"} & set(columns):
        columns[name] = Codes.of(map(short, columns[name]))
    _once(columns)
    state = columns.pop("state", None)
    if making.tokens:
        if state is None and making.observed:
            state = [shown(r.messages) for r in rollouts if r.messages is not None]
        return _from_tokens(rollouts, columns, state, making)
    if "turn_reward" in columns:
        columns["turn_reward"] = [v for part in columns["turn_reward"] for v in part]
    chats = [r.messages for r in rollouts]
    keys = "observation" if state is None and making.observed else None if state is None else [k for part in state for k in part]
    return Batch.from_messages(chats, tokenizer=making.tokenizer, keep_messages=making.keep_messages, state=keys, **columns)


def _once(columns: dict[str, Any]) -> None:
    """Where a few trajectories happen to earn at their turns just what they earn at the end, say it at the turns.

    A batch takes two equal rewards for one reward given twice; over the whole log they were not.
    """
    if "outcome" not in columns or "turn_reward" not in columns:
        return
    turns = [sum(part) for part in columns["turn_reward"]]
    if np.any(np.asarray(turns) != 0) and np.allclose(turns, columns["outcome"], rtol=1e-9, atol=1e-12):
        outcome = columns.pop("outcome")
        columns["turn_reward"] = [[*part[:-1], part[-1] + r] for part, r in zip(columns["turn_reward"], outcome, strict=True)]


def _from_tokens(rollouts: Sequence[Rollout], columns: dict[str, Any], state: Any, making: Making) -> Batch:
    turns = [r.tokens or () for r in rollouts]
    flat = [t for part in turns for t in part]
    more: dict[str, Any] = {}
    if making.logp:
        more["logp"] = np.concatenate([t.logp for t in flat if t.logp is not None])
    if state is not None:
        more["state"] = [k for part in state for k in part]
    if all(r.messages is not None for r in rollouts) and making.keep_messages:
        more["meta"] = {"tokenizer": "the log's own token ids"}
    return Batch.from_turns(
        [[t.ids.size for t in part] for part in turns],
        action=np.concatenate([t.action for t in flat]),
        ids=np.concatenate([t.ids for t in flat]),
        **more,
        **columns,
    )
