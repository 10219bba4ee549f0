"""Pairs of worlds that no log can tell apart, with opposite credit.

The policy sees something (z) that the text does not show, and acts on it: it takes action 1 where z = 1 and action
0 where z = 0. In both worlds 0.8 of the rollouts with action 1 and 0.2 of those with action 0 are rewarded.

    plus     the action does it: action 1 would be rewarded with 0.8 whatever z, action 0 with 0.2
    minus    z does it, and the action hurts: z = 1 gives 0.8 with action 1 and 1.0 with action 0; z = 0 gives 0.0 and 0.2

Whatever is computed from logs is the same in both, so it is wrong about one of them: the only right answer is "not
identified". Running the policy again from the restored state tells them apart. The contrast with the action not
taken is +0.6 for action 1 in plus, and -0.2 in minus; the advantage is 0 where the policy is sure, so this
family is read by the contrast.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, Literal

import numpy as np

from .classical import one_turn_decides
from .tabular import Task

#: Chance of reward by (z, action).
WORLDS = {"plus": [[0.2, 0.8], [0.2, 0.8]], "minus": [[0.2, 0.0], [1.0, 0.8]]}
#: How far apart the logits of the two actions are: the policy errs once in e^SURE rollouts.
SURE = 30.0


def witness(id_: str, *, world: Literal["plus", "minus"], horizon: int, title: str) -> Task:
    """States: z before the decision (2), then z and what was done (4); the first turn decides, the others are routine."""
    decide = np.zeros((6, 2, 6))
    stay = np.repeat(np.eye(6)[:, None], 2, axis=1)
    decide[2:] = stay[2:]
    for z in range(2):
        decide[z, np.arange(2), 2 + 2 * z + np.arange(2)] = 1.0
    success = np.array([0.5, 0.5, *np.ravel(WORLDS[world])])
    start = np.array([0.5, 0.5, 0, 0, 0, 0])
    base = one_turn_decides(id_, decide, stay, success, title, horizon=horizon, start=start, tags=("witness", "hidden"))
    offset = base.offset.copy()
    for z in range(2):
        offset[base.context[0, 0, z]] = [SURE * (1 - z), SURE * z]
    # the log shows where in time a turn stands, and nothing of z
    shown = np.broadcast_to(np.arange(horizon + 1)[None, :, None] * 6, (1, horizon + 1, 6)).astype(np.int64)
    return replace(base, family="witness", offset=offset, shown=shown, definition={"world": world, "horizon": horizon})


@cache
def variants() -> dict[str, dict[str, Any]]:
    """Arguments of every shipped variant, by id."""
    return {
        f"witness/{world}": {"world": world, "horizon": 5, "title": f"a pair no log can tell apart: {what}"}
        for world, what in (("plus", "the action helps"), ("minus", "the action hurts"))
    }


@cache
def build(id_: str) -> Task:
    """The shipped variant with this id."""
    return witness(id_, **variants()[id_])
