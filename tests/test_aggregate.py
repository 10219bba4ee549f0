"""Aggregation over tasks and seeds: published definitions, brute force, and intervals that cover what they promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from apportion.bench.aggregate import (
    difference,
    estimate,
    improvement,
    optimality_gap,
    overall_iqm,
    performance_profile,
    probability_of_improvement,
    resampled,
    stratified_index,
)
from apportion.bench.statistics import interval, kendall, student_quantile, wilson
from apportion.errors import BenchError


def test_the_iqm_pools_all_runs_of_all_tasks() -> None:
    scores = np.array([[0.0, 8.0], [1.0, 2.0], [3.0, 4.0], [100.0, 5.0]])
    assert overall_iqm(scores) == pytest.approx(np.mean([2, 3, 4, 5]))


def test_resamples_stay_within_their_task() -> None:
    scores = np.array([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0]])
    assert set(resampled(scores, lambda tables: tables[..., 0, 1], count=50).tolist()) == {10.0, 11.0, 12.0}
    assert stratified_index(3, 2, 5).shape == (5, 3, 2)


def test_improvement_is_the_share_of_pairs_won() -> None:
    x, y = np.array([[1.0, 5.0], [2.0, 5.0]]), np.array([[1.0, 4.0], [3.0, 6.0], [0.0, 5.0]])
    won = [np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a in x[:, t] for b in y[:, t]]) for t in range(2)]
    assert probability_of_improvement(x, y) == pytest.approx(np.mean(won))
    assert probability_of_improvement(x, y) + probability_of_improvement(y, x) == pytest.approx(1.0)
    value, low, high = improvement(np.tile([[1.0], [2.0], [3.0]], 2) + 10, np.tile([[1.0], [2.0], [3.0]], 2))
    assert (value, high) == (1.0, 1.0)
    assert low == pytest.approx(wilson(2 * 27 / 7, 2 * 27 / 7)[1]), "three wins of three a task are not certainty"


def test_profiles_fall_from_one_to_nothing() -> None:
    scores = np.array([[0.1, 0.5], [0.3, 0.9]])
    np.testing.assert_allclose(performance_profile(scores, np.array([0.0, 0.3, 0.5, 1.0])), [1.0, 0.5, 0.25, 0.0])


def test_the_gap_counts_only_what_falls_short() -> None:
    assert optimality_gap(np.array([[0.5, 2.0]])) == pytest.approx(0.25)


def test_kendall_by_counting_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 12).astype(float), rng.integers(0, 5, 12).astype(float)
    pairs = list(itertools.combinations(range(12), 2))
    same = sum(np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in pairs)
    n = [sum(x[i] != x[j] for i, j in pairs) for x in (a, b)]
    assert kendall(a, b) == pytest.approx(same / math.sqrt(n[0] * n[1]))
    assert kendall(np.array([1.0, 2.0, math.inf, math.inf]), np.array([1.0, 2.0, 3.0, 3.0])) == pytest.approx(1.0)
    assert math.isnan(kendall(np.ones(3), np.arange(3.0)))


def test_the_stratified_bootstrap_draws_from_every_resample_alike() -> None:
    """Three runs of two tasks have 27 x 27 resamples; their percentiles and spread are those of many drawn ones."""
    table = np.array([[0.1, 2.0], [0.4, 2.5], [0.9, 4.0]])
    triples = np.array(list(itertools.product(range(3), repeat=3)))
    every = np.array([[table[a, 0], table[b, 1]] for a in triples for b in triples]).transpose(0, 2, 1)
    exact = overall_iqm(every)
    assert exact.shape == (729,)
    drawn = resampled(table, overall_iqm, count=40_000)
    assert set(np.round(drawn, 9)) == set(np.round(exact, 9))
    assert drawn.mean() == pytest.approx(exact.mean(), abs=0.01)
    assert drawn.std() == pytest.approx(exact.std(), rel=0.02)
    np.testing.assert_allclose(interval(drawn), interval(exact), atol=0.03)


def test_the_interval_is_the_standard_error_with_students_quantile() -> None:
    rng = np.random.default_rng(4)
    one = rng.normal(size=(5, 1))
    value, low, high = estimate(one, lambda t: t.mean(axis=(-2, -1)), count=20_000)
    half = student_quantile(4.0) * one.std(ddof=1) / math.sqrt(5)
    assert (value - low, high - value) == pytest.approx((half, half), rel=0.03)
    alike = rng.normal(size=(4, 3)) @ np.diag([1.0, 1.0, 1e-6])  # one task without spread adds no freedom
    _, low, high = estimate(alike, lambda t: t.mean(axis=(-2, -1)), count=20_000)
    parts = alike.var(axis=0, ddof=1)
    freedom = 3 * parts.sum() ** 2 / (parts**2).sum()
    half = student_quantile(float(freedom)) * math.sqrt(parts.sum() / 4) / 3
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)


def test_differences_are_of_the_same_runs() -> None:
    rng = np.random.default_rng(5)
    x = 10 * rng.normal(size=(6, 2))
    value, low, high = difference(x, x + 1.0 + 0.01 * rng.normal(size=(6, 2)), overall_iqm)
    assert 0.9 < low < value < high < 1.1


def test_improvement_is_not_certain_of_itself() -> None:
    """Wilson's interval with as many tosses as a Mann-Whitney statistic of three against three tells: 27 / 7."""
    value, low, high = improvement(np.array([[2.0], [3.0], [4.0]]), np.array([[1.0], [0.0], [0.5]]))
    assert (value, high) == (1.0, 1.0)
    assert low == pytest.approx((27 / 7) / (27 / 7 + 1.959964**2), rel=1e-4)
    few, many = (improvement(rows, rows) for rows in (np.arange(4.0)[:, None], np.arange(40.0)[:, None]))
    assert few[0] == many[0] == 0.5
    assert many[2] - many[1] < 0.5 * (few[2] - few[1])


def test_intervals_cover_a_known_answer() -> None:
    """95 % intervals of the IQM on normal scores hold the truth in 90 to 98 of 100 experiments."""
    rng, hits, n = np.random.default_rng(1), 0, 300
    level = np.array([0.0, 1.0, 2.0])
    draws = rng.normal(size=(200_000, 3)) + level
    truth = float(overall_iqm(draws))
    for i in range(n):
        scores = rng.normal(size=(20, 3)) + level
        _, low, high = estimate(scores, overall_iqm, count=300, seed=i)
        hits += low <= truth <= high
    assert 0.90 <= hits / n <= 0.98


def test_one_run_has_no_interval() -> None:
    value, low, high = estimate(np.array([[1.0, 2.0]]), overall_iqm)
    assert value == 1.5
    assert math.isnan(low)
    assert math.isnan(high)


def test_bad_tables_are_refused_by_place() -> None:
    with pytest.raises(BenchError, match=r"scores\[1, 0\] is NaN"):
        estimate(np.array([[1.0], [math.nan]]), overall_iqm)
    with pytest.raises(BenchError, match="expected the same tasks"):
        probability_of_improvement(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(BenchError, match=r"\(runs, tasks\)"):
        estimate(np.ones(3), overall_iqm)
