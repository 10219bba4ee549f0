"""Measuring a method's update against the exact gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .draws import spent, streams
from .entrants import Entrant, Outcome, run_entrant
from .gradient import turn_update, update
from .oracle import expected_return, oracle, truth
from .records import Cell, grouped
from .settings import Settings
from .tabular import Float, Task

Numbers = list[tuple[str, int, float, float]]
GAINS = 2  # replicates whose one-step gain is computed exactly
STEPS = 2.0 ** np.arange(-3, 4)  # lengths of trial steps, in parameter norm


def gradient_rows(cell: Cell, task: Task, entrant: Entrant, settings: Settings) -> Numbers:
    """Moments of the update at each batch size; ratios and intervals are made when reporting.

    inner = E <g, g*>, norm2 = E |g|^2, truth2 = |g*|^2, cross = E <g_i, g_j> over pairs of
    independent batches (so that |E g - g*|^2 = cross - 2 inner + truth2 without plug-in bias).
    inner_var, norm2_var, inner_norm2: variances over the independent batches, and their covariance.
    between2, within2: squared length of the part of the bias that reweights prompts and of the
    part that credits wrongly within them; useful2: that of the part along g*.

    The mean update is a needle in its own noise, so inner, cross and the split use control
    variates: updates of the same rollouts whose mean is *known* to be g*, see :func:`_variates`.
    """
    theta = task.start_theta
    with oracle():
        exact = truth(task, theta)
        star, by_prompt, occupancy = exact.gradient, exact.prompt_gradient / task.prompts, exact.d
    sizes = settings.gradient.sizes(task.horizon)
    seen = [_sample(cell, task, entrant, settings, batch, n) for batch, n in sizes]
    numbers: Numbers = []
    for i, ((batch, _), (g, known, price)) in enumerate(zip(sizes, seen, strict=True)):
        pilot = seen[(i + 1) % len(seen)] if len(seen) > 1 else None
        noise = np.zeros_like(g)
        if pilot is not None:
            noise = np.einsum("k,nkpda->npda", _coefficients(pilot[0], pilot[1], by_prompt), known - by_prompt)
        quiet, whole = g - noise, g.sum(axis=1)
        length = _norm2(whole, noise.sum(axis=1))
        found = {"norm2": float(length.mean()), "price": price, "replicates": float(g.shape[0])}
        found |= _moments(quiet.sum(axis=1), star, length) | _bias_split(quiet, by_prompt, star)
        found |= _gains(task, theta, whole[:GAINS], occupancy, settings.gradient.kl)
        numbers += [(metric, batch, float("nan"), value) for metric, value in found.items()]
    return numbers


def _sample(
    cell: Cell, task: Task, entrant: Entrant, settings: Settings,
    batch: int, replicates: int,
) -> tuple[Float, Float, float]:  # fmt: skip
    """Independent batches of one size: updates (n, P, D, A), control variates (n, 3, P, D, A), price a trajectory."""
    updates, known, price = [], [], 0.0
    for r in range(replicates):
        world, own = streams(cell, batch, r)
        outcome = run_entrant(entrant, task, task.start_theta, *grouped(entrant, batch, settings.group), world, own)
        updates.append(update(outcome.rollouts, outcome.credit, outcome.rollouts.prompt[outcome.rows], task.prompts))
        known.append(_variates(outcome))
        price += spent(outcome).price(settings.prices) / batch / replicates
    return np.stack(updates), np.stack(known), price


def _variates(outcome: Outcome) -> Float:
    """Three unbiased updates of the same rollouts, by prompt: (3, P, D, A), each with mean g*.

    Credit A(h, a); V(next) - V (that and the dice); and R - V(start), REINFORCE with the exact
    baseline. Most methods' noise is a mixture of these.
    """
    r = outcome.first
    task, (n, T) = r.task, r.actions.shape
    t = np.arange(T)[None, :]
    p = r.prompt[:, None]
    with oracle():
        solved = truth(task, r.theta)
        v, q, start = solved.V, solved.Q, (task.start * solved.V[:, 0]).sum(axis=1)
    here, after = v[p, t, r.states[:, :T]], v[p, t + 1, r.states[:, 1:]]
    after[:, -1] = r.reward
    flat = np.broadcast_to((r.reward - start[r.prompt])[:, None], (n, T))
    context = task.context[p, t, r.states[:, :T]]
    weights = (q[p, t, r.states[:, :T], r.actions] - here, after - here, flat)
    return np.stack([turn_update(task, r.theta, r.prompt, context, r.actions, w / n) for w in weights])


def _coefficients(g: Float, variates: Float, mean: Float) -> Float:
    """b of sum_k b_k (variate_k - its mean), by least squares beside a multiple of the mean itself.

    They are fitted on the batches of *another* size: any fixed b keeps the mean, and b that knew
    nothing of the noise it is to remove leaves pairs of batches independent.
    """
    noise = (variates - mean).transpose(1, 0, 2, 3, 4).reshape(variates.shape[1], -1)
    x = np.vstack([noise, np.broadcast_to(mean, g.shape).ravel()]).T
    b: Float = np.linalg.lstsq(x, g.ravel(), rcond=None)[0]
    return b[:-1]


def _moments(g: Float, star: Float, length: Float) -> dict[str, float]:
    n = g.shape[0]
    flat = g.reshape(n, -1)
    inner = flat @ star.ravel()
    spread = np.cov(inner, length)
    return {
        "inner": float(inner.mean()),
        "truth2": float((star**2).sum()),
        "cross": _pairs(flat, flat),
        "inner_var": float(spread[0, 0]),
        "norm2_var": float(spread[1, 1]),
        "inner_norm2": float(spread[0, 1]),
    }


def _norm2(g: Float, noise: Float) -> Float:
    """|g|^2 of each batch, (n,), less the cross term of the mean update with the known noise, which is 0 on average.

    The mean update comes from the *other* batches, so that taking the term off moves no expectation.
    """
    n = g.shape[0]
    flat, known = g.reshape(n, -1), noise.reshape(n, -1)
    quiet = flat - known
    others = (quiet.sum(axis=0) - quiet) / (n - 1)
    return np.asarray((flat**2).sum(axis=1) - 2.0 * (others * known).sum(axis=1))


def _pairs(x: Float, y: Float) -> float:
    """Mean of <x_i, y_j> over i != j: unbiased for <E x, E y>."""
    n = x.shape[0]
    total = float(x.sum(axis=0) @ y.sum(axis=0)) - float((x * y).sum())
    return float(total / (n * (n - 1)))


def _bias_split(g: Float, by_prompt: Float, star: Float) -> dict[str, float]:
    """|sum_p (w_p - s) g*_p|^2, |sum_p (E g_p - w_p g*_p)|^2 and |s g*|^2, from pairs of batches.

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
    return {"between2": _pairs(between, between), "within2": _pairs(within, within), "useful2": useful}


def _gains(task: Task, theta: Float, updates: Float, occupancy: Float, kl: float) -> dict[str, float]:
    """Exact change of J after one step along the update: at the best length, and at a fixed KL."""
    start = expected_return(task, theta)
    visits = np.bincount(task.context.ravel(), weights=occupancy[:, :-1].ravel(), minlength=task.contexts) / task.prompts
    pi = task.policy(theta)

    def divergence(step: Float) -> float:
        new = task.policy(theta + step)
        with np.errstate(divide="ignore"):  # a long step leaves some action no chance at all: infinitely far
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
        fixed.append(expected_return(task, theta + _length(divergence, direction, kl) * direction) - start)
    return {"gain_best": float(np.mean(best)), "gain_kl": float(np.mean(fixed))}


def _length(divergence: Callable[[Float], float], direction: Float, kl: float) -> float:
    """How far along ``direction`` the divergence is ``kl``: it grows as the square of a short step."""
    low, high, length = 0.0, np.inf, 1.0
    for _ in range(60):
        found = divergence(length * direction)
        if abs(found - kl) <= 1e-9 * kl:
            return length
        low, high = (length, high) if found < kl else (low, length)
        guess = length * float(np.sqrt(kl / found)) if found > 0 else 0.0
        if low < guess < high:
            length = guess
        elif np.isfinite(high):
            length = (low + high) / 2
        elif length < 2**20:
            length *= 2
        else:
            break
    return low
