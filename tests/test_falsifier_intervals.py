"""The statistics of falsifiers against published tables and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from apportion.bench.falsifiers.intervals import holm, jackknife, of_mean, upper_tail
from apportion.bench.falsifiers.moments import Sums, pulled, squared
from apportion.bench.falsifiers.verdict import Found, status_of
from apportion.bench.statistics import student_quantile
from apportion.bench.tabular import Float


@pytest.mark.parametrize(
    ("df", "t"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (7, 2.3646), (9, 2.2622), (23, 2.0687), (120, 1.9799)]
)
def test_students_t_has_its_tabled_quantiles(df: int, t: float) -> None:
    assert student_quantile(df) == pytest.approx(t, abs=5e-5)
    assert upper_tail(t, df) == pytest.approx(0.025, abs=1e-5)
    assert upper_tail(-t, df) == pytest.approx(0.975, abs=1e-5)
    assert (upper_tail(math.inf, df), upper_tail(-math.inf, df), upper_tail(0.0, df)) == (0.0, 1.0, 0.5)


def test_holm_is_the_step_down_of_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([None, 0.5, None, 0.9]) == [None, 1.0, None, 1.0]
    assert holm([]) == []


def test_values_all_alike_are_sure() -> None:
    zero, one = of_mean([0.0, 0.0, 0.0]), of_mean([1.0, 1.0])
    assert (zero.value, zero.above, zero.below) == (0.0, 1.0, 1.0)
    assert (one.low, one.above, one.below) == (1.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="at least 2"):
        of_mean([1.0])


def test_the_jackknife_of_a_mean_is_its_interval() -> None:
    x = np.random.default_rng(0).normal(size=24)
    found = jackknife(24, lambda use: float((use * x).sum() / use.sum()))
    assert (found.value, found.low, found.high) == pytest.approx((of_mean(x).value, of_mean(x).low, of_mean(x).high))


def made(rng: np.random.Generator, mean: Float, pi: Float, each: int) -> Sums:
    """Sums over 24 batches of credit with this mean per context and action (C, A), standard deviation 1."""
    count = np.stack([[rng.multinomial(each, row) for row in pi] for _ in range(24)]).astype(np.float64)
    credit = count * mean + np.sqrt(count) * rng.normal(size=count.shape)
    return Sums(credit, count, credit - credit.sum(axis=2, keepdims=True) * pi, pi)


def test_mean_squares_are_unbiased_and_their_intervals_cover() -> None:
    """Noise of single credits is ten times the mean: plugged in, it would count; from pairs of batches it does not."""
    rng = np.random.default_rng(1)
    pi = np.array([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]])
    mean = np.array([[0.1, 0.1, 0.1, 0.1], [0.3, -0.1, -0.1, -0.1]])
    square = float((pi * mean**2).sum() / 2)
    between = float((pi * (mean - (pi * mean).sum(axis=1, keepdims=True)) ** 2).sum() / 2)
    inside, values, pulls = 0, [], []
    for _ in range(300):
        sums = made(rng, mean, pi, 40)
        found = jackknife(24, lambda use, sums=sums: squared(sums, use))  # type: ignore[misc]
        inside += found.low <= square <= found.high
        values.append(squared(sums))
        pulls.append(pulled(sums))
    assert np.mean(values) == pytest.approx(square, abs=4 * np.std(values) / math.sqrt(300))
    assert np.mean(pulls) == pytest.approx(between, abs=4 * np.std(pulls) / math.sqrt(300))
    assert 0.90 <= inside / 300 <= 0.98


def test_a_credit_that_only_says_how_well_things_stand_has_no_pull() -> None:
    rng = np.random.default_rng(2)
    pi = np.full((3, 4), 0.25)
    level = np.repeat(np.array([[0.5], [-0.5], [1.0]]), 4, axis=1)
    found = [made(rng, level, pi, 40) for _ in range(100)]
    assert np.mean([squared(x) for x in found]) == pytest.approx(0.5, abs=0.02)
    assert np.mean([pulled(x) for x in found]) == pytest.approx(0.0, abs=0.02)


def test_status_follows_from_p_values() -> None:
    assert status_of(Found(fixed="silent"), 0.0, 0.0) == "silent"
    assert status_of(Found(), 0.001, None) == "passed"
    assert status_of(Found(), 1.0, 0.001) == "failed"
    assert status_of(Found(), 0.4, 0.6) == "undecided"
    assert status_of(Found(otherwise="failed"), 0.2, None) == "failed"
