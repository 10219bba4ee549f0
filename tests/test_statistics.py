"""Bootstrap, interquartile mean and rank correlation against known answers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from apportion.bench.statistics import (
    bootstrap,
    interval,
    iqm,
    median,
    ranks,
    resample_index,
    spearman,
    student_quantile,
    studentised,
    wilson,
)


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


def test_student_quantiles_of_the_books() -> None:
    books = {1: 12.706, 2: 4.303, 3: 3.182, 5: 2.571, 10: 2.228, 30: 2.042, 120: 1.980, 1e9: 1.960}
    for freedom, quantile in books.items():
        assert student_quantile(freedom) == pytest.approx(quantile, abs=6e-4)
    assert student_quantile(10, 0.99) == pytest.approx(3.169, abs=6e-4)
    assert student_quantile(2.5) == pytest.approx(3.5746, abs=6e-4)  # between, as Satterthwaite's are
    with pytest.raises(ValueError, match="above 0"):
        student_quantile(0.0)


def test_of_a_mean_the_studentised_interval_is_the_t_interval() -> None:
    values = np.array([1.0, 2.0, 4.0])
    samples = values[np.array(list(itertools.product(range(3), repeat=3)))].mean(axis=1)  # every resample there is
    half = 4.302653 * values.std(ddof=1) / math.sqrt(3)
    mean = float(values.mean())
    assert studentised(mean, samples, 3) == pytest.approx((mean - half, mean + half), rel=1e-5)
    assert studentised(mean, samples, 3, within=(0.0, 5.0)) == (0.0, 5.0)
    wide = studentised(mean, samples, 3, freedom=1.0)
    assert (wide[1] - mean) / half == pytest.approx(12.7062 / 4.302653, rel=1e-4)


def test_ratios_have_their_interval_on_the_scale_of_logarithms() -> None:
    samples = np.exp(np.array([-1.0, 0.0, 1.0, 0.0]))
    low, high = studentised(1.0, samples, 2, log=True)
    half = 12.7062 * math.sqrt(2) * math.sqrt(0.5)
    assert (math.log(low), math.log(high)) == pytest.approx((-half, half), rel=1e-4)


def test_never_is_an_end_of_the_interval_once_it_is_not_rare() -> None:
    often = np.array([1.0] * 90 + [2.0] * 5 + [math.inf] * 5)
    assert studentised(1.0, often, 5, log=True)[1] == math.inf
    assert 0 < studentised(1.0, often, 5, log=True)[0] < 1
    rare = np.array([1.0] * 90 + [2.0] * 9 + [math.inf])
    assert math.isfinite(studentised(1.0, rare, 5)[1])
    assert studentised(math.inf, np.array([math.inf, 2.0, math.inf, 3.0]), 2, log=True) == (2.0, math.inf)


def test_what_was_measured_once_or_not_at_all_has_no_interval() -> None:
    for value, samples, runs in ((1.0, np.ones(4), 1), (math.nan, np.ones(4), 3), (1.0, np.full(4, math.nan), 3)):
        assert np.isnan(studentised(value, samples, runs)).all()


def test_score_intervals_of_known_shares() -> None:
    assert wilson(5, 10) == pytest.approx((0.5, 0.236593, 0.763407), abs=1e-5)
    assert wilson(0, 10) == pytest.approx((0.0, 0.0, 0.277533), abs=1e-5)
    assert wilson(3, 3)[1:] == pytest.approx((0.438503, 1.0), abs=1e-5)
    assert np.isnan(wilson(0, 0)).all()
