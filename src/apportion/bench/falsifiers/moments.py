"""What the mean credit is, given where a choice was made and what was done: without the noise of single samples.

A single credit may be far from 0 where nothing is at stake and yet be right on average. The square of a mean is
estimated from *pairs of independent batches*, whose noise has no part in common: E x_b x_b' = (E x)^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tabular import Bool, Float
from .scene import Scene
from .units import units


@dataclass(frozen=True, eq=False)
class Sums:
    """Per batch, of the choices where actions matter (or do not): sums by context and action.

    credit, count (batches, C, A): of the credit, and how many choices. pull (batches, C, A): of credit x (1[a] - pi(a)),
    whose mean is 0 whatever the credit says of the place, as long as it says the same of every action. pi (C, A).
    """

    credit: Float
    count: Float
    pull: Float
    pi: Float


def sums(scene: Scene, matters: bool) -> Sums:
    """The sums over all batches of a scene."""
    pi = scene.task.policy(scene.task.start_theta)
    C, A = pi.shape
    made = []
    for outcome in scene.batches:
        u = units(outcome)
        chosen = u.matters == matters
        context, action, credit = u.context[chosen], u.action[chosen], u.credit[chosen]
        cell = context * A + action
        total = np.bincount(cell, weights=credit, minlength=C * A).reshape(C, A)
        count = np.bincount(cell, minlength=C * A).reshape(C, A).astype(np.float64)
        made.append((total, count, total - total.sum(axis=1, keepdims=True) * pi))
    credit, count, pull = (np.stack(x) for x in zip(*made, strict=True))
    return Sums(credit, count, pull, pi)


def squared(found: Sums, use: Float | None = None) -> float:
    """E over choices of (E[credit | context, action])^2; ``use``: weight of each batch, 0 or 1."""
    return _over_pairs(found.credit, found.count, found.count, use)


def pulled(found: Sums, use: Float | None = None) -> float:
    """E over choices of Var over actions of E[credit | context, action]: the part that moves the policy."""
    visits = np.broadcast_to(found.count.sum(axis=2, keepdims=True), found.pull.shape)
    return _over_pairs(found.pull, visits, visits / found.pi, use)


def _over_pairs(total: Float, count: Float, weight: Float, use: Float | None) -> float:
    w = np.ones(total.shape[0]) if use is None else use
    picked: Bool = w > 0
    s, n, v = total[picked], count[picked], weight[picked].sum(axis=0)
    pairs = n.sum(axis=0) ** 2 - (n**2).sum(axis=0)
    square = (s.sum(axis=0) ** 2 - (s**2).sum(axis=0)) / np.maximum(pairs, 1e-300)
    seen = pairs > 0
    all_of_it = float(count[picked].sum()) if weight is count else float(count[picked, :, 0].sum())
    return float((square * v)[seen].sum() / max(all_of_it, 1.0))
