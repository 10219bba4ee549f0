"""Finite-horizon Markov chains under a policy: exact induction and fast sampling.

Shapes: P prompts, T turns, S states, A actions, C contexts (what the policy conditions on), K
kernels. ``kernel_of[p, t]`` names the transition kernel (S, A, S) of a turn, ``context[p, t, s]`` the
context; ``policy`` is (C, A), ``success`` (P, S) the chance of reward 1 in the last state.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import jit

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def backward(kernels: Float, kernel_of: Int, context: Int, policy: Float, success: Float) -> tuple[Float, Float]:
    """V (P, T + 1, S) and Q (P, T, S, A) by backward induction.

    Q_t(s, a) = sum_s' P(s' | s, a) V_{t+1}(s'),   V_t(s) = sum_a pi(a | s) Q_t(s, a),   V_T = success
    """
    P, T, S = context.shape
    v = np.empty((P, T + 1, S))
    q = np.empty((P, T, S, policy.shape[1]))
    _backward(kernels, kernel_of, context, policy, success, v, q)
    return v, q


@jit
def _backward(kernels, kernel_of, context, policy, success, v, q):  # type: ignore[no-untyped-def]
    P, T, S = context.shape
    A = policy.shape[1]
    for p in range(P):
        for s in range(S):
            v[p, T, s] = success[p, s]
        for t in range(T - 1, -1, -1):
            k = kernel_of[p, t]
            for s in range(S):
                c = context[p, t, s]
                total = 0.0
                for a in range(A):
                    expected = 0.0
                    for s2 in range(S):
                        expected += kernels[k, s, a, s2] * v[p, t + 1, s2]
                    q[p, t, s, a] = expected
                    total += policy[c, a] * expected
                v[p, t, s] = total


def forward(kernels: Float, kernel_of: Int, context: Int, policy: Float, start: Float) -> Float:
    """d (P, T + 1, S): the chance of being in each state before each turn, from ``start`` (P, S)."""
    P, T, S = context.shape
    d = np.zeros((P, T + 1, S))
    _forward(kernels, kernel_of, context, policy, start, d)
    return d


@jit
def _forward(kernels, kernel_of, context, policy, start, d):  # type: ignore[no-untyped-def]
    P, T, S = context.shape
    A = policy.shape[1]
    for p in range(P):
        for s in range(S):
            d[p, 0, s] = start[p, s]
        for t in range(T):
            k = kernel_of[p, t]
            for s in range(S):
                here = d[p, t, s]
                if here > 0.0:
                    c = context[p, t, s]
                    for a in range(A):
                        w = here * policy[c, a]
                        for s2 in range(S):
                            d[p, t + 1, s2] += w * kernels[k, s, a, s2]


def sample(
    kernels: Float, kernel_of: Int, context: Int, policy: Float, success: Float, prompt: Int, time: Int, state: Int, seeds: Any
) -> tuple[Int, Int, Float]:
    """Roll n chains from turn ``time[i]`` in ``state[i]`` to the end.

    Returns states (n, T + 1) and actions (n, T), -1 before ``time``, and the rewards (n,). Chain i
    draws from its own generator, seeded by ``seeds[i]`` (uint64).
    """
    n, T, A = prompt.size, context.shape[1], policy.shape[1]
    states = np.full((n, T + 1), -1, dtype=np.int64)
    actions = np.full((n, T), -1, dtype=np.int64)
    reward = np.empty(n)
    tables = (np.cumsum(kernels, axis=3), kernel_of, context, np.cumsum(policy, axis=1), success)
    _roll(*tables, prompt, time, state, seeds, 1, states, actions, reward, A, True, np.empty((0, 0), dtype=np.int64))
    return states, actions, reward


def continue_from(
    kernels: Float, kernel_of: Int, context: Int, policy: Float, success: Float,
    prompt: Int, time: Int, state: Int, k: int, seeds: Any, forced: Int | None = None,
) -> Float:  # fmt: skip
    """Rewards (n, k) of k independent continuations from each of n situations; nothing is stored.

    forced (n, T): actions to take whatever the policy says; -1 where it draws.
    """
    n, A = prompt.size, policy.shape[1]
    reward = np.empty(n * k)
    none = np.empty((1, 1), dtype=np.int64)
    tables = (np.cumsum(kernels, axis=3), kernel_of, context, np.cumsum(policy, axis=1), success)
    held = np.empty((0, 0), dtype=np.int64) if forced is None else forced
    _roll(*tables, prompt, time, state, seeds, k, none, none, reward, A, False, held)
    return reward.reshape(n, k)


@jit
def _roll(ck, kernel_of, context, cp, success, prompt, time, state, seeds, k, states, actions, reward, A, store, forced):  # type: ignore[no-untyped-def]
    T = context.shape[1]
    S = ck.shape[1]
    for i in range(prompt.size):
        z = seeds[i]
        p = prompt[i]
        for j in range(k):
            s = state[i]
            for t in range(time[i], T):
                # splitmix64: one 64-bit state per chain, passes BigCrush
                z = z + np.uint64(0x9E3779B97F4A7C15)
                x = z
                x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                u = np.float64((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
                c = context[p, t, s]
                a = 0
                while a < A - 1 and u >= cp[c, a]:
                    a += 1
                if forced.size and forced[i, t] >= 0:
                    a = forced[i, t]
                z = z + np.uint64(0x9E3779B97F4A7C15)
                x = z
                x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                u = np.float64((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
                kern = kernel_of[p, t]
                if store:
                    states[i, t] = s
                    actions[i, t] = a
                s2 = 0
                while s2 < S - 1 and u >= ck[kern, s, a, s2]:
                    s2 += 1
                s = s2
            z = z + np.uint64(0x9E3779B97F4A7C15)
            x = z
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            u = np.float64((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
            if store:
                states[i, T] = s
            reward[i * k + j] = 1.0 if u < success[p, s] else 0.0


def pooled_values(key: Int, following: Int, reward: Float, weight: Float, n: int, sweeps: int) -> tuple[Float, int]:
    """Certainty-equivalent values of n keys: V = r + P V on the transitions' own counts.

    key, following, reward, weight: one entry per observed transition, sorted by key;
    ``following`` -1 ends a trajectory, ``weight`` 0 leaves a transition out. Gauss-Seidel from
    the highest key down, until nothing moves by more than 1e-12 or ``sweeps`` are done; one
    sweep is exact when every transition leads to a higher key. Returns V (NaN where unvisited)
    and the sweeps used.
    """
    bounds = np.searchsorted(key, np.arange(n + 1)).astype(np.int64)
    v = np.zeros(n)
    visits = np.bincount(key, weights=weight, minlength=n)
    used = _pooled(bounds, following, reward, weight, int(sweeps), v)
    return np.where(visits > 0, v, np.nan), used


@jit
def _pooled(bounds, following, reward, weight, sweeps, v):  # type: ignore[no-untyped-def]
    for sweep in range(sweeps):
        moved = 0.0
        for k in range(bounds.size - 2, -1, -1):
            total = 0.0
            count = 0.0
            first = 0.0
            for j in range(bounds[k], bounds[k + 1]):
                if weight[j] > 0.0:
                    worth = reward[j] + (0.0 if following[j] < 0 else v[following[j]])
                    if count == 0.0:
                        first = worth
                    # measured from the first one, so that the mean of equal values is that value exactly
                    total += weight[j] * (worth - first)
                    count += weight[j]
            if count > 0.0:
                new = first + total / count
                moved = max(moved, abs(new - v[k]))
                v[k] = new
        if moved <= 1e-12:
            return sweep + 1
    return sweeps
