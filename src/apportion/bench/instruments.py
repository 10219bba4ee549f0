"""Measuring a method's update against the exact gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .entrants import Entrant, run_entrant
from .gradient import update
from .oracle import expected_return, oracle, truth
from .records import Cell
from .settings import Settings
from .tabular import Float, Task

Numbers = list[tuple[str, int, float, float]]
GAINS = 2  # replicates whose one-step gain is computed exactly
STEPS = 2.0 ** np.arange(-3, 4)  # lengths of trial steps, in parameter norm


def gradient_rows(
    cell: Cell, task: Task, entrant: Entrant, settings: Settings, streams: Callable[..., Any], spent: Callable[..., Any]
) -> Numbers:
    """Moments of the update at each batch size; ratios and intervals are made when reporting.

    inner = mean <g, g*>, norm2 = mean |g|^2, truth2 = |g*|^2, cross = mean <g_i, g_j> over pairs
    of independent batches (so that |E g - g*|^2 = cross - 2 inner + truth2 without plug-in bias).
    between2, within2: the part of the bias that reweights prompts and the part that credits
    wrongly within them, both relative to the squared length of the useful part.
    """
    theta = task.start_theta
    with oracle():
        exact = truth(task, theta)
        star, by_prompt, occupancy = exact.gradient, exact.prompt_gradient / task.prompts, exact.d
    numbers: Numbers = []
    for batch, replicates in zip(settings.gradient.batch_sizes, settings.gradient.replicates, strict=True):
        parts, price = [], 0.0
        for r in range(replicates):
            world, own = streams(cell, batch, r)
            outcome = run_entrant(entrant, task, theta, batch // settings.group, settings.group, world, own)
            row = [int(n) for n in outcome.credit.batch.trajectory.to_list()]
            parts.append(update(task, theta, outcome.credit, outcome.rollouts.prompt[row], task.prompts))
            price += spent(outcome).price(settings.prices) / batch / replicates
        g = np.stack(parts)
        found = (
            _moments(g.sum(axis=1), star) | _bias_split(g, by_prompt, star) | {"price": price, "replicates": float(replicates)}
        )
        found |= _gains(task, theta, g.sum(axis=1)[:GAINS], occupancy, settings.gradient.kl)
        numbers += [(metric, batch, float("nan"), value) for metric, value in found.items()]
    return numbers


def _moments(g: Float, star: Float) -> dict[str, float]:
    n = g.shape[0]
    flat = g.reshape(n, -1)
    norm2 = (flat**2).sum(axis=1)
    return {
        "inner": float((flat @ star.ravel()).mean()),
        "norm2": float(norm2.mean()),
        "truth2": float((star**2).sum()),
        "cross": _pairs(flat, flat),
    }


def _pairs(x: Float, y: Float) -> float:
    """Mean of <x_i, y_j> over i != j: unbiased for <E x, E y>."""
    n = x.shape[0]
    total = float(x.sum(axis=0) @ y.sum(axis=0)) - float((x * y).sum())
    return float(total / (n * (n - 1)))


def _bias_split(g: Float, by_prompt: Float, star: Float) -> dict[str, float]:
    """|sum_p (w_p - s) g*_p|^2 and |sum_p (E g_p - w_p g*_p)|^2, over s^2 |g*|^2.

    w_p g*_p is the projection of the expected update on prompt p's exact gradient, s that of
    the whole: a common factor is a learning rate and no bias.
    """
    n, P = g.shape[:2]
    flat, exact = g.reshape(n, P, -1), by_prompt.reshape(P, -1)
    length = np.maximum((exact**2).sum(axis=1), 1e-300)
    w = np.einsum("npd,pd->np", flat, exact) / length
    s = flat.sum(axis=1) @ star.ravel() / float((star**2).sum())
    between = np.einsum("np,pd->nd", w - s[:, None], exact)
    within = flat.sum(axis=1) - np.einsum("np,pd->nd", w, exact)
    useful = _pairs(s[:, None], s[:, None]) * float((star**2).sum())
    if useful <= 0:
        return {}
    return {"between2": _pairs(between, between) / useful, "within2": _pairs(within, within) / useful}


def _gains(task: Task, theta: Float, updates: Float, occupancy: Float, kl: float) -> dict[str, float]:
    """Exact change of J after one step along the update: at the best length, and at a fixed KL."""
    start = expected_return(task, theta)
    visits = np.bincount(task.context.ravel(), weights=occupancy[:, :-1].ravel(), minlength=task.offset.shape[0]) / task.prompts
    pi = task.policy(theta)

    def divergence(step: Float) -> float:
        new = task.policy(theta + step)
        return float(visits @ (pi * (np.log(pi) - np.log(new))).sum(axis=1))

    best, fixed = [], []
    for g in updates:
        norm = float(np.sqrt((g**2).sum()))
        if norm == 0:
            best.append(0.0)
            fixed.append(0.0)
            continue
        direction = g / norm
        best.append(max(expected_return(task, theta + length * direction) for length in STEPS) - start)
        low, high = 0.0, 1.0
        while divergence(high * direction) < kl and high < 2**20:
            high *= 2
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if divergence(middle * direction) < kl else (low, middle)
        fixed.append(expected_return(task, theta + low * direction) - start)
    return {"gain_best": float(np.mean(best)), "gain_kl": float(np.mean(fixed))}
