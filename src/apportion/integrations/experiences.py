"""Trinity's experiences, one LLM call or one whole chat each, as the runs whose steps they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..edges.tensors import to_numpy
from ..errors import BatchError
from .packed import Rollout, Turn, turn

#: Where rewards stand: ``reward`` of a run's last experience, of each experience, or ``info["step_reward"]`` of each.
REWARDS = ("last", "each", "step")


@dataclass(frozen=True)
class Reading:
    """What is read: rewards from one of :data:`REWARDS`; states "given" or "observation"; log-probs where they matter."""

    rewards: str
    states: str
    logp: bool


def read_run(name: str, steps: Sequence[Any], by: Reading) -> tuple[Rollout | None, list[tuple[Any, int, int]]]:
    """One run, and where the response of each experience lies in it; None where it has no reward or no policy token."""
    turns: list[Turn] = []
    spans: list[tuple[Any, int, int]] = []
    earned: list[Any] = []
    keys: list[Any] = []
    before, size = np.zeros(0, dtype=np.int64), 0
    for exp in steps:
        before, parts = _turns(exp, before, by.logp)
        blank = [None] * (len(parts) - 1)
        turns, size = turns + parts, size + sum(t.ids.size for t in parts)
        spans.append((exp, size - len(exp.action_mask), size))
        gain = {"last": None, "each": exp.reward, "step": exp.info.get("step_reward")}[by.rewards]
        earned += _listed(exp, "step_reward", gain, len(parts)) or [*blank, gain]
        key = exp.info.get("env_state_hash")
        keys += _listed(exp, "env_state_hash", key, len(parts)) or [key, *blank]
    if by.states == "observation":
        keys = [t.ids[: int(np.argmax(t.action))].tobytes() for t in turns]
    paid = earned if by.rewards != "last" else [steps[-1].reward]
    if all(x is None for x in paid) or not any(t.action.any() for t in turns):
        return None, spans
    return Rollout(
        f"run {name}", turns, outcome=_number(name, paid[-1]) if by.rewards == "last" else 0.0, group=steps[0].eid.tid,
        truncated=any(exp.truncate_status is not None for exp in steps),
        state=None if all(key is None for key in keys) else keys,
        turn_reward=None if by.rewards == "last" else [_number(name, x) for x in earned],
    ), spans  # fmt: skip


def _turns(exp: Any, before: Any, logp: bool) -> tuple[Any, list[Turn]]:
    """All token ids, and a turn per run of policy tokens with what was shown since ``before``: the tokens of the step before,
    where this one goes on from them, else its whole prompt is new."""
    name = f"experience {exp.eid.uid}"
    ids, n = to_numpy("tokens", exp.tokens).astype(np.int64), int(exp.prompt_length)
    if exp.action_mask is None or len(exp.action_mask) != ids.size - n:
        found = "none" if exp.action_mask is None else f"{len(exp.action_mask)} entries"
        raise BatchError(f"{name}: action_mask has {found}, but its response has {ids.size - n} tokens")
    written = exp.logprobs if logp else None
    if written is not None and len(written) != ids.size - n:
        raise BatchError(f"{name}: logprobs has {len(written)} numbers, but its response has {ids.size - n} tokens")
    known = before.size if before.size <= n and np.array_equal(ids[: before.size], before) else 0
    action = np.concatenate([np.zeros(n, dtype=np.bool_), to_numpy("action_mask", exp.action_mask) != 0])
    ends = np.flatnonzero(action & ~np.append(action[1:], False)) + 1
    cuts = [known, *ends[:-1], ids.size]
    value = None if written is None else np.concatenate([np.zeros(n), to_numpy("logprobs", written)])
    return ids, [
        turn(name, ids[a:b], action[a:b], logp=None if value is None else value[a:b][action[a:b]]) for a, b in pairwise(cuts)
    ]


def _number(run: str, reward: Any) -> float:
    """A reward; none counts 0 where others of its run have one, as in Trinity's GiGPO."""
    try:
        return 0.0 if reward is None else float(reward)
    except (TypeError, ValueError):
        raise BatchError(f"run {run}: one of its rewards is {reward!r}, expected a number") from None


def _listed(exp: Any, name: str, value: Any, n: int) -> list[Any] | None:
    """A list that info holds for the turns of one experience, checked; None where it is no list."""
    if not isinstance(value, list):
        return None
    if len(value) != n:
        raise BatchError(f"experience {exp.eid.uid}: info[{name!r}] has {len(value)} entries, but it has {n} turns")
    return value
