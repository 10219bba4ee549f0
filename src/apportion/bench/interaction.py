"""How decisions combine: the same forks, and an outcome that is a sum, an AND, an OR, an XOR or an order of them.

At every fork one action is right. What the rollout remembers of its forks is its *status*; routine turns
change nothing but the room. Advantage, leave-one-out and Shapley agree where the forks add up, and part
where one makes up for another (OR), where each needs the others (AND, order), or where the worth of a
choice is decided by the others (XOR).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np

from .forks import CLASSES, contexts, kernels_of, observations, spread, starts, tastes, walks, with_rooms
from .tabular import Float, Task, binary_words

Kind = Literal["additive", "and", "or", "xor", "order"]


def interaction(
    id_: str,
    *,
    kind: Kind,
    title: str,
    horizon: int = 20,
    forks: int = 3,
    tags: tuple[str, ...] = (),
    gap: float = 0.8,
    rooms: int = 2,
    hidden: bool = False,
    routine_entropy: float = 1.0,
    prompts: int = 16,
    tokens: int = 2,
    width: int = 24,
    seed: int = 0,
) -> Task:
    """Build one task of the family.

    kind: how the forks combine; "order" needs two right choices one after the other: what one fork prepares only the next
    can use, and a wrong choice there undoes it. gap: success probability between the best and the
    worst status. hidden: the status is never shown.
    """
    rng = np.random.default_rng(seed)
    A, T = 4, horizon
    at = spread(forks, T)
    kernel_of = kernels_of(rng, prompts, T, at, forks)
    worth, after = _statuses(kind, forks)
    K = worth.size
    status, room = np.divmod(np.arange(K * rooms), rooms)
    offset = tastes(rng, A, forks, K, routine_entropy)
    ease = np.linspace(0.02, 0.98 - gap, prompts)
    return Task(
        id=id_, title=title, family="interaction", tags=("credit", kind, *tags), start=starts(prompts, K, rooms),
        kernels=_kernels(rng, A, rooms, K, after), kernel_of=kernel_of,
        success=ease[:, None] + gap * worth[status][None, :],
        observation=observations(prompts, T, room if hidden else np.arange(K * rooms)),
        context=contexts(kernel_of, forks, np.zeros_like(status) if hidden else status, K),
        offset=offset, features=rng.normal(size=(offset.shape[0], width)) / np.sqrt(width), fork=kernel_of > 0,
        words=binary_words(A, tokens),
        definition={
            "kind": kind, "horizon": T, "forks": at.tolist(), "gap": gap, "rooms": rooms, "hidden": hidden,
            "routine_entropy": routine_entropy, "tokens": tokens, "width": width, "seed": seed,
        },
    )  # fmt: skip


def _statuses(kind: Kind, forks: int) -> tuple[Float, Callable[[int, bool], int]]:
    """What each status is worth, in [0, 1], and the status after a right or wrong choice; 0 is the first."""
    count = np.arange(forks + 1) / forks
    table: dict[str, tuple[Float, Callable[[int, bool], int]]] = {
        "additive": (count, lambda s, right: s + 1 if right and s < forks else s),
        "and": (np.array([1.0, 0.0]), lambda s, right: s if right else 1),
        "or": (np.array([0.0, 1.0]), lambda s, right: 1 if right else s),
        "xor": (np.array([0.0, 1.0]), lambda s, right: s ^ int(right)),
        # 0 nothing, 1 prepared, 2 used: a second right choice counts only after a first
        "order": (np.array([0.0, 0.0, 1.0]), lambda s, right: min(s + 1, 2) if right else 0 if s < 2 else 2),
    }
    return table[kind]


def _kernels(rng: np.random.Generator, A: int, rooms: int, K: int, after: Callable[[int, bool], int]) -> Float:
    """(1 + CLASSES, S, A, S): the routine kernel, then one per class of fork."""
    walk = walks(rng, rooms, A)
    moves: Float = np.zeros((1 + CLASSES, K, A, K))
    moves[0, np.arange(K), :, np.arange(K)] = 1.0
    for c in range(CLASSES):
        for s in range(K):
            for a in range(A):
                moves[1 + c, s, a, after(s, a == c)] = 1.0
    return with_rooms(moves, walk)


@cache
def variants() -> dict[str, dict[str, Any]]:
    """Arguments of every shipped variant, by id."""
    return {
        "interaction/additive": {"kind": "additive", "title": "three forks add up"},
        "interaction/and": {"kind": "and", "title": "all of three forks are needed"},
        "interaction/or": {"kind": "or", "title": "one of three forks is enough"},
        "interaction/xor": {"kind": "xor", "forks": 2, "title": "two forks undo each other"},
        "interaction/order": {"kind": "order", "title": "what one fork prepares only the next can use"},
    }


@cache
def build(id_: str) -> Task:
    """The shipped variant with this id."""
    return interaction(id_, **variants()[id_])
