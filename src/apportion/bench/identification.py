"""Credit against the exact advantage, unit by unit."""

from __future__ import annotations

import numpy as np

from ..ops.groups import firsts
from .entrants import Outcome
from .estimands import OTHERS, estimands
from .layouts import choices, situation
from .oracle import oracle, truth
from .tabular import Bool, Float, Int
from .world import Rollouts

PAIRS = 20_000
#: Credit below this is rounding and no opinion: a policy that errs once in e^30 rollouts leaves advantages of 1e-14.
TINY = 1e-9


def identify(outcome: Outcome, epsilon: float, rng: np.random.Generator) -> dict[str, float]:
    """How well credit finds the choices (turns or steps) that mattered.

    correlation and sign: over pairs of turns (one at a fork) whose exact advantages differ by more
    than epsilon: Pearson of the differences, and how often they point the same way (ties count
    half). fork_ap: average precision of |credit| at finding turns with |A| > epsilon. leak_routine:
    share of all |credit| on turns with |A| <= epsilon. leak_luck: correlation of credit with
    what the environment's dice did right after the turn. silent: share of the choices at forks that the method says
    nothing about: credit 0 (to rounding), or not scored. Only turns that enter the loss count, a turn
    shared by several rows once; coverage is their share. NaN where undefined.
    correlation:E and sign:E say the same against another estimand E (see :mod:`.estimands`), where the task has one.
    """
    credit, rollouts = outcome.credit, outcome.rollouts
    task, batch = rollouts.task, credit.batch
    where, at = situation(rollouts, batch), choices(task, batch)
    with oracle():
        solved = truth(task, rollouts.theta)
        exact = solved.A[where]
        after = solved.V[where[0], where[1] + 1, rollouts.states[at.row, where[1] + 1]]
        after = np.where(where[1] + 1 == task.horizon, rollouts.reward[at.row], after)
        luck = after - solved.Q[where]
        others = _others(rollouts, at.row, where[1])
    kept = np.bincount(batch.within("token", at.level), weights=credit.kept, minlength=at.row.size) > 0
    counted = kept & (firsts(batch.node) if batch.node is not None and at.level == "turn" else True)
    coverage = float(counted.mean())
    value = np.where(np.abs(credit.on(at.level)) < TINY, 0.0, credit.on(at.level))
    said = value if credit.scored is None or credit.level != at.level else value * credit.scored
    at_forks = task.fork[rollouts.prompt[at.row], where[1]] & counted
    silent = float((said[at_forks] == 0).mean()) if at_forks.any() else float("nan")
    given, exact, luck = value[counted], exact[counted], luck[counted]
    if not counted.any():
        nothing = dict.fromkeys(("correlation", "sign", "fork_ap", "leak_routine", "leak_luck"), float("nan"))
        return {**nothing, "coverage": 0.0, "silent": 1.0}
    matters = np.abs(exact) > epsilon
    total = np.abs(given).sum()
    correlation, sign = _pairs(given, exact, matters, epsilon, rng)
    more: dict[str, float] = {}
    for name, other in others.items():
        same = other[counted]
        more[f"correlation:{name}"], more[f"sign:{name}"] = _pairs(given, same, np.abs(same) > epsilon, epsilon, rng)
    return {
        "correlation": correlation,
        "sign": sign,
        "fork_ap": _average_precision(np.abs(given), matters),
        "leak_routine": float(np.abs(given[~matters]).sum() / total) if total > 0 else float("nan"),
        "leak_luck": _pearson(given, luck),
        "coverage": coverage,
        "silent": silent,
        **more,
    }


def _others(rollouts: Rollouts, row: Int, time: Int) -> dict[str, Float]:
    """Every other estimand that is defined on the task, at the batch's choices."""
    made = estimands(rollouts)
    found = {name: getattr(made, name)[row, time] for name in OTHERS}
    return {name: value for name, value in found.items() if not np.isnan(value).any()}


def _pairs(given: Float, exact: Float, matters: Bool, epsilon: float, rng: np.random.Generator) -> tuple[float, float]:
    forks = np.flatnonzero(matters)
    if not forks.size:
        return float("nan"), float("nan")
    a, b = rng.choice(forks, PAIRS), rng.integers(given.size, size=PAIRS)
    true, seen = exact[a] - exact[b], given[a] - given[b]
    differ = np.abs(true) > epsilon
    if not differ.any():
        return float("nan"), float("nan")
    true, seen = true[differ], seen[differ]
    seen = np.where(np.abs(seen) < TINY, 0.0, seen)  # equal but for rounding is a tie
    agree = np.where(seen == 0, 0.5, np.sign(seen) == np.sign(true))
    return _pearson(seen, true), float(agree.mean())


def _pearson(x: Float, y: Float) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _average_precision(score: Float, positive: Bool) -> float:
    """Mean precision at the positives, ties ranked together (their common precision)."""
    if not positive.any() or positive.all():
        return float("nan")
    levels, inverse = np.unique(-score, return_inverse=True)
    hits = np.cumsum(np.bincount(inverse, weights=positive, minlength=levels.size))
    seen = np.cumsum(np.bincount(inverse, minlength=levels.size))
    gained = np.diff(np.concatenate(([0.0], hits)))
    return float((gained * hits / seen).sum() / positive.sum())
