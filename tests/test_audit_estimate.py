"""The corrected correlation, the sign agreement, their intervals and the budget, on values whose truth is drawn by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from apportion.audit.ask import Changes
from apportion.audit.budget import best_per_unit, components, settles, spread
from apportion.audit.design import Design
from apportion.audit.estimate import NO_SIGNAL, _covariances, agreement, difference, half_noise, signal
from apportion.audit.fieller import fieller
from apportion.bench.tabular import Float, Int
from apportion.evidence import Bill


def drawn(seed: int, n: int = 400, r: float = 0.6, noise: float = 2.0, per: int = 8) -> tuple[Float, Float, Int]:
    """Credit, halves and clusters of ``per`` units that share a part of both; the change in value has variance 1."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(n // per), per)
    shared = rng.normal(size=(2, n // per))[:, cluster] * math.sqrt(0.3)
    own = rng.normal(size=(2, n)) * math.sqrt(0.7)
    delta, other = shared + own
    credit = r * delta + math.sqrt(1 - r * r) * other
    return credit, delta + noise * rng.normal(size=(2, n)), cluster


def test_the_formula_by_hand() -> None:
    credit = np.array([1.0, 0.0, -1.0, 0.0, 2.0, -2.0])
    halves = np.array([[2.0, 0.0, -1.0, 1.0, 1.0, -3.0], [1.0, 1.0, -1.0, -1.0, 3.0, -1.0]])
    credit, halves = np.tile(credit, 6), np.tile(halves, (1, 6))
    halves[0, :3] += 0.1
    cluster = np.repeat(np.arange(6), 6)
    mean = halves.mean(axis=0)
    cov = (halves[0] * halves[1]).mean() - halves[0].mean() * halves[1].mean()
    expected = ((credit * mean).mean() - credit.mean() * mean.mean()) / math.sqrt(credit.var() * cov)
    found = agreement(credit, halves, cluster)
    assert_allclose(found.correlation.value, expected)
    assert_allclose(found.plain, np.corrcoef(credit, mean)[0, 1])
    # one half chooses where it is above its noise, the other weighs
    bar = 1.645 * half_noise(halves)
    n = d = 0.0
    for a, b in (halves, halves[::-1]):
        n += float((np.sign(credit) * b)[np.abs(a) > bar].sum())
        d += float((np.sign(a) * b)[np.abs(a) > bar].sum())
    assert_allclose(found.sign.value, 0.5 + n / d / 2)


def test_the_noise_is_taken_out_and_left_in_it_makes_correlations_too_small() -> None:
    found = [agreement(*drawn(seed)) for seed in range(60)]
    corrected = np.mean([one.correlation.value for one in found])
    assert abs(corrected - 0.6) < 0.03
    # reliability of the mean of both halves is 1 / (1 + 4 / 2)
    assert abs(np.mean([one.plain for one in found]) - 0.6 / math.sqrt(3)) < 0.02


@pytest.mark.parametrize(("r", "noise"), [(0.0, 2.0), (0.6, 2.0), (0.6, 3.5), (-0.8, 1.0)])
def test_intervals_hold_the_truth_nineteen_times_in_twenty(r: float, noise: float) -> None:
    held = [
        one.low <= r <= one.high
        for one in (agreement(*drawn(s, r=r, noise=noise)).correlation for s in range(200))
        if one.low == one.low
    ]
    assert len(held) > 150
    assert 0.91 <= np.mean(held) <= 0.995


def test_units_of_a_cluster_are_not_taken_for_independent() -> None:
    credit, halves, cluster = drawn(3, noise=0.5)
    credit, halves = np.repeat(credit, 4), np.repeat(halves, 4, axis=1)  # the same units four times over say no more
    told = agreement(credit, halves, np.repeat(cluster, 4)).correlation
    blind = agreement(credit, halves, np.arange(credit.size)).correlation
    assert told.high - told.low > 1.5 * (blind.high - blind.low)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.array([1.0, 4.0, 2.0, 7.0])
    without = [np.delete(values, i).mean() for i in range(4)]
    assert_allclose(_covariances(np.array([[values.mean(), *without]])), values.var(ddof=1) / 4)


def test_the_verdict_and_the_interval_never_part() -> None:
    for seed in range(150):
        found = agreement(*drawn(seed, n=160, r=0.3, noise=3.0))
        if not math.isnan(found.correlation.low):
            leaves_out = found.correlation.low > 0 or found.correlation.high < 0
            assert leaves_out == (abs(found.correlation.t) > found.quantile)


def test_without_a_signal_there_is_no_correlation_and_it_is_said() -> None:
    credit, _, cluster = drawn(0)
    noise = np.random.default_rng(5).normal(size=credit.size)
    found = agreement(credit, np.stack([noise, -noise]), cluster)
    assert found.undefined == NO_SIGNAL
    assert math.isnan(found.correlation.value)
    constant = agreement(np.full(credit.size, 0.1), drawn(0)[1], cluster)
    assert "same at all" in constant.undefined


def test_sign_agreement_ignores_units_without_effect_and_what_noise_makes_of_them() -> None:
    """Nine units in ten do not change the value; credit is right on four of five that do, and random on the others."""
    rng = np.random.default_rng(1)
    n = 20_000
    delta = np.where(np.arange(n) % 10 == 0, np.where(rng.random(n) < 0.5, 1.0, -1.0), 0.0)
    right = np.where(delta == 0, np.where(rng.random(n) < 0.5, 1.0, -1.0), np.where(rng.random(n) < 0.8, delta, -delta))
    halves = delta + 0.7 * rng.normal(size=(2, n))
    found = agreement(right, halves, np.arange(n) // 20)
    assert found.sign.low < 0.8 < found.sign.high
    # what counting would have said: units whose halves agree are mostly those without an effect
    agree = np.sign(halves[0]) == np.sign(halves[1])
    assert float((np.sign(right) == np.sign(halves[0]))[agree].mean()) < 0.65
    assert agreement(np.zeros(n) + (np.arange(n) == 0), halves, np.arange(n) // 20).sign.value == pytest.approx(0.5, abs=0.01)


def test_fiellers_interval_on_a_known_case_and_where_the_denominator_may_be_nothing() -> None:
    low, high = fieller(1.0, 2.0, 0.01, 0.0, 0.01, 2.0, 5.0)
    for x in (low, high):
        assert_allclose((1.0 - 2.0 * x) ** 2, 4.0 * (0.01 + 0.01 * x * x))
    assert low < 0.5 < high
    assert fieller(1.0, 0.1, 0.01, 0.0, 0.04, 2.0, 1.0)[1] == 1.0  # the numerator is above 0, the denominator hardly
    assert fieller(1.0, 0.1, 0.01, 0.0, 0.04, 2.0, 1.0)[0] > 0
    assert fieller(0.1, 0.1, 0.04, 0.0, 0.04, 2.0, 1.0) == (-1.0, 1.0)
    assert fieller(-1.0, 0.1, 0.01, 0.0, 0.04, 2.0, 1.0)[1] < 0


def test_methods_are_compared_over_the_same_units() -> None:
    rng = np.random.default_rng(2)
    delta = rng.normal(size=600)
    halves = delta + rng.normal(size=(2, 600))
    good, bad = delta + rng.normal(size=600), delta + 4 * rng.normal(size=600)
    found = difference(good, bad, halves, np.arange(600) // 10)
    assert found.low > 0
    assert found.low < 1 / math.sqrt(2) - 1 / math.sqrt(17) < found.high
    alike = difference(good, 2 * good + 1, halves, np.arange(600) // 10)
    assert_allclose(alike.value, 0, atol=1e-12)


def test_variance_components_are_those_that_were_drawn() -> None:
    rng = np.random.default_rng(4)
    n, each = 40_000, 4
    halves = 0.3 * rng.normal(size=n) + np.sqrt(0.5 / each) * rng.normal(size=(2, n))
    plan = Design("turn", np.arange(n), each, np.arange(n) // 40, n // 40, "rollouts")
    parts = components(Changes(plan, halves, halves, 1.0, "change", 0, Bill()))
    assert_allclose(parts.signal.value, 0.09, rtol=0.1)
    assert_allclose(parts.noise, 0.5, rtol=0.05)
    assert_allclose(parts.reliability, 0.09 / (0.09 + 0.5 / 8), rtol=0.05)
    assert parts.signal.low < 0.09 < parts.signal.high
    assert signal(halves, plan.cluster) == parts.signal


def test_the_budget_that_settles_settles_four_times_in_five() -> None:
    """A correlation of .2 seen with so many units; with as many as the rule asks for, the interval leaves 0 out."""
    t = np.mean([agreement(*drawn(seed, n=160, r=0.2)).correlation.t for seed in range(200)])
    n = settles(float(t), 160)
    assert n is not None
    n8 = round(n / 8) * 8
    told = [abs(one.correlation.t) > one.quantile for one in (agreement(*drawn(s + 500, n=n8, r=0.2)) for s in range(150))]
    assert 0.68 <= np.mean(told) <= 0.9
    assert settles(0.0, 100) is None
    assert settles(0.01, 100) is None
    assert settles(9.0, 100) == 100


def test_the_split_between_units_and_continuations_is_the_best_one() -> None:
    for r, ratio in ((0.3, 40.0), (0.7, 40.0), (0.9, 5.0), (0.0, 40.0)):
        best = best_per_unit(r, ratio)
        assert best is not None
        each = best // 4
        assert spread(r, ratio, each) <= min(spread(r, ratio, m) for m in range(1, 400)) * (1 + 1e-12)
    assert best_per_unit(0.5, math.nan) is None


def test_the_formula_behind_the_split_is_the_variance_that_is_seen() -> None:
    r, ratio, each, n = 0.6, 8.0, 4, 400
    values = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        delta, other = rng.normal(size=(2, n))
        halves = delta + math.sqrt(ratio / each) * rng.normal(size=(2, n))
        values.append(agreement(r * delta + 0.8 * other, halves, np.arange(n) // 20).correlation.value)
    assert_allclose(n * np.var(values), spread(r, ratio, each) / each, rtol=0.25)
