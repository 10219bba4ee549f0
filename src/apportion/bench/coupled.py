"""Teams whose members' parts combine in a designed way: what one agent earned depends on what the others did.

Every agent has as many turns, in a row, and one fork among them, where one action is right. The reward is
``ease + gap * worth``, ease by prompt, and worth is, of the agents that did right,

    independent    their share: difference reward and Shapley value are one
    redundant      1 if any did: each can be spared where two did, so that difference rewards are 0 and Shapley shares
    complementary  1 if all did: the difference reward of each is the whole, n times what there is
    chain          1 if the planner did, and then the solver did or the verifier mended it (chance ``mend``)

Nobody sees what the others did, but in a chain, where plan and solution are shown to whoever comes after. The policy
starts with the chance ``right`` of doing right at every fork, set so that the team starts with worth ``START``
whatever its structure and size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ..errors import OptionError
from .forks import CLASSES, contexts, kernels_of, observations, starts, tastes, walks, with_rooms
from .tabular import Float, Task, binary_words

Coupling = Literal["independent", "redundant", "complementary", "chain"]

#: Expected worth under the starting policy.
START = 0.4


def coupled(
    id_: str,
    *,
    kind: Coupling,
    agents: int,
    title: str,
    horizon: int = 24,
    tags: tuple[str, ...] = (),
    gap: float = 0.8,
    mend: float = 0.8,
    right: float | None = None,
    rooms: int = 2,
    routine_entropy: float = 1.0,
    prompts: int = 16,
    tokens: int = 2,
    width: int = 24,
    seed: int = 0,
) -> Task:
    """Build one team.

    agents: 2 to 8, a divisor of the horizon; a chain has 3. right: see above; None: worked out from ``START``.
    rooms, routine_entropy, prompts, tokens, width, seed: as in the bifurcation family.
    """
    if not 2 <= agents <= 8 or horizon % agents or (kind == "chain" and agents != 3):
        raise OptionError(
            f"task {id_}: {agents} agents in {horizon} turns: expected 2 to 8, all with as many turns; 3 in a chain"
        )
    rng = np.random.default_rng(seed)
    A, T, share = 4, horizon, horizon // agents
    worth, after = _statuses(kind, agents, mend)
    K = worth.size
    status, room = np.divmod(np.arange(K * rooms), rooms)
    shown = K if kind == "chain" else 1
    right = _right(kind, agents, mend) if right is None else right
    at = np.arange(agents) * share + share // 2
    deciding = kernels_of(rng, prompts, T, at, agents)  # 0, or 1 + the right action
    number = np.cumsum(deciding > 0, axis=1) - 1
    visible = status if kind == "chain" else np.zeros_like(status)
    offset = _tastes(rng, A, agents, shown, routine_entropy, right)
    roles = np.repeat(np.arange(agents), share)
    return Task(
        id=id_, title=title, family="team", tags=("credit", kind, *tags),
        start=starts(prompts, K, rooms), kernels=_kernels(rng, A, agents, rooms, K, after),
        kernel_of=np.where(deciding > 0, number * CLASSES + deciding, 0),
        success=np.linspace(0.02, 0.98 - gap, prompts)[:, None] + gap * worth[status][None, :],
        observation=observations(prompts, T, np.arange(K * rooms) if kind == "chain" else room),
        context=contexts(deciding, agents, visible, shown), offset=offset,
        features=rng.normal(size=(offset.shape[0], width)) / np.sqrt(width), fork=deciding > 0, words=binary_words(A, tokens),
        definition={
            "kind": kind, "agents": agents, "horizon": T, "forks": at.tolist(), "roles": roles.tolist(), "gap": gap,
            "right": right, **({"mend": mend} if kind == "chain" else {}), "rooms": rooms, "routine_entropy": routine_entropy,
            "tokens": tokens, "width": width, "seed": seed,
        },
        layout="team", roles=roles,
    )  # fmt: skip


#: The chance of every next status, by agent, status, and whether the agent did right.
After = Callable[[int, int, bool], dict[int, float]]


def _statuses(kind: Coupling, n: int, mend: float) -> tuple[Float, After]:
    """What each status is worth, in [0, 1], and what follows it; status 0 is the first."""
    if kind == "independent":
        return np.arange(n + 1) / n, lambda agent, s, right: {min(s + right, n): 1.0}
    if kind == "redundant":
        return np.array([0.0, 1.0]), lambda agent, s, right: {int(right or s == 1): 1.0}
    if kind == "complementary":
        return np.array([1.0, 0.0]), lambda agent, s, right: {int(s == 1 or not right): 1.0}

    def chain(agent: int, s: int, right: bool) -> dict[int, float]:  # 0 nothing, 1 planned, 2 solved
        if not right or s != min(agent, 1):
            return {s: 1.0}
        return {0: {1: 1.0}, 1: {2: 1.0}, 2: {2: mend, 1: 1.0 - mend}}[agent]

    return np.array([0.0, 0.0, 1.0]), chain


def _right(kind: Coupling, n: int, mend: float) -> float:
    """The chance of doing right at which the expected worth is :data:`START`."""
    if kind == "independent":
        return START
    worth: Callable[[float], float] = {
        "redundant": lambda r: 1.0 - (1.0 - r) ** n, "complementary": lambda r: r**n,
        "chain": lambda r: r * (r + (1.0 - r) * r * mend),
    }[kind]  # fmt: skip
    low, high = 0.0, 1.0
    for _ in range(60):  # halved rather than solved, so that every machine finds the same number
        middle = (low + high) / 2
        low, high = (middle, high) if worth(middle) < START else (low, middle)
    return low


def _tastes(rng: np.random.Generator, A: int, agents: int, shown: int, routine_entropy: float, right: float) -> Float:
    """First logits (C, A): at forks the right action has its chance, whatever the other tastes are."""
    offset = tastes(rng, A, agents, shown, routine_entropy)
    for row in range(agents * CLASSES * shown):
        best = row // shown % CLASSES
        others = math.fsum(math.exp(x) for a, x in enumerate(offset[row].tolist()) if a != best)
        offset[row, best] = math.log(others * right / (1.0 - right))
    return offset


def _kernels(rng: np.random.Generator, A: int, agents: int, rooms: int, K: int, after: After) -> Float:
    """(1 + agents * CLASSES, S, A, S): the routine kernel, then one per agent and right action."""
    walk = walks(rng, rooms, A)
    moves: Float = np.zeros((1 + agents * CLASSES, K, A, K))
    moves[0, np.arange(K), :, np.arange(K)] = 1.0
    for agent, c, s, a in np.ndindex(agents, CLASSES, K, A):
        for then, chance in after(agent, s, a == c).items():
            moves[1 + agent * CLASSES + c, s, a, then] += chance
    return with_rooms(moves, walk)


def variants() -> dict[str, dict[str, Any]]:
    """Arguments of every shipped variant, by id."""
    said = {
        "independent": "{} agents, each adds its part", "redundant": "{} agents, one of whom is enough",
        "complementary": "{} agents, all of whom are needed",
    }  # fmt: skip
    made: dict[str, dict[str, Any]] = {
        f"team/{kind}-{n}": {"kind": kind, "agents": n, "title": title.format(n), "tags": ("agents", "coupling")}
        for kind, title in said.items()
        for n in (2, 4, 8)
    }
    made["team/chain"] = {
        "kind": "chain", "agents": 3, "title": "a planner, a solver, and a verifier who can mend", "tags": ("coupling",),
    }  # fmt: skip
    return made
