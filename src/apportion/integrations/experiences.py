"""Trinity's experiences, one LLM call or one whole chat each, as the runs whose steps they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..edges.tensors import to_numpy
from ..errors import BatchError
from ..structure import Int
from .calls import Told
from .packed import Rollout, Turn, turn

#: Where rewards stand: ``reward`` of a run's last experience, of each experience, or ``info["step_reward"]`` of each.
REWARDS = ("last", "each", "step")


@dataclass(frozen=True)
class Reading:
    """What is read: rewards from one of :data:`REWARDS`; states "given" or "observation"; log-probs where they matter."""

    rewards: str
    states: str
    logp: bool


@dataclass(frozen=True, eq=False)
class Run:
    """One run. rollout: None where it has no reward or no policy token. places: each experience, its first turn, its last + 1."""

    name: str
    rollout: Rollout | None
    told: Told
    places: list[tuple[Any, int, int]]


def read_run(name: str, steps: Sequence[Any], by: Reading) -> Run:
    """The experiences of a run, in order, as its turns: what each shows is what is new since the one before."""
    turns: list[Turn] = []
    places: list[tuple[Any, int, int]] = []
    earned: list[Any] = []
    keys: list[Any] = []
    before, restarts = np.zeros(0, dtype=np.int64), None
    for exp in steps:
        before, parts, goes_on = _turns(exp, before, by.logp)
        if not goes_on and restarts is None:
            restarts = len(turns)
        n, blank = len(parts), [None] * (len(parts) - 1)
        places.append((exp, len(turns), len(turns) + n))
        turns += parts
        gain = {"last": None, "each": exp.reward, "step": exp.info.get("step_reward")}[by.rewards]
        earned += _listed(exp, "step_reward", gain, n) or [*blank, gain]
        key = exp.info.get("env_state_hash")
        keys += _listed(exp, "env_state_hash", key, n) or [key, *blank]
    shown = [t.ids[: int(np.argmax(t.action))].tobytes() for t in turns]
    told = Told(turns, list(shown), restarts, only_text=True)
    paid = earned if by.rewards != "last" else [steps[-1].reward]
    if all(x is None for x in paid) or not any(t.action.any() for t in turns):
        return Run(name, None, told, places)
    keys = shown if by.states == "observation" else keys
    rollout = Rollout(
        f"run {name}", turns, outcome=_number(name, paid[-1]) if by.rewards == "last" else 0.0, group=steps[0].eid.tid,
        truncated=any(exp.truncate_status is not None for exp in steps),
        state=None if all(key is None for key in keys) else keys,
        turn_reward=None if by.rewards == "last" else [_number(name, x) for x in earned],
    )  # fmt: skip
    return Run(name, rollout, told, places)


def _turns(exp: Any, before: Int, logp: bool) -> tuple[Int, list[Turn], bool]:
    """All token ids, a turn per run of policy tokens, and whether the prompt goes on from ``before``.

    Where it does, only what follows is shown anew; where a template wrote history again, all of it is.
    """
    name = f"experience {exp.eid.uid}"
    ids, n = to_numpy("tokens", exp.tokens).astype(np.int64), int(exp.prompt_length)
    if exp.action_mask is None or len(exp.action_mask) != ids.size - n:
        found = "none" if exp.action_mask is None else f"{len(exp.action_mask)} entries"
        raise BatchError(f"{name}: action_mask has {found}, but its response has {ids.size - n} tokens")
    written = exp.logprobs if logp else None
    if written is not None and len(written) != ids.size - n:
        raise BatchError(f"{name}: logprobs has {len(written)} numbers, but its response has {ids.size - n} tokens")
    goes_on = before.size <= n and np.array_equal(ids[: before.size], before)
    action = np.concatenate([np.zeros(n, dtype=np.bool_), to_numpy("action_mask", exp.action_mask) != 0])
    ends = np.flatnonzero(action & ~np.append(action[1:], False)) + 1
    cuts = [before.size if goes_on else 0, *ends[:-1], ids.size]
    value = None if written is None else np.concatenate([np.zeros(n), to_numpy("logprobs", written)])
    parts = [
        turn(name, ids[a:b], action[a:b], logp=None if value is None else value[a:b][action[a:b]]) for a, b in pairwise(cuts)
    ]
    return ids, parts, goes_on


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
