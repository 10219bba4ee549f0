"""Classical anchors: small problems the field has known for years, so that a new tool can be trusted.

One prompt, a policy that starts uniform, all reward at the end: what the originals pay on the way is either
noise they pay whatever is done (left out) or becomes part of the last state's chance of reward.

umbrella      Osband et al. 2020 (bsuite): the first choice must suit the forecast; then nothing matters
discounting   Osband et al. 2020: one of five first choices pays a tenth more than the others, after a long wait
key-to-door   Hung et al. 2019: a key taken early opens a door late; apples in between
delayed       one decisive first action (success 0.8 or 0.2), then distractors of advantage zero
shortcut, ambiguous   Harutyunyan et al. 2019 (HCA): a way past a long chain; a bandit whose arms get mixed up
matrix-game   Claus & Boutilier 1998: two agents who do not see each other climb a table of payoffs
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from .tabular import Float, Task, chain

#: The climbing game: payoffs of the joint actions.
CLIMBING = np.array([[11.0, -30.0, 0.0], [-30.0, 7.0, 6.0], [0.0, 0.0, 5.0]])


def umbrella(id_: str, *, horizon: int, looks: int = 1, title: str) -> Task:
    """States: forecast (2) x umbrella (2) x look; looks change at random, whatever is done."""
    S, A = 4 * looks, 2
    forecast, carried = np.divmod(np.arange(4), 2)
    stay = np.repeat(np.eye(4)[:, None], A, axis=1)
    choose = np.zeros((4, A, 4))
    for s in range(4):
        for a in range(A):
            choose[s, a, 2 * forecast[s] + a] = 1.0
    start = np.zeros(S)
    start[(np.array([0, 2])[:, None] * looks + np.arange(looks)).ravel()] = 0.5 / looks
    success = np.repeat((forecast == carried).astype(np.float64), looks)
    return one_turn_decides(
        id_, _with_looks(choose, looks), _with_looks(stay, looks), success, title, horizon=horizon, start=start, tags=("delay",)
    )


def discounting(id_: str, *, horizon: int, title: str, best: int = 3) -> Task:
    """States: nothing chosen yet, then one per chain; the best chain pays 1.1 times what the others pay."""
    A = 5
    choose = np.zeros((A + 1, A, A + 1))
    choose[0, np.arange(A), 1 + np.arange(A)] = 1.0
    choose[1:, :] = np.eye(A + 1)[1:, None]
    stay = np.repeat(np.eye(A + 1)[:, None], A, axis=1)
    success = np.full(A + 1, 1.0 / 1.1)
    success[1 + best] = 1.0
    return one_turn_decides(id_, choose, stay, success, title, horizon=horizon, tags=("delay", "gap"))


def key_to_door(id_: str, *, apples: int, title: str) -> Task:
    """Two turns at which the key can be taken, ``apples`` turns among apples, one at the door.

    States: key (2) x apples eaten so far, at most 3, x door open (2). Action 0 takes or opens, the others idle; an
    apple comes by chance, and each adds to the reward what the door alone cannot.
    """
    A, many = 3, 4
    states = [(k, n, d) for k in range(2) for n in range(many) for d in range(2)]
    index = {s: i for i, s in enumerate(states)}
    S = len(states)
    take, eat, door = (np.zeros((S, A, S)) for _ in range(3))
    for (k, n, d), i in index.items():
        for a in range(A):
            take[i, a, index[(1 if a == 0 else k, n, d)]] = 1.0
            eat[i, a, index[(k, min(n + 1, many - 1), d)]] += 0.5
            eat[i, a, i] += 0.5
            door[i, a, index[(k, n, 1 if a == 0 and k else d)]] = 1.0
    success = np.array([0.6 * d + 0.4 * n / (many - 1) for _, n, d in states])
    forks = np.zeros((1, apples + 3), dtype=np.bool_)
    forks[0, [0, 1, -1]] = True
    return _classical(id_, np.stack([take, take, *[eat] * apples, door]), success, title, forks=forks, tags=("delay", "memory"))


def delayed(id_: str, *, horizon: int, title: str) -> Task:
    """The first action decides: success 0.8 after action 0, 0.2 after action 1; later ones only look busy."""
    choose = np.zeros((3, 2, 3))
    choose[:, 0, 1] = choose[:, 1, 2] = 1.0
    stay = np.repeat(np.eye(3)[:, None], 2, axis=1)
    return one_turn_decides(id_, choose, stay, np.array([0.5, 0.8, 0.2]), title, horizon=horizon, tags=("delay",))


def shortcut(id_: str, *, horizon: int, title: str) -> Task:
    """Action 0 leaves for the goal, action 1 walks one step of a chain; every step of the chain costs reward.

    States: i steps walked and still on the way (i = 0 … T), then i steps walked and at the goal.
    """
    T = horizon
    kernel = np.zeros((2 * (T + 1), 2, 2 * (T + 1)))
    for i in range(T + 1):
        kernel[i, 0, T + 1 + i] = 1.0
        kernel[i, 1, min(i + 1, T)] = 1.0
        kernel[T + 1 + i, :, T + 1 + i] = 1.0
    walked = np.tile(np.arange(T + 1), 2) / T
    return _classical(id_, kernel, 1.0 - walked, title, horizon=T, tags=("ways",))


def ambiguous(id_: str, *, mixed: float, title: str) -> Task:
    """Two arms, each of which leads to the other's state with chance ``mixed``; the states pay 0.4 and 0.6."""
    kernel = np.zeros((3, 2, 3))
    kernel[:, 0, 1:] = [1 - mixed, mixed]
    kernel[:, 1, 1:] = [mixed, 1 - mixed]
    return _classical(id_, kernel, np.array([0.5, 0.4, 0.6]), title, horizon=1, tags=("luck",))


def matrix_game(id_: str, *, title: str) -> Task:
    """Two agents choose one after the other, unseen; the chance of reward is the payoff between worst and best."""
    A = CLIMBING.shape[0]
    S = 1 + A + A * A
    kernels = np.zeros((2, S, A, S))
    kernels[:, np.arange(S), :, np.arange(S)] = 1.0
    kernels[0, 0] = 0.0
    kernels[0, 0, np.arange(A), 1 + np.arange(A)] = 1.0
    for a in range(A):
        kernels[1, 1 + a] = 0.0
        kernels[1, 1 + a, np.arange(A), 1 + A + A * a + np.arange(A)] = 1.0
    success = np.zeros(S)
    success[1 + A :] = ((CLIMBING - CLIMBING.min()) / np.ptp(CLIMBING)).ravel()
    base = _classical(id_, kernels, success, title, forks=np.ones((1, 2), dtype=np.bool_), tags=("coupled",))
    observation = base.observation.copy()
    observation[0, 1] = observation[0, 1, 0]  # the second agent sees no more than that it is its turn
    context = np.broadcast_to(np.arange(2)[None, :, None], (1, 2, S)).astype(np.int64)
    return replace(
        base, layout="team", roles=np.arange(2), observation=observation, context=context,
        offset=np.zeros((2, A)), features=np.eye(2),
    )  # fmt: skip


def _classical(id_: str, kernels: Float, success: Float, title: str, *, horizon: int = 0, **more: Any) -> Task:
    tags = ("credit", "classical", *more.pop("tags"))
    made = chain(id_, kernels, success, horizon=horizon or len(kernels), title=title, tags=tags, **more)
    return replace(made, definition={"kind": id_, "horizon": made.horizon})


def _with_looks(kernel: Float, looks: int) -> Float:
    """Every state in ``looks`` disguises, drawn anew each turn."""
    S, A, _ = kernel.shape
    anew = np.full((looks, looks), 1.0 / looks)
    return np.asarray(np.einsum("sau,lm->slaum", kernel, anew).reshape(S * looks, A, S * looks))


def one_turn_decides(
    id_: str, choose: Float, stay: Float, success: Float, title: str, *, horizon: int, **more: Any
) -> Task:  # fmt: skip
    """A task whose first turn moves by ``choose`` and all others by ``stay``, both (S, A, S)."""
    forks = np.zeros((1, horizon), dtype=np.bool_)
    forks[0, 0] = True
    return _classical(id_, np.stack([choose, *[stay] * (horizon - 1)]), success, title, forks=forks, **more)


_BUILDERS: dict[str, Callable[..., Task]] = {
    "umbrella": umbrella, "discounting": discounting, "key": key_to_door, "delayed": delayed, "shortcut": shortcut,
    "ambiguous": ambiguous, "matrix": matrix_game,
}  # fmt: skip


@cache
def variants() -> dict[str, dict[str, Any]]:
    """Arguments of every shipped variant, by id; the builder is the first word of the name."""
    made: dict[str, dict[str, Any]] = {}
    for T in (10, 30, 100):
        made[f"classical/umbrella-length-{T}"] = {"horizon": T, "title": f"an umbrella for a rain {T} turns away"}
    made["classical/umbrella-distract"] = {"horizon": 10, "looks": 16, "title": "the umbrella among sixteen random looks"}
    made["classical/discounting-chain"] = {"horizon": 100, "title": "one chain of five pays a tenth more"}
    made["classical/key-to-door"] = {"apples": 10, "title": "a key early, apples, a door late"}
    for T in (2, 8, 32):
        made[f"classical/delayed-effect-{T}"] = {"horizon": T, "title": f"the first of {T} actions decides"}
    made["classical/shortcut"] = {"horizon": 8, "title": "a way past a chain of eight"}
    made["classical/ambiguous-bandit"] = {"mixed": 0.1, "title": "a bandit whose arms get mixed up"}
    made["classical/matrix-game"] = {"title": "two agents climb a table of payoffs unseen"}
    return made


@cache
def build(id_: str) -> Task:
    """The shipped variant with this id."""
    name = id_.split("/")[1].split("-")[0]
    return _BUILDERS[name](id_, **variants()[id_])
