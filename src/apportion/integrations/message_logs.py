"""NeMo-RL's message logs as rollouts: a turn per message that the policy wrote, with what stood before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..edges.tensors import to_numpy
from ..errors import BatchError
from ..structure import Bool
from .packed import Rollout, turn

#: The key of ``extra_env_info`` under which an environment hands over what only it knows.
FIELD = "apportion"


@dataclass(frozen=True)
class Noted:
    """What a sample of NeMo-RL's batch says besides its messages. prompt: tokens of it. state: keys, turn_reward: of turns."""

    prompt: int
    truncated: bool
    state: Sequence[Any] | None = None
    turn_reward: Sequence[float] | None = None

    @classmethod
    def of(cls, batch: Mapping[str, Any], row: int, paid: bool) -> Noted:
        """paid: whether rewards of turns are read."""
        infos, cut = batch.get("extra_env_info"), batch.get("truncated")
        info = infos[row] if infos is not None else None
        handed = info.get(FIELD) or {} if isinstance(info, Mapping) else {}
        truncated = cut is not None and bool(cut[row])
        return cls(int(batch["length"][row]), truncated, handed.get("state"), handed.get("turn_reward") if paid else None)


def read_log(
    name: str, log: Sequence[Mapping[str, Any]], noted: Noted, action: Bool, reward: float, group: int, states: str,
    numbers: Mapping[str, Any],
) -> Rollout:  # fmt: skip
    """One sample. action: (L,), its row of the mask; numbers: columns of (L,), read where the policy wrote.

    Two messages of the policy in a row are two turns. Turn rewards that were noted are part of ``reward``; the last turn
    has the rest where its own was not noted (NeMo-RL drops what an environment says as it ends).
    """
    ids = np.concatenate([to_numpy("token_ids", m["token_ids"]).astype(np.int64) for m in log])
    if ids.size > action.size or action[ids.size :].any():
        raise BatchError(f"{name}: its messages hold {ids.size} tokens, but its mask says the policy wrote beyond them")
    at = np.cumsum([0, *(len(m["token_ids"]) for m in log)])
    wrote = [
        bool(action[a:b].any()) or (a == b >= noted.prompt and m["role"] == "assistant")
        for m, (a, b) in zip(log, pairwise(at), strict=True)
    ]
    ends = at[1:][wrote]
    cuts = [0, *ends[:-1], ids.size]
    turns = [
        turn(f"{name}, turn {k}", ids[a:b], action[a:b], **{n: v[a:b][action[a:b]] for n, v in numbers.items()})
        for k, (a, b) in enumerate(pairwise(cuts))
    ]
    shown = [ids[a:b][~action[a:b]].tobytes() for a, b in pairwise([0, *ends])]
    if ends[-1] < ids.size:
        shown.append(ids[ends[-1] :].tobytes())
    earned = None if noted.turn_reward is None else _earned(name, noted.turn_reward, len(turns))
    return Rollout(
        name, turns, outcome=reward - sum(earned or ()), group=group, truncated=noted.truncated,
        state=shown if states == "observation" else noted.state, turn_reward=earned,
    )  # fmt: skip


def _earned(name: str, noted: Sequence[float], n: int) -> list[float]:
    """What each turn earned; one that is missing at the end earned nothing of its own."""
    if len(noted) not in (n - 1, n):
        raise BatchError(f"{name}: turn_reward has {len(noted)} entries, but there are {n} turns (the last one may be missing)")
    return [*map(float, noted), *[0.0] * (n - len(noted))]
