"""Many tasks and seeds in one statement, with its interval (Agarwal et al. 2021, arXiv 2108.13264).

Scores are tables (runs, tasks): seeds in rows, tasks in columns. Intervals come from the stratified bootstrap: runs
are drawn with replacement within every task, so that each task keeps its share. A statistic maps (..., runs, tasks)
to (...), so that all resamples are worked out at once. Published are the percentiles of the resamples; with the two to
ten runs a task that we have these hold the truth far too seldom, so the resamples' standard error is used with
Student's quantile (:func:`.statistics.studentised`, measured by ``python -m apportion.report.coverage``).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..errors import BenchError
from .statistics import Float, Int, iqm, studentised, wilson


def stratified_index(runs: int, tasks: int, count: int = 2000, seed: int = 0) -> Int:
    """Which run of each task every resample holds, (count, runs, tasks); the same for the same arguments."""
    if runs < 1 or tasks < 1:
        raise BenchError(f"a table of {runs} runs and {tasks} tasks: expected at least one of each")
    return np.random.default_rng(seed).integers(0, runs, size=(count, runs, tasks))


def resampled(scores: Float, statistic: Callable[[Float], Float], *, count: int = 2000, seed: int = 0) -> Float:
    """The statistic of every stratified resample of ``scores`` (runs, tasks), shape (count,)."""
    table = _table(scores)
    return np.asarray(statistic(_drawn(table, count, seed)), dtype=np.float64)


def estimate(
    scores: Float, statistic: Callable[[Float], Float], *, count: int = 2000, seed: int = 0, level: float = 0.95,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[float, float, float]:  # fmt: skip
    """(value, low, high) of a statistic of (runs, tasks); one run gives no interval (NaN). within: what bounds it."""
    table = _table(scores)
    value, runs = float(statistic(table)), table.shape[0]
    if runs < 2:
        return value, math.nan, math.nan
    drawn = _drawn(table, count, seed)
    samples = np.asarray(statistic(drawn), dtype=np.float64)
    return value, *studentised(value, samples, runs, freedom=_freedom(samples, drawn), level=level, within=within)


def difference(
    x: Float, y: Float, statistic: Callable[[Float], Float], *, count: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float, float]:
    """Statistic of ``y`` less that of ``x``, both (runs, tasks), with its interval: resamples draw the same runs of both,
    because run i of both saw the same seed."""
    a, b = _table(x), _table(y)
    if a.shape != b.shape:
        raise BenchError(f"paired runs: x has shape {a.shape}, y {b.shape}")
    value = float(statistic(b) - statistic(a))
    if a.shape[0] < 2:
        return value, math.nan, math.nan
    one, other = _drawn(a, count, seed), _drawn(b, count, seed)
    samples = np.asarray(statistic(other) - statistic(one), dtype=np.float64)
    return value, *studentised(value, samples, a.shape[0], freedom=_freedom(samples, other - one), level=level)


def overall_iqm(scores: Float) -> Float:
    """Interquartile mean over all runs of all tasks: the mean of the middle half."""
    return iqm(scores.reshape(*scores.shape[:-2], -1))


def optimality_gap(scores: Float, goal: float = 1.0) -> Float:
    """How far scores fall short of ``goal`` on average; what exceeds it makes up for nothing."""
    return np.asarray(goal - np.minimum(scores, goal).mean(axis=(-2, -1)))


def probability_of_improvement(x: Float, y: Float) -> Float:
    """P(X > Y) for a random run of each on a random task; ties count half. x (n, tasks), y (m, tasks).

    The Mann-Whitney statistic of every task over n m, averaged over tasks.
    """
    if x.shape[-1] != y.shape[-1]:
        raise BenchError(f"x is of {x.shape[-1]} tasks, y of {y.shape[-1]}: expected the same tasks, in the same order")
    a, b = x[..., :, None, :], y[..., None, :, :]
    return np.asarray(((a > b) + 0.5 * (a == b)).mean(axis=(-3, -2, -1)))


def improvement(x: Float, y: Float, *, level: float = 0.95) -> tuple[float, float, float]:
    """:func:`probability_of_improvement` with its interval.

    A bootstrap of few runs, all of which won, is certain of itself. So the score interval of a share is taken instead
    (:func:`.statistics.wilson`), with as many tosses a task as tell as much as n and m runs do: the Mann-Whitney
    statistic of two equal methods has variance (n + m + 1) / (12 n m), that of N tosses is 1 / (4 N), so
    N = 3 n m / (n + m + 1). Wider than needed where tasks are far apart, or where runs of a seed are alike.
    """
    a, b = _table(x), _table(y)
    value, (n, tasks), m = float(probability_of_improvement(a, b)), a.shape, b.shape[0]
    if min(n, m) < 2:
        return value, math.nan, math.nan
    tosses = 3.0 * n * m / (n + m + 1) * tasks
    return value, *wilson(value * tosses, tosses, level)[1:]


def performance_profile(scores: Float, at: Float) -> Float:
    """Share of runs with a score above each of ``at``, averaged over tasks; (len(at),), falling."""
    table = _table(scores)
    return np.asarray([(table > tau).mean() for tau in np.asarray(at, dtype=np.float64)])


def _freedom(samples: Float, drawn: Float) -> float:
    """Degrees of freedom of the resamples' standard error (Welch 1947, Satterthwaite 1946); drawn (count, runs, tasks).

    (sum_k v_k)^2 / sum_k (v_k^2 / (n - 1)), with v_k the part of the variance that comes from task k. Tasks are drawn
    independently, so v_k is what the mean of task k's drawn runs explains.
    """
    known = np.isfinite(samples)
    runs = int(drawn.shape[1])
    if known.sum() < 2:
        return runs - 1.0
    means = drawn[known].mean(axis=1)
    means = means - means.mean(axis=0)
    both, own = np.asarray((samples[known] - samples[known].mean()) @ means), (means**2).sum(axis=0)
    parts: Float = np.divide(both**2, own, out=np.zeros_like(own), where=own > 0)
    total, squares = float(parts.sum()), float((parts**2).sum())
    return (runs - 1.0) * (total * total / squares if squares > 0 else 1.0)


def _drawn(table: Float, count: int, seed: int) -> Float:
    runs, tasks = table.shape
    drawn: Float = table[stratified_index(runs, tasks, count, seed), np.arange(tasks)]
    return drawn


def _table(scores: Float) -> Float:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise BenchError(f"scores have shape {table.shape}: expected (runs, tasks)")
    if np.isnan(table).any():
        run, task = np.argwhere(np.isnan(table))[0]
        raise BenchError(f"scores[{run}, {task}] is NaN: a run that was not measured cannot be aggregated, leave its task out")
    return table
