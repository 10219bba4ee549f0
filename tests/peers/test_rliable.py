"""Aggregates against rliable's (Agarwal et al. 2021), to the last digit.

Its ``library`` (stratified bootstrap, profiles) asks for packages of its own; tests/test_aggregate.py holds those against
every resample there is, one by one.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from apportion.bench.aggregate import (
    optimality_gap,
    overall_iqm,
    probability_of_improvement,
)

metrics = pytest.importorskip("rliable.metrics")

Float = NDArray[np.float64]


def scores(runs: int, tasks: int, seed: int) -> Float:
    """Runs of tasks that differ in level and spread, one decimal, so that some are equal."""
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(size=(runs, tasks)) * rng.uniform(0.2, 0.6, tasks) + rng.uniform(0.2, 1.0, tasks), 1)


@pytest.mark.parametrize(("runs", "tasks"), [(4, 1), (4, 3), (8, 5), (10, 6)])
def test_interquartile_means_agree_where_quarters_are_whole_runs(runs: int, tasks: int) -> None:
    for seed in range(5):
        table = scores(runs, tasks, seed)
        assert_allclose(overall_iqm(table), metrics.aggregate_iqm(table), atol=1e-12)


def test_where_quarters_are_not_whole_ours_weighs_the_runs_at_the_edge() -> None:
    """Theirs cuts one of five at each end and keeps three whole; ours cuts five quarters."""
    table = np.array([[1.0], [2.0], [3.0], [4.0], [100.0]])
    assert metrics.aggregate_iqm(table) == pytest.approx(3.0)
    assert float(overall_iqm(table)) == pytest.approx((0.75 * 2 + 3 + 0.75 * 4) / 2.5)
    table = np.array([[0.0], [0.0], [0.0], [0.0], [1.0], [1.0], [1.0]])
    assert metrics.aggregate_iqm(table) == pytest.approx(2 / 5)
    assert float(overall_iqm(table)) == pytest.approx(1.25 / 3.5)


def test_optimality_gaps_agree() -> None:
    for seed in range(5):
        table = scores(5, 4, seed)
        assert_allclose(optimality_gap(table), metrics.aggregate_optimality_gap(table), atol=1e-12)
        assert_allclose(optimality_gap(table, 0.5), metrics.aggregate_optimality_gap(table, gamma=0.5), atol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (3, 8)])
def test_probabilities_of_improvement_agree_ties_included(n: int, m: int) -> None:
    for seed in range(5):
        x, y = scores(n, 4, seed), scores(m, 4, seed + 50)
        assert_allclose(probability_of_improvement(x, y), metrics.probability_of_improvement(x, y), atol=1e-12)
