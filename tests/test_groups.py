"""Group statistics: spreads, baselines, who is counted, groups of one and groups without spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from apportion.errors import BatchError
from apportion.ops.groups import Baseline, firsts, group_mean, group_spread, standardise, whiten
from apportion.words import Spread

_X = arrays(np.float64, 12, elements=st.floats(-100, 100).map(lambda v: round(v, 3)))
_OVER = np.repeat([0, 1, 2], 4)


@given(_X, st.sampled_from(["mean", "leave_one_out", "none"]), st.sampled_from(["none", "sample", "population"]))
def test_standardise_is_the_formula(x: np.ndarray, baseline: Baseline, spread: Spread) -> None:
    got = standardise(x, _OVER, baseline=baseline, spread=spread, eps=1e-6)
    for g in range(3):
        mine = x[4 * g : 4 * g + 4]
        for i, value in enumerate(mine):
            others = {"mean": mine.mean(), "leave_one_out": np.delete(mine, i).mean(), "none": 0.0}
            sd = {"none": 1.0, "sample": mine.std(ddof=1) + 1e-6, "population": mine.std() + 1e-6}
            flat = mine.min() == mine.max() and baseline != "none"
            expected = (
                0.0
                if flat
                else (value - others[baseline]) / (1e-6 if mine.min() == mine.max() and spread != "none" else sd[spread])
            )
            assert_allclose(got[4 * g + i], expected, rtol=1e-6, atol=1e-6)


@given(st.floats(-1e12, 1e12), st.integers(2, 7), st.sampled_from([0.0, 1e-6]))
def test_equal_values_get_exactly_zero_whatever_their_size(value: float, n: int, eps: float) -> None:
    x, over = np.full(n, value), np.zeros(n, dtype=np.int64)
    for baseline in ("mean", "leave_one_out"):
        for spread in ("none", "sample", "population"):
            assert_array_equal(standardise(x, over, baseline=baseline, spread=spread, eps=eps), 0.0)
    assert_array_equal(group_spread(x, over, ddof=1), 0.0)


def test_values_that_differ_by_rounding_are_equal() -> None:
    x, over = np.array([0.3, 0.1 + 0.2, 0.3, 0.3 - 1e-15]), np.array([0, 0, 1, 1])
    for baseline in ("mean", "leave_one_out"):
        for spread in ("none", "sample", "population"):
            got = standardise(x, over, baseline=baseline, spread=spread, eps=0.0)
            assert_array_equal(got[:2], 0.0)
            assert got[2] > 0 > got[3]  # four roundings and more are a difference
    assert_array_equal(group_spread(-x, over, ddof=1) > 0, [False, True])
    tiny = np.array([0.0, 1e-300])
    assert_allclose(standardise(tiny, np.zeros(2, dtype=np.int64)), [-5e-301, 5e-301])


def test_the_mean_of_a_million_equal_values_is_that_value() -> None:
    x, over = np.full(10**6, 0.1), np.zeros(10**6, dtype=np.int64)
    for spread in ("none", "sample"):
        assert_array_equal(standardise(x, over, spread=spread, eps=1e-6), 0.0)
    some = np.append(x, 0.4)  # a copy that is not counted keeps its distance
    got = standardise(some, np.zeros(some.size, dtype=np.int64), counted=np.arange(some.size) < x.size)
    assert_allclose(got[-1], 0.3)
    assert_array_equal(got[:-1], 0.0)


def test_one_member_raises_by_name_and_index() -> None:
    with pytest.raises(BatchError, match=r"prompt 1 has a single member \(item 2\)"):
        standardise(np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1]), what="prompt")


def test_one_member_keeps_its_value_as_verl_does_or_gets_zero() -> None:
    x, over = np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1])
    assert_allclose(standardise(x, over, spread="sample", eps=0.5, single="raw")[2], 3.0 / 1.5)
    assert_allclose(standardise(x, over, single="raw")[2], 3.0)
    assert standardise(x, over, spread="sample", single="zero")[2] == 0.0


def test_without_any_statistic_a_single_member_is_no_error() -> None:
    assert_array_equal(standardise(np.array([3.0]), np.array([0]), baseline="none"), [3.0])


def test_only_counted_items_enter_the_statistics_but_all_are_transformed() -> None:
    x, over = np.array([1.0, 1.0, 1.0, 0.0]), np.zeros(4, dtype=np.int64)
    counted = np.array([True, False, False, True])  # three rows of one trajectory and one of another
    assert_allclose(standardise(x, over, counted=counted), [0.5, 0.5, 0.5, -0.5])
    assert_allclose(standardise(x, over, counted=counted, baseline="leave_one_out"), [1, 1, 1, -1])
    assert_allclose(standardise(x, over), [0.25, 0.25, 0.25, -0.75])


def test_null_values_that_are_not_counted_leave_the_others_alone() -> None:
    x, over = np.array([1.0, np.nan, 0.0]), np.zeros(3, dtype=np.int64)
    got = standardise(x, over, spread="population", eps=0.0, counted=~np.isnan(x))
    assert_allclose(got, [1.0, np.nan, -1.0])


def test_empty_groups_have_size_zero_and_disturb_nobody() -> None:
    mean, size = group_mean(np.array([1.0, 3.0]), np.array([0, 2]))
    assert_array_equal(size, [1, 0, 1])
    assert_array_equal(mean, [1, 0, 3])


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match="spread = 'std'"):
        standardise(np.zeros(2), np.zeros(2, dtype=np.int64), spread="std")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="baseline = 'median'"):
        standardise(np.zeros(2), np.zeros(2, dtype=np.int64), baseline="median")  # type: ignore[arg-type]


def test_firsts_counts_every_owner_once() -> None:
    assert_array_equal(firsts(np.array([3, 3, 1, 3, 1])), [True, False, True, False, False])


def test_whiten_leaves_out_inactive_items_and_survives_one_item_or_equal_ones() -> None:
    x, active = np.array([1.0, 9.0, 3.0]), np.array([True, False, True])
    assert_allclose(whiten(x, active), [-1 / np.sqrt(2), 0, 1 / np.sqrt(2)], atol=1e-8)
    assert_allclose(whiten(x, active, spread="population"), [-1, 0, 1], atol=1e-8)
    assert_array_equal(whiten(x, np.array([True, False, False])), 0)
    assert_array_equal(whiten(np.full(7, 0.1), np.ones(7, dtype=np.bool_), clamp=True), 0)
