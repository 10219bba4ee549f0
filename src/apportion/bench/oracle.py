"""Exact truth, and the guard that keeps everything but oracles away from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..errors import TruthAccessError
from ..ops.markov import backward, forward
from .tabular import Float, Task

_OPEN: ContextVar[bool] = ContextVar("apportion_oracle", default=False)


@contextmanager
def oracle() -> Iterator[None]:
    """The only scope in which truth can be read: oracle sources and the measuring instruments."""
    token = _OPEN.set(True)
    try:
        yield
    finally:
        _OPEN.reset(token)


class Truth:
    """Exact quantities of a task under a policy; reading any of them outside ``oracle()`` raises.

    V (P, T + 1, S), Q (P, T, S, A): latent values. d (P, T + 1, S): state occupancy.
    seen (P, T, S, A): Q given what the policy sees.
    A (P, T, S, A): advantage of the action given what the policy *sees* (states that look alike
    share it); latent (P, T, S, A): given the state, privileged where something is hidden.
    pi (C, A); J: expected return over prompts; gradient (D, A): dJ/dtheta.
    """

    def __init__(self, **arrays: Any) -> None:
        self.__dict__["_arrays"] = arrays

    def __getattr__(self, name: str) -> Any:
        if not _OPEN.get():
            raise TruthAccessError(f"truth.{name} was read outside an oracle: methods and their sources must not see the truth")
        found = self.__dict__["_arrays"]
        if callable(found[name]):  # gradients are dear for some policies: worked out when first read
            found[name] = found[name]()
        return found[name]


def truth(task: Task, theta: Float) -> Truth:
    """Solve the task for the policy with parameters ``theta`` by backward induction."""
    pi = task.policy(theta)
    v, q = backward(task.kernels, task.kernel_of, task.context, pi, task.success)
    d = forward(task.kernels, task.kernel_of, task.context, pi, task.start)
    latent = q - v[:, :-1, :, None]
    seen = _given_observation(task, d[:, :-1], q)
    rows = pi[task.context]
    advantage = seen - (rows * seen).sum(-1, keepdims=True)
    pull = _coefficient(task, d[:, :-1, :, None] * rows * latent)
    return Truth(
        V=v, Q=q, seen=seen, d=d, pi=pi, A=advantage, latent=latent,
        J=float((d[:, 0] * v[:, 0]).sum() / task.prompts),
        gradient=lambda: task.pull_back(theta, pull.mean(axis=0)), prompt_gradient=lambda: task.pull_back(theta, pull),
    )  # fmt: skip


def expected_return(task: Task, theta: Float) -> float:
    """J(theta) alone; used for learning curves and one-step gains by the instruments."""
    v, _ = backward(task.kernels, task.kernel_of, task.context, task.policy(theta), task.success)
    return float((task.start * v[:, 0]).sum() / task.prompts)


def _given_observation(task: Task, d: Float, q: Float) -> Float:
    """E[Q | prompt, turn, what is seen]: states that look alike are averaged by their occupancy."""
    P, T, S, A = q.shape
    seen = task.observation[:, :T]
    flat = (np.arange(P * T).reshape(P, T, 1) * (int(seen.max()) + 1) + seen).ravel()
    _, group = np.unique(flat, return_inverse=True)
    weight = d.ravel() + 1e-300  # unvisited look-alikes still get a defined average
    total = np.bincount(group, weights=weight)
    mean = np.stack([np.bincount(group, weights=weight * q[..., a].ravel()) / total for a in range(A)], axis=1)
    given: Float = mean[group].reshape(P, T, S, A)
    return given


def _coefficient(task: Task, weight: Float) -> Float:
    """dJ/dlogits of each prompt, shape (P, C, A), from d pi A (P, T, S, A)."""
    P, _, _, A = weight.shape
    C = task.contexts
    cell = (np.arange(P)[:, None, None] * C + task.context).ravel()
    total = [np.bincount(cell, weights=weight[..., a].ravel(), minlength=P * C) for a in range(A)]
    return np.stack(total, axis=1).reshape(P, C, A).astype(np.float64)


def optimum(task: Task) -> float:
    """The best expected return of any policy that sees the state: a bound, reached where nothing is hidden."""
    v = task.success
    for t in reversed(range(task.horizon)):
        v = np.einsum("psan,pn->psa", task.kernels[task.kernel_of[:, t]], v).max(axis=-1)
    return float((task.start * v).sum() / task.prompts)


def attainable(task: Task, starts: int = 6) -> float:
    """The best expected return that exact gradient ascent finds within the policy class.

    From several seeded starts, because ascent has local optima; one is enough where it comes
    within half a percent of what any policy could reach. A network ascends from its first
    checkpoint only.
    """
    if task.neural:
        return task.attainable
    rng, bound, best = np.random.default_rng(0), optimum(task), 0.0
    for i in range(starts):
        best = max(best, _ascend(task, task.start_theta + (rng.normal(size=task.start_theta.shape) if i else 0.0)))
        if best > 0.995 * bound:
            break
    return best


def _ascend(task: Task, theta: Float, steps: int = 300) -> float:
    m, s = np.zeros_like(theta), np.zeros_like(theta)
    best = expected_return(task, theta)
    with oracle():
        for i in range(1, steps + 1):
            g = truth(task, theta).gradient
            m, s = 0.9 * m + 0.1 * g, 0.99 * s + 0.01 * g * g
            theta = theta + 0.3 * (m / (1 - 0.9**i)) / (np.sqrt(s / (1 - 0.99**i)) + 1e-12)
            best = max(best, expected_return(task, theta))
    return best
