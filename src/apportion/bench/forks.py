"""What all families with forks share: where the forks are, what the policy conditions on, and its first tastes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .tabular import BIT, Float, Int, binary_words

#: Classes of fork (which action is right), and kinds of routine turn.
CLASSES = 4
ROUTINE_KINDS = 8


def spread(forks: int, horizon: int) -> Int:
    """Turns of ``forks`` decisions, evenly over the horizon; fewer where two would fall on one turn."""
    return np.unique(np.round((np.arange(forks) + 0.5) / forks * horizon - 0.5).astype(np.int64))


def kernels_of(rng: np.random.Generator, prompts: int, horizon: int, at: Int, forks: int) -> Int:
    """Kernel of each turn (P, T): 0 for routine, 1 + class at a fork; every prompt has classes of its own.

    at: turns of the forks, the same for all prompts (n,) or each prompt's own (P, n).
    """
    kind = rng.integers(CLASSES, size=(prompts, forks))
    kernel_of = np.zeros((prompts, horizon), dtype=np.int64)
    where = np.broadcast_to(at, (prompts, at.shape[-1]))
    np.put_along_axis(kernel_of, where, 1 + kind[:, : at.shape[-1]], axis=1)
    return kernel_of


def observations(prompts: int, horizon: int, shown: Int) -> Int:
    """Observation keys (P, T + 1, S): prompt, turn and what is ``shown`` of the state, (S,) or (P, T + 1, S)."""
    place = (np.arange(prompts)[:, None] * (horizon + 1) + np.arange(horizon + 1)) * shown.shape[-1]
    seen: Int = place[:, :, None] + shown
    return seen


def starts(prompts: int, statuses: int, rooms: int) -> Float:
    """Where rollouts begin (P, S): in the first status, in any room alike. States are (status, room), rooms running faster."""
    start: Float = np.zeros((prompts, statuses * rooms))
    start[:, :rooms] = 1.0 / rooms
    return start


def walks(rng: np.random.Generator, rooms: int, actions: int) -> Float:
    """How the room changes (R, A, R): it depends on the action, and value does not depend on it."""
    return rng.dirichlet(np.ones(rooms), size=(rooms, actions))


def with_rooms(moves: Float, walk: Float) -> Float:
    """Kernels of (status, room), (K, S R, A, S R): the status moves by ``moves`` (K, S, A, S), the room by ``walk`` (R, A, R)."""
    kinds, statuses, actions, _ = moves.shape
    both = np.einsum("ksat,rau->ksratu", moves, walk)
    return np.asarray(both.reshape(kinds, statuses * len(walk), actions, statuses * len(walk)))


def recent(kernel_of: Int, turns: int) -> NDArray[np.bool_]:
    """(P, T + 1): whether a fork lies less than ``turns`` turns before what the last turn led to; 0: never."""
    P, T = kernel_of.shape
    since = np.full(P, T + turns)
    found = np.zeros((P, T + 1), dtype=np.bool_)
    for t in range(T):
        since = np.where(kernel_of[:, t] > 0, 0, since + 1)
        found[:, t + 1] = since < turns
    return found


def words(actions: int, tokens: int) -> Int:
    """Token spellings (A, tokens): a token of its own for every action, or bits and then fillers."""
    return BIT + np.arange(actions)[:, None] if tokens == 1 else binary_words(actions, tokens)


def contexts(kernel_of: Int, forks: int, visible: Int, statuses: int) -> Int:
    """Row of the policy table (P, T, S): fork number, class and visible status; at routine turns kind and status.

    visible: status that is seen, (S,) or (P, T, S).
    """
    number = np.cumsum(kernel_of > 0, axis=1) - 1
    at_fork = (number * CLASSES + (kernel_of - 1))[:, :, None] * statuses + visible
    horizon = kernel_of.shape[1]
    routine = forks * CLASSES * statuses + (np.arange(horizon) % ROUTINE_KINDS)[None, :, None] * statuses + visible
    return np.where((kernel_of > 0)[:, :, None], at_fork, np.broadcast_to(routine, at_fork.shape)).astype(np.int64)


def tastes(
    rng: np.random.Generator, actions: int, forks: int, statuses: int, routine_entropy: float, fork_entropy: float = 1.0
) -> Float:
    """First logits of every context (C, A): the policy starts with a distaste for what is right at forks.

    routine_entropy, fork_entropy: 1 leaves the choices open, 0 makes the likeliest nearly certain.
    """
    deciding = forks * CLASSES * statuses
    offset = rng.normal(size=(deciding + ROUTINE_KINDS * statuses, actions)) * 0.7
    right = np.arange(deciding) // statuses % CLASSES
    offset[np.arange(deciding), right] -= 0.5
    for rows, entropy in ((offset[deciding:], routine_entropy), (offset[:deciding], fork_entropy)):
        rows[np.arange(len(rows)), rows.argmax(axis=1)] += 6.0 * (1.0 - entropy)
    return offset
