"""Agents in places they come back to: traps that can be repeated, places that look the same, notes that must be taken.

echo-trap    one safe action keeps what there is, for ever; a plan of several right actions pays more, a wrong one ruins
timeless     the bifurcation task, but places look the same whenever they are visited
memory-gap   what is seen at the first turn is needed at the last, and only a note keeps it
turns        plan, tool calls, notes, recovery and answer, over as many turns as one likes (see :mod:`.errand`)
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from .bifurcation import bifurcation
from .errand import errand
from .forks import observations
from .tabular import Float, Task, binary_words


def echo_trap(
    id_: str,
    *,
    horizon: int,
    plan: int = 3,
    title: str,
    safe: float = 0.45,
    wrong: float = 0.7,
    habit: float = 1.0,
    prompts: int = 16,
    seed: int = 0,
) -> Task:
    """States: steps of the plan done (0 … plan), then ruined. Action 0 is safe; one of the others goes on with the plan.

    safe: what a rollout that never moved is worth, beside 0.05 when ruined and up to 0.98 when the plan is done; what has
    been begun and not finished is worth less than nothing begun. wrong: chance that a wrong action ruins. habit: how
    much the policy leans to the safe action at the start, in logits.
    """
    rng = np.random.default_rng(seed)
    A, S = 4, plan + 2
    classes = A - 1  # which of the three is right, by prompt
    kernels: Float = np.zeros((classes, S, A, S))
    for c in range(classes):
        kernels[c, plan + 1, :, plan + 1] = 1.0
        for s in range(plan + 1):
            kernels[c, s, 0, s] = 1.0
            for a in range(1, A):
                if s == plan:
                    kernels[c, s, a, s] = 1.0
                elif a == 1 + (c + s) % classes:
                    kernels[c, s, a, s + 1] = 1.0
                else:
                    kernels[c, s, a, [s, plan + 1]] = [1 - wrong, wrong]
    of = np.arange(prompts) % classes
    ease = np.linspace(0.9, 1.1, prompts)[:, None]
    worth = np.concatenate([[safe], np.full(plan - 1, 0.6 * safe), [0.89], [0.05]])
    start = np.zeros((prompts, S))
    start[:, 0] = 1.0
    context = np.broadcast_to((of[:, None] * S + np.arange(S))[:, None, :], (prompts, horizon, S)).astype(np.int64)
    offset = rng.normal(size=(classes * S, A)) * 0.5
    offset[:, 0] += habit
    return Task(
        id=id_, title=title, family="agentic", tags=("credit", "echo"), start=start, kernels=kernels,
        kernel_of=np.tile(of[:, None], (1, horizon)), success=np.clip(ease * worth[None, :], 0.0, 1.0),
        observation=observations(prompts, horizon, np.arange(S)), context=context, offset=offset,
        features=np.eye(classes * S),
        fork=np.ones((prompts, horizon), dtype=np.bool_), words=binary_words(A, 2),
        definition={"horizon": horizon, "plan": plan, "safe": safe, "wrong": wrong, "habit": habit, "seed": seed},
    )  # fmt: skip


def timeless(id_: str, *, title: str, **more: Any) -> Task:
    """Nothing that is seen tells the turn, so that a rollout comes back to places it has been at."""
    base = bifurcation(id_, title=title, tags=("revisits",), **more)
    P, T, S = base.context.shape
    shown = np.broadcast_to(np.arange(P)[:, None, None] * S + np.arange(S), (P, T + 1, S)).astype(np.int64)
    return replace(base, family="agentic", shown=shown, definition={**base.definition, "timeless": True})


def memory_gap(id_: str, *, gap: int, title: str, prompts: int = 16, seed: int = 0) -> Task:
    """A cue (one of two) is seen at the first turn; action 0 notes it; ``gap`` turns later it must be acted on.

    States: cue (2) x noted (2), then x acted on rightly (2). Without a note the last turn looks the same for both cues.
    """
    rng = np.random.default_rng(seed)
    A, S, T = 4, 8, gap + 2
    states = [(cue, noted, right) for cue in range(2) for noted in range(2) for right in range(2)]
    note, wait, act = (np.zeros((S, A, S)) for _ in range(3))
    for i, (cue, noted, right) in enumerate(states):
        for a in range(A):
            note[i, a, states.index((cue, 1 if a == 0 else noted, right))] = 1.0
            wait[i, a, i] = 1.0
            act[i, a, states.index((cue, noted, int(a == 1 + cue)))] = 1.0
    kernel_of = np.zeros((prompts, T), dtype=np.int64) + 1
    kernel_of[:, 0], kernel_of[:, -1] = 0, 2
    cues, notes, rights = (np.array(x) for x in zip(*states, strict=True))
    seen = np.broadcast_to((2 + notes)[None, :], (T + 1, S)).copy()  # a note or none, and nothing of the cue
    seen[0] = cues
    seen[T - 1] = np.where(notes == 1, 4 + cues, 6)
    seen[T] = rights
    place = (np.arange(prompts)[:, None] * (T + 1) + np.arange(T + 1)) * S
    start = np.zeros((prompts, S))
    start[:, [states.index((0, 0, 0)), states.index((1, 0, 0))]] = 0.5
    kind = np.where(np.arange(T) == 0, 0, np.where(np.arange(T) == T - 1, 2, 1))
    context = np.broadcast_to(kind[:, None] * S + seen[:T], (prompts, T, S)).astype(np.int64)
    offset = rng.normal(size=(3 * S, A)) * 0.5
    ease = np.linspace(0.0, 0.2, prompts)[:, None]
    fork = np.zeros((prompts, T), dtype=np.bool_)
    fork[:, [0, -1]] = True
    return Task(
        id=id_, title=title, family="agentic", tags=("credit", "memory"), start=start, kernels=np.stack([note, wait, act]),
        kernel_of=kernel_of, success=ease + np.where(rights == 1, 0.75, 0.05)[None, :],
        observation=(place[:, :, None] + seen[None]).astype(np.int64), context=context, offset=offset,
        features=np.eye(3 * S), fork=fork, words=binary_words(A, 2), definition={"gap": gap, "seed": seed},
    )  # fmt: skip


@cache
def variants() -> dict[str, dict[str, Any]]:
    """Arguments of every shipped variant, by id; one knob moves at a time, from the first of each kind or ``turns-64``."""
    gaps = {5: "five", 10: "ten", 15: "15", 20: "20", 25: "25"}
    made: dict[str, dict[str, Any]] = {
        "echo-trap": {"horizon": 8, "title": "a safe action that can be repeated for ever"},
        "echo-trap-deep": {"horizon": 8, "plan": 4, "habit": 3.0, "title": "a safe habit, and a plan hardly ever finished"},
        **{f"echo-trap-{T}": {"horizon": T, "title": f"a safe action that can be repeated {T} times"} for T in (16, 32)},
        **{f"echo-habit-{h}": {"horizon": 8, "habit": 1.0 * h, "title": f"a safe action, a habit of {h}"} for h in (0, 2, 4)},
        "timeless": {"horizon": 20, "rooms": 4, "title": "places look the same whenever they are visited"},
        **{f"timeless-{n}": {"horizon": 20, "rooms": n, "title": f"{n} places, the same at every visit"} for n in (2, 8, 16)},
        **{f"memory-gap-{g}": {"gap": g, "title": f"a note taken is needed {said} turns later"} for g, said in gaps.items()},
        **{f"turns-{T}": {"horizon": T, "title": _errand(T)} for T in (1, 4, 16, 64, 256)},
        "reversible": {
            "horizon": 64,
            "ruinous": 0,
            "title": "an errand in 64 turns: early mistakes can be put right, none ruins",
        },
        "irreversible": {"horizon": 64, "ruinous": 3, "title": "an errand in 64 turns: no mistake can be put right"},
        "unseen-mistakes": {"horizon": 64, "hidden": True, "title": "an errand in 64 turns: astray looks like sound"},
        **{
            f"tokens-{name}": {"horizon": 256, "tokens": n, "title": f"an errand in 256 turns, {256 * n:,} tokens"}
            for name, n in (("16K", 64), ("128K", 512), ("1M", 4096))
        },
    }
    return {f"agentic/{name}": how for name, how in made.items()}


def _errand(turns: int) -> str:
    return "an errand of one answer" if turns == 1 else f"an errand in {turns} turns: plan, tool call, recovery, answer"


@cache
def build(id_: str) -> Task:
    """The shipped variant with this id."""
    how = variants()[id_]
    name = id_.split("/")[1]
    for start, builder in (("echo", echo_trap), ("timeless", timeless), ("memory-gap", memory_gap)):
        if name.startswith(start):
            return builder(id_, **how)
    return errand(id_, tags=(name.split("-")[0],), **how)
