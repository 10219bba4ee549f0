"""A tabular task whose state remembers the window its policy reads, so that enumerating it stays exact.

A place of the new task is (memory, place of the old one); a memory is the last W pairs of a look and an action,
oldest first, fewer at the start. What the policy reads at a place is then a function of prompt, turn and place:
two places that read the same share a row of the policy table.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from ...errors import BenchError
from ..tabular import Bool, Float, Int, Task
from .text import ACT, Vocabulary

#: More texts than this are not enumerated: a benchmark of minutes could not read them often enough.
MOST_CONTEXTS = 4096
#: Nor are processes with more places a turn.
MOST_PLACES = 1024


@dataclass(frozen=True, eq=False)
class Process:
    """Arrays of a :class:`~apportion.bench.tabular.Task`, and the texts of its contexts.

    texts (C, length): what is read in each context. end (P, S), ends (E, length): the text after the last turn.
    """

    start: Float
    kernels: Float
    success: Float
    observation: Int
    shown: Int
    context: Int
    texts: Int
    end: Int
    ends: Int


def remember(base: Task, window: int) -> Process:
    """``base`` with a memory of ``window`` choices."""
    P, T, S = base.context.shape
    A = base.actions
    look = _looks(base)
    looks, actions, following = _memories(int(look.max()) + 1, A, window)
    M = looks.shape[0]
    if M * S > MOST_PLACES:
        raise BenchError(f"task {base.id}: a window of {window} makes {M * S} places a turn, more than {MOST_PLACES}")
    moves = np.zeros((base.kernels.shape[0], M, S, A, M, S))
    for m, s, a in product(range(M), range(S), range(A)):
        moves[:, m, s, a, following[m, look[s], a]] = base.kernels[:, s, a]
    kernels = moves.reshape(-1, M * S, A, M * S)
    start = np.zeros((P, M * S))
    start[:, :S] = base.start  # memory 0 is the empty one
    memory, place = np.divmod(np.arange(M * S), S)
    width = M * S
    row = (np.arange(P)[:, None] * (T + 1) + np.arange(T + 1)) * width
    tell = Vocabulary(P, T, base.looks, base.words)

    def texts(prompt: Int, time: Int, at: Int) -> Int:
        return tell.context(prompt, time, look[place[at]], looks[memory[at]], actions[memory[at]], ACT)

    visited = _reachable(start, kernels, base.kernel_of)
    p, t, at = np.nonzero(visited[:, :T])
    read, index = np.unique(texts(p, t, at), axis=0, return_inverse=True)
    if read.shape[0] > MOST_CONTEXTS:
        raise BenchError(
            f"task {base.id}: its policy would read {read.shape[0]:,} texts, {MOST_CONTEXTS:,} are enumerated at most: "
            "take a shorter task or fewer prompts"
        )
    context = np.zeros((P, T, width), dtype=np.int64)  # what is never visited may read anything
    context[p, t, at] = index.ravel()
    q, after = np.nonzero(visited[:, T])
    ends, last = np.unique(texts(q, np.full(q.size, T), after), axis=0, return_inverse=True)
    end = np.zeros((P, width), dtype=np.int64)
    end[q, after] = last.ravel()
    # places that are never visited keep an observation of their own
    seen = np.where(visited, (memory * S + look[place])[None, None, :], np.arange(width)[None, None, :] + P * (T + 1) * width)
    return Process(
        start=start, kernels=kernels, success=np.tile(base.success, (1, M)), observation=row[:, :, None] + seen,
        shown=np.tile(base.observation, (1, 1, M)), context=context, texts=read, end=end, ends=ends,
    )  # fmt: skip


def _looks(base: Task) -> Int:
    """How each place looks, (S,): the same whatever the prompt and the turn."""
    look = base.observation % base.looks
    if not (look == look[:1, :1]).all():
        raise BenchError(f"task {base.id}: how a place looks depends on more than the place: no window remembers it")
    return np.asarray(look[0, 0], dtype=np.int64)


def _memories(looks: int, actions: int, window: int) -> tuple[Int, Int, Int]:
    """Looks and actions of every memory, (M, W) with -1 in front, and the memory that follows, (M, looks, A)."""
    pairs = list(product(range(looks), range(actions)))
    known = [memory for k in range(window + 1) for memory in product(pairs, repeat=k)]
    number = {memory: i for i, memory in enumerate(known)}
    filled = np.full((len(known), window, 2), -1, dtype=np.int64)
    following = np.empty((len(known), looks, actions), dtype=np.int64)
    for i, memory in enumerate(known):
        if memory:
            filled[i, window - len(memory) :] = memory
        for look, action in pairs:
            following[i, look, action] = number[(*memory, (look, action))[-window:] if window else ()]
    return filled[..., 0], filled[..., 1], following


def _reachable(start: Float, kernels: Float, kernel_of: Int) -> Bool:
    """(P, T + 1, S): places that some actions lead to; a softmax leaves out none."""
    P, T = kernel_of.shape
    step = kernels.max(axis=2) > 0
    found = np.zeros((P, T + 1, start.shape[1]), dtype=np.bool_)
    found[:, 0] = start > 0
    for t in range(T):
        found[:, t + 1] = np.einsum("ps,psn->pn", found[:, t], step[kernel_of[:, t]]) > 0
    return found
