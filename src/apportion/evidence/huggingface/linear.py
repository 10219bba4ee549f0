"""The linear part of a head, solved: hidden states are read once, and what is left is convex.

    min_w,b  mean loss + penalty |w - w_0|^2        w_0 = 0, or what was known before

by Newton's method (squared errors need one step), down a path of penalties; the one is kept that does best on held-out groups.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...structure import Float, Int
from .heads import Row
from .problem import Problem

#: Penalties, each begun where the one before ended; and the one where nothing is held out.
PATH, USUAL = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4), 0.1
#: Rounds of targets made of the head's own predictions; they end where none moves by more than this (in spreads).
ROUNDS, STILL = 20, 1e-3
#: Steps of Newton's method at most, and the change at which it ends.
STEPS, SMALL = 25, 1e-8


def solve(p: Problem, row: Row, learn: Int, check: Int) -> tuple[Row, float]:
    """``row`` with its linear part (w0, b0) solved on trajectories ``learn``; held-out loss relative to the first (NaN: none)."""
    units, other = p.known(learn), p.known(check)
    x, z = _design(p, row, units), _design(p, row, other)
    y, t = _aims(p, row, units), _aims(p, row, other)
    origin = np.append(row["w0"], row["b0"]).astype(np.float64)
    first = _loss(z, t, origin, p.loss) if t.size else float("nan")
    best, penalty, found = (first, PATH[0], origin) if t.size else (first, USUAL, _newton(x, y, origin, origin, USUAL, p.loss))
    path = origin
    for one in PATH if t.size else ():
        path = _newton(x, y, path, origin, one, p.loss)
        now = _loss(z, t, path, p.loss)
        if now < best:
            best, penalty, found = now, one, path
    if p.targets.again is not None:
        here = np.flatnonzero(np.isin(p.targets.owner, learn))
        found = _rounds(p, row, here, found, lambda begin, aim: _newton(x, aim, begin, origin, penalty, p.loss))
    w = found.astype(np.float32)
    return {**row, "w0": w[:-1], "b0": np.asarray(w[-1])}, best / first if t.size and first > 0 else float("nan")


def _rounds(p: Problem, row: Row, here: Int, wb: Float, fit: Callable[[Float, Float], Float]) -> Float:
    """New targets from the predictions at units ``here`` and their best fit, until nothing moves."""
    assert p.targets.again is not None
    x, last = _design(p, row, here), np.full(here.size, np.inf)
    for _ in range(ROUNDS):
        now = x @ wb
        if np.abs(now - last).max() < STILL:
            break
        said = np.zeros(p.at.size)
        said[here] = now * float(row["scale"]) + float(row["shift"])
        wb, last = fit(wb, (p.targets.again(said)[here] - float(row["shift"])) / float(row["scale"])), now
    return wb


def _design(p: Problem, row: Row, units: Int) -> Float:
    """Standardised hidden states and a 1, (n, d + 1); of "sum" heads their sums over each trajectory."""
    import torch

    states = p.states[torch.from_numpy(units)].cpu().numpy().astype(np.float64)
    x: Float = np.append((states - row["mean"]) / row["std"], np.ones((units.size, 1)), axis=1)
    if p.loss != "sum" or not units.size:
        return x
    total: Float = np.add.reduceat(x, np.unique(p.targets.owner[units], return_index=True)[1], axis=0)
    return total


def _aims(p: Problem, row: Row, units: Int) -> Float:
    """What the design should give: in spreads from the mean, or a chance (whose logit has no shift then)."""
    y, scale = p.targets.y[units], float(row["scale"])
    shift: Float = np.full(y.shape, float(row["shift"]))
    if p.loss == "bce":
        return y
    if p.loss == "sum":
        _, first, count = np.unique(p.targets.owner[units], return_index=True, return_counts=True)
        y, shift = y[first], shift[first] * count
    aims: Float = (y - shift) / scale
    return aims


def _newton(x: Float, y: Float, begin: Float, origin: Float, penalty: float, loss: str) -> Float:
    pull = 2.0 * penalty * np.append(np.ones(origin.size - 1), 0.0)
    wb = begin
    for _ in range(STEPS if loss == "bce" else 1):
        said = x @ wb
        chance = 1.0 / (1.0 + np.exp(-said))
        slope, curve = (chance - y, chance * (1.0 - chance)) if loss == "bce" else (2.0 * (said - y), np.full(y.size, 2.0))
        down = x.T @ slope / y.size + pull * (wb - origin)
        bend = (x.T * (curve / y.size)) @ x + np.diag(pull + 1e-9)
        step = np.linalg.solve(bend, down)
        size = 1.0  # shorter where the whole step would overshoot
        whole = _loss(x, y, wb, loss) + 0.5 * float(pull @ (wb - origin) ** 2)
        while size > 1e-3 and _loss(x, y, wb - size * step, loss) + 0.5 * float(pull @ (wb - size * step - origin) ** 2) > whole:
            size /= 2
        wb = wb - size * step
        if np.abs(size * step).max() < SMALL:
            break
    return wb


def _loss(x: Float, y: Float, wb: Float, loss: str) -> float:
    said = x @ wb
    if loss == "bce":
        return float((np.logaddexp(0.0, said) - y * said).mean())
    return float(((said - y) ** 2).mean())
