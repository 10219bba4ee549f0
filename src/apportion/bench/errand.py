"""Errands: an agent plans, calls tools, looks back and answers, each turn of a declared type.

An errand is sound, astray (which can be put right) or ruined (which cannot) and stands in one of several rooms. Four
turns decide: a plan at the start and an answer at the end, whose mistakes ruin; a tool call after a third of the
turns, whose mistakes lead astray; and a recovery after two thirds, which can put an astray errand right. All others
are routine: tool calls and notes that change only the room, at which all actions have exactly equal Q.
Luck leads astray too.
"""

from __future__ import annotations

import numpy as np

from .bifurcation import SEVERITY
from .forks import CLASSES, contexts, kernels_of, observations, starts, tastes, walks, words
from .tabular import Float, Int, Task

SOUND, ASTRAY, RUINED = range(3)

#: Kinds of deciding turn, in the order of their kernels: a mistake leads astray, ruins, or leaves what is amiss.
SLIPS, RUINS, REPAIRS = range(3)


def errand(
    id_: str,
    *,
    horizon: int,
    title: str,
    tags: tuple[str, ...] = (),
    ruinous: int = 2,
    gap: float = 0.6,
    recover: float = 0.8,
    drift: float = 0.1,
    rooms: int = 2,
    hidden: bool = False,
    prompts: int = 16,
    tokens: int = 2,
    width: int = 24,
    seed: int = 0,
) -> Task:
    """Build one task of the family. Under four turns only the answer decides.

    ruinous: of plan, tool call and answer (in the order answer, plan, tool call), how many ruin rather than lead astray.
    gap: chance of harm by the worst action at a turn that decides. recover: chance that the right action at
    the recovery puts an astray errand right. drift: chance that luck leads astray over the whole horizon. rooms: looks
    of every situation. hidden: astray looks like sound. width: features a context; contexts outnumber them.
    """
    rng = np.random.default_rng(seed)
    A, S, T = 4, 3 * rooms, horizon
    at, types = _schedule(T)
    decides = kernels_of(rng, prompts, T, at, at.size)
    kernel_of = np.where(decides > 0, decides + CLASSES * _kinds(types, at, ruinous, T)[None, :], 0)
    status, room = np.divmod(np.arange(S), rooms)
    seen = np.where(status == ASTRAY, SOUND, status) if hidden else status
    offset = tastes(rng, A, at.size, 3, 1.0)
    ease = np.linspace(0.0, 1.0, prompts)
    success = np.stack([0.42 + 0.57 * ease, 0.15 + 0.45 * ease, 0.05 + 0.35 * ease], axis=1)
    return Task(
        id=id_, title=title, family="agentic", tags=("credit", *tags), start=starts(prompts, 3, rooms),
        kernels=_kernels(rng, A, rooms, gap, drift / T, recover), kernel_of=kernel_of, success=success[:, status],
        observation=observations(prompts, T, seen * rooms + room), context=contexts(decides, at.size, seen, 3),
        offset=offset, features=rng.normal(size=(offset.shape[0], width)) / np.sqrt(width),
        fork=decides > 0, words=words(A, tokens),
        definition={
            "horizon": T, "forks": at.tolist(), "types": types, "ruinous": ruinous, "gap": gap, "recover": recover,
            "drift": drift, "rooms": rooms, "hidden": hidden, "tokens": tokens, "width": width, "seed": seed,
        },
    )  # fmt: skip


def _schedule(horizon: int) -> tuple[Int, list[str]]:
    """Turns that decide, and the type of every turn."""
    types = ["tool" if t % 2 else "memory" for t in range(horizon)]
    deciding = {horizon - 1: "message"}
    if horizon >= 4:
        deciding |= {0: "plan", horizon // 3: "tool", 2 * horizon // 3: "recovery"}
    for t, type_ in deciding.items():
        types[t] = type_
    return np.array(sorted(deciding)), types


def _kinds(types: list[str], at: Int, ruinous: int, horizon: int) -> Int:
    """Kind of every turn (T,); only those of turns that decide are read."""
    mistakes = [horizon - 1, int(at[0]), int(at[min(1, at.size - 1)])]  # answer, plan, tool call
    kind = np.full(horizon, SLIPS)
    kind[mistakes[:ruinous]] = RUINS
    kind[[t for t in at if types[t] == "recovery"]] = REPAIRS
    return kind


def _kernels(rng: np.random.Generator, A: int, rooms: int, gap: float, slip: float, recover: float) -> Float:
    """(1 + 3 CLASSES, S, A, S): the routine kernel, then one per kind of deciding turn and class."""
    walk = walks(rng, rooms, A)
    moves = np.zeros((1 + 3 * CLASSES, 3, A, 3))
    moves[:, np.arange(3), :, np.arange(3)] = 1.0
    for c in range(CLASSES):
        slips, ruins, repairs = (moves[1 + c + kind * CLASSES] for kind in (SLIPS, RUINS, REPAIRS))
        for i, severity in enumerate(SEVERITY):
            wrong, harm = (c + 1 + i) % A, gap * severity
            slips[SOUND, wrong] = [1 - harm, harm, 0]
            ruins[SOUND, wrong] = [1 - harm, 0, harm]
            ruins[ASTRAY, wrong] = [0, 1 - harm, harm]
        repairs[ASTRAY, c] = [recover, 1 - recover, 0]
    luck = np.array([[1 - slip, slip, 0], [0, 1, 0], [0, 0, 1]])
    kernels: Float = np.einsum("ksav,vt,rau->ksratu", moves, luck, walk).reshape(len(moves), 3 * rooms, A, 3 * rooms)
    return kernels
