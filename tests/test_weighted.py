"""Weighted group statistics are those of the repeated items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion.ops.groups import standardise
from apportion.ops.weighted import weighted_standardise


@pytest.mark.parametrize("spread", ["none", "sample", "population"])
@pytest.mark.parametrize("seed", range(5))
def test_a_weight_is_a_number_of_copies(seed: int, spread: Any) -> None:
    rng = np.random.default_rng(seed)
    x, over, weight = rng.normal(size=20), np.arange(20) % 4, rng.integers(0, 5, 20)
    weight[:8] = 2  # at least two of each group
    got = weighted_standardise(x, over, weight, spread=spread)
    copies = standardise(np.repeat(x, weight), np.repeat(over, weight), spread=spread)
    assert_allclose(np.repeat(got, weight), copies, atol=1e-12)
    assert_array_equal(got[weight == 0], 0.0)


def test_equal_values_lone_items_and_empty_groups_are_exactly_zero() -> None:
    over = np.array([0, 0, 0, 1, 2])
    for value in (0.1, 1e9, -0.3):
        for spread in ("none", "sample", "population"):
            x = np.array([value, value, 7.0, value, value])
            got: Any = weighted_standardise(x, over, np.array([3, 7, 0, 5, 0]), spread=spread, eps=0.0)
            assert_array_equal(got, 0.0)
