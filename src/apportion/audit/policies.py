"""The policy of an audit in an environment: a function of what was seen and done, and how it is given its dice."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Literal

import numpy as np

from ..errors import BenchError

#: ``policy(history, rng)``: the action after observation, action, …, observation. One without ``rng`` has dice of its own.
Policy = Callable[..., str]


def act(policy: Policy, history: list[str], rng: np.random.Generator) -> str:
    """One action of the policy, which must be a text."""
    how = dice_of(policy)
    said = policy(history, rng=rng) if how == "named" else policy(history, rng) if how == "second" else policy(history)
    if not isinstance(said, str) or not said:
        raise BenchError(f"the policy said {said!r} after {history[-1]!r:.60}: expected a text that is not empty")
    return said


def dice_of(policy: Policy) -> Literal["second", "named", "own"]:
    """How the policy takes its dice: as its second parameter, as ``*, rng``, or not at all.

    A second parameter is dice if it has no default or is called ``rng``; raises where anything else would have to be given.
    """
    try:
        parameters = list(inspect.signature(policy).parameters.values())
    except (TypeError, ValueError):
        return "own"
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = [p for p in parameters if p.kind == p.KEYWORD_ONLY]
    how: Literal["second", "named", "own"] = "own"
    if any(p.name == "rng" for p in [*places[2:], *named]):
        how = "named"
    elif len(places) > 1 and (places[1].name == "rng" or places[1].default is places[1].empty):
        how = "second"
    given = {"rng", *(p.name for p in places[: 2 if how == "second" else 1])}
    left = [p.name for p in [*places, *named] if p.default is p.empty and p.name not in given]
    if left or not (places or any(p.kind == p.VAR_POSITIONAL for p in parameters)):
        wants = f"also wants {', '.join(left)}" if left else "takes no history"
        raise BenchError(f"the policy {wants}: expected (history), (history, rng) or (history, *, rng); give the rest defaults")
    return how
