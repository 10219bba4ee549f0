"""Bootstrap, interquartile mean and rank correlation against known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from apportion.bench.statistics import bootstrap, interval, iqm, median, ranks, resample_index, spearman


def test_bootstrap_interval_of_a_mean_matches_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    value, low, high = bootstrap(values, lambda v: float(v.mean()), count=2000)
    half = 1.96 * values.std() / math.sqrt(values.size)
    assert value == values.mean()
    assert low == pytest.approx(value - half, abs=0.03)
    assert high == pytest.approx(value + half, abs=0.03)


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    index = resample_index(40, 400)
    covered = 0
    for _ in range(300):
        values = rng.normal(0.0, 1.0, size=40)
        low, high = interval(values[index].mean(axis=1), 0.9)
        covered += low <= 0.0 <= high
    assert 0.84 <= covered / 300 <= 0.94


def test_bootstrap_is_the_same_for_the_same_seed_and_differs_for_another() -> None:
    values = np.arange(10.0)
    assert bootstrap(values, np.mean, seed=5) == bootstrap(values, np.mean, seed=5)
    assert bootstrap(values, np.mean, seed=5) != bootstrap(values, np.mean, seed=6)


def test_one_seed_gives_no_interval() -> None:
    value, low, high = bootstrap(np.array([2.0]), np.mean)
    assert value == 2.0
    assert math.isnan(low)
    assert math.isnan(high)


def test_interval_keeps_never_and_leaves_out_undefined() -> None:
    assert interval(np.array([1.0, 2.0, math.inf, math.nan])) == (1.0, math.inf)
    low, high = interval(np.array([math.nan, math.nan]))
    assert math.isnan(low)
    assert math.isnan(high)
    assert interval(np.arange(101.0), 0.9) == (5.0, 95.0)


def test_median_is_infinite_once_half_never_got_there() -> None:
    assert median(np.array([1.0, 2.0, math.inf])) == 2.0
    assert median(np.array([1.0, math.inf])) == math.inf
    assert median(np.array([math.inf, math.inf])) == math.inf


def test_median_leaves_out_what_was_not_measured() -> None:
    rows = np.array([[3.0, math.nan, 1.0], [math.nan, math.inf, 5.0], [math.nan] * 3, [4.0, 2.0, 9.0]])
    found = median(rows)
    assert found[[0, 1, 3]].tolist() == [2.0, math.inf, 4.0]
    assert math.isnan(found[2])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0, 100.0], 2.5),
        ([1.0, 2.0, 3.0, 4.0, 100.0], 3.0),
        ([7.0], 7.0),
        ([0.0, 0.0, 4.0, 8.0, 8.0, 8.0], (0.5 * 0 + 4 + 8 + 0.5 * 8) / 3),
        (list(range(8)), (2 + 3 + 4 + 5) / 4),
    ],
)
def test_iqm_of_known_values(values: list[float], expected: float) -> None:
    assert iqm(np.array(values)) == pytest.approx(expected)


def test_iqm_is_undefined_where_a_value_is() -> None:
    assert math.isnan(iqm(np.array([1.0, math.nan])))
    assert math.isnan(iqm(np.array([])))


def test_ranks_share_ties_and_place_never_last() -> None:
    assert ranks(np.array([3.0, 1.0, math.inf, 3.0, math.inf])).tolist() == [2.5, 1.0, 4.5, 2.5, 4.5]


def test_spearman_of_known_values() -> None:
    a = np.array([106.0, 100, 86, 101, 99, 103, 97, 113, 112, 110])
    b = np.array([7.0, 27, 2, 50, 28, 29, 20, 12, 6, 17])
    assert spearman(a, b) == pytest.approx(-29 / 165)
    assert spearman(a, np.exp(a / 50)) == pytest.approx(1.0)
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 3, 2, 4])) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_spearman_is_undefined_where_it_says_nothing() -> None:
    assert math.isnan(spearman(np.array([1.0, 2.0]), np.array([1.0, 2.0])))
    assert math.isnan(spearman(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])))
    with pytest.raises(ValueError, match="NaN"):
        spearman(np.array([1.0, math.nan, 2.0]), np.array([1.0, 2.0, 3.0]))
