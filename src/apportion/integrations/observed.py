"""State keys from what a rollout shows: the tokens just before each turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..structure import Bool, Int


def observed(
    action: Bool, ids: Any, prompt: Sequence[Any] | None, attention: Any = None, turn_ids: Any = None
) -> list[list[Any]]:
    """One key per turn of each row, and one after the last (None where nothing was shown).

    The key of the first turn is ``prompt`` of the row; of a later one the ids of the observation tokens
    since the turn before. Two rollouts that were shown the same share the key, whatever they wrote:
    right where the environment's answer tells where one stands, wrong where it does not ("ok").
    action, ids: (B, T). attention: (B, T), 1 on real tokens; padding is shown to nobody. turn_ids: (B, T).
    """
    tokens, mask = np.asarray(ids), np.asarray(action, dtype=bool)
    real = np.ones_like(mask) if attention is None else np.asarray(attention, dtype=bool)
    turns = _runs(mask) if turn_ids is None else np.asarray(turn_ids)
    return [_row(mask[r], real[r], tokens[r], turns[r], None if prompt is None else prompt[r]) for r in range(len(mask))]


def after_prompt(action: Bool, ids: Any, attention: Any) -> tuple[Bool, list[tuple[int, ...]]]:
    """Rows that begin with their prompt: what is real from the first policy token on, and the ids before it.

    action, ids, attention: (B, T). A row without policy tokens is prompt to its end.
    """
    real = np.asarray(attention) != 0
    before = ~np.maximum.accumulate(np.asarray(action, dtype=bool), axis=1)
    prompts = [tuple(row[shown].tolist()) for row, shown in zip(np.asarray(ids), real & before, strict=True)]
    return real & ~before, prompts


def _row(mine: Bool, real: Bool, ids: Int, turn: Int, first: Any) -> list[Any]:
    keys: list[Any] = []
    shown: list[int] = []
    last = None
    for t in np.flatnonzero(real):
        if not mine[t]:
            shown.append(int(ids[t]))
        elif turn[t] != last:
            keys.append(tuple(shown) if keys else first)
            shown, last = [], turn[t]
    return [*keys, tuple(shown) if shown else None]


def _runs(mask: Bool) -> Int:
    begins = mask & ~np.pad(mask, ((0, 0), (1, 0)))[:, :-1]
    turns: Int = np.cumsum(begins, axis=1)
    return turns
