"""The controlled bifurcation family: long routine stretches, a few turns that decide.

A rollout is on track or derailed (its *status*) and stands in one of several rooms. At a fork one
action keeps it on track and the others derail it with set chances; at every routine turn all
actions have exactly the same Q: they only walk between rooms, which changes nothing but what is
seen. Luck derails it too, whatever is done. The last status and the prompt set the chance of reward.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .bifurcation_knobs import KNOBS
from .forks import CLASSES, contexts, kernels_of, observations, recent, spread, starts, tastes, walks, with_rooms, words
from .tabular import Float, Int, Task

SEVERITY = (1.0, 0.8, 0.6)


def bifurcation(
    id_: str,
    *,
    horizon: int,
    title: str,
    tags: tuple[str, ...] = (),
    forks: int = 3,
    gap: float = 0.8,
    drift: float = 0.1,
    rooms: int = 2,
    recover: float = 0.0,
    hidden: bool = False,
    aliased: bool = False,
    unseen: int = 0,
    routine_entropy: float = 1.0,
    fork_entropy: float = 1.0,
    flip: float = 0.0,
    prompts: int = 16,
    tokens: int = 2,
    width: int = 24,
    seed: int = 0,
    at: Int | None = None,
) -> Task:
    """Build one task of the family.

    forks: how many turns decide, spread evenly, or at the turns ``at``, (forks,) or (P, forks). gap: success of "on track"
    lost by the worst wrong action. drift: chance that luck derails a rollout over the whole horizon. rooms: how many
    look-alikes every situation has (1: states recur most). recover: chance that the right action
    at a later fork puts a derailed rollout back on track. hidden: the status is never shown; aliased: on track in the
    last room looks like derailed in the first; unseen: turns after a fork before the status is shown again.
    routine_entropy: 1 leaves routine choices nearly uniform, 0 makes them nearly certain; fork_entropy: the same at forks.
    flip: chance that the verifier gives the other reward. width: features a context; contexts outnumber them, so
    parameters are shared.
    """
    rng = np.random.default_rng(seed)
    A, S = 4, 2 * rooms
    at = spread(forks, horizon) if at is None else at
    kernel_of = kernels_of(rng, prompts, horizon, at, forks)
    status, room = np.divmod(np.arange(S), rooms)
    shown, visible = _seen(kernel_of, status, room, hidden=hidden, aliased=aliased, unseen=unseen)
    observation = observations(prompts, horizon, shown)
    context = contexts(kernel_of, forks, visible, 2)
    offset = tastes(rng, A, forks, 2, routine_entropy, fork_entropy)
    C = offset.shape[0]
    features = rng.normal(size=(C, width)) / np.sqrt(width)
    ease = np.linspace(0.0, 1.0, prompts)
    good, bad = 0.42 + 0.57 * ease, 0.96 * ease**4
    return Task(
        id=id_, title=title, family="bifurcation", tags=("credit", *tags),
        start=starts(prompts, 2, rooms),
        kernels=_kernels(rng, A, rooms, gap, drift / horizon, recover, steer=not aliased),
        kernel_of=kernel_of,
        success=flip + (1.0 - 2.0 * flip) * np.where(status[None, :] == 0, good[:, None], bad[:, None]),
        observation=observation, context=context, offset=offset, features=features, fork=kernel_of > 0,
        words=words(A, tokens),
        definition={
            "horizon": horizon, "forks": at.tolist(), "gap": gap, "drift": drift, "rooms": rooms, "recover": recover,
            "hidden": hidden,
            "routine_entropy": routine_entropy, "fork_entropy": fork_entropy, "tokens": tokens, "width": width, "seed": seed,
        } | {name: value for name, value in {"aliased": aliased, "unseen": unseen, "flip": flip}.items() if value},
    )  # fmt: skip


def _seen(kernel_of: Int, status: Int, room: Int, *, hidden: bool, aliased: bool, unseen: int) -> tuple[Int, Int]:
    """What is shown of a state and which status the policy can tell: (S,) each, or (P, T + 1, S) and (P, T, S)."""
    state = np.arange(status.size)
    if hidden:
        return room, np.zeros_like(status)
    if aliased:
        return state - status, status * (room > 0)  # one look is shared, and taken for on track
    if not unseen:
        return state, status
    masked = recent(kernel_of, unseen)[:, :, None]
    return np.where(masked, room, state), np.where(masked[:, :-1], 0, status)


def _kernels(
    rng: np.random.Generator, A: int, rooms: int, gap: float, slip: float, recover: float, steer: bool
) -> Float:  # fmt: skip
    """(1 + CLASSES, S, A, S): the routine kernel, then one per class of fork. steer: whether actions choose the room."""
    walk = walks(rng, rooms, A)
    if not steer:  # where the room decides what is taken for what, choosing it would be worth something
        walk[:] = walk.mean(axis=1, keepdims=True)
    stay = np.zeros((1 + CLASSES, 2, A))  # chance to be on track afterwards, by status and action
    stay[0, 0] = 1.0 - slip
    for c in range(CLASSES):
        stay[1 + c, 0] = 1.0 - slip
        wrong = [(c + 1 + i) % A for i in range(A - 1)]
        stay[1 + c, 0, wrong] = (1.0 - slip) * (1.0 - gap * np.asarray(SEVERITY))
        stay[1 + c, 1, c] = recover
    status = np.stack([stay, 1.0 - stay], axis=-1)
    return with_rooms(status, walk)


@cache
def variants() -> dict[str, dict[str, Any]]:
    """Arguments of every shipped variant, by id; one knob moves at a time from ``horizon-100``."""
    made: dict[str, dict[str, Any]] = {}
    for T in (10, 20, 30, 100, 300, 500):
        made[f"bifurcation/horizon-{T}"] = {"horizon": T, "title": f"three forks in {T} turns", "tags": ("horizon",)}
    knobs: dict[str, dict[str, Any]] = {
        "hidden": {"hidden": True, "recover": 0.8, "title": "the status, which repairs need to know, is never shown"},
        "recoverable": {"recover": 0.8, "title": "a later fork can repair an earlier mistake"},
        "sure-routine": {"routine_entropy": 0.5, "title": "routine turns are nearly certain"},
        "sure-forks": {"fork_entropy": 0.85, "title": "the policy is rather sure of itself where it matters"},
        "rare-states": {"rooms": 16, "title": "states seldom recur"},
        "small-gap": {"gap": 0.3, "title": "forks matter little"},
        "lucky": {"drift": 0.5, "title": "half of the rollouts are derailed by luck"},
    }
    for name, knob in knobs.items():
        made[f"bifurcation/{name}"] = {"horizon": 100, "tags": (name,), **knob}
    return made | {f"bifurcation/{name}": {"tags": (name.split("-")[0],), **how} for name, how in KNOBS.items()}


@cache
def build(id_: str) -> Task:
    """The shipped variant with this id."""
    return bifurcation(id_, **variants()[id_])
