"""Segmented scans against plain loops."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion.ops import scans


def _case(seed: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate(([0], np.cumsum(rng.integers(1, 9, 6))))
    n = int(offsets[-1])
    active = rng.random(n) < 0.6
    active[offsets[1:] - 1] = True
    return rng.normal(size=n), rng.normal(size=n), active, offsets, rng.normal(size=6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (0.9, 0.95), (1.0, 0.0)])
def test_gae_is_the_recursion_on_the_active_positions_alone(seed: int, gamma: float, lam: float) -> None:
    r, v, active, offsets, bootstrap = _case(seed)
    got = scans.gae(r, np.where(active, v, np.nan), active, offsets, gamma, lam, bootstrap)
    for i, (a, b) in enumerate(pairwise(offsets)):
        at = [t for t in range(a, b) if active[t]]
        following = [*(v[t] for t in at[1:]), bootstrap[i]]
        carry = 0.0
        for t, v_next in reversed(list(zip(at, following, strict=True))):
            carry = r[t] + gamma * v_next - v[t] + gamma * lam * carry
            assert_allclose(got[t], carry, atol=1e-12)
    assert_array_equal(got[~active], 0)


@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_discounted_suffix_restarts_at_every_segment(gamma: float) -> None:
    r, _, _, offsets, _ = _case(1)
    got = scans.discounted_suffix(r, offsets, gamma)
    for a, b in pairwise(offsets):
        for t in range(a, b):
            assert_allclose(got[t], sum(gamma ** (k - t) * r[k] for k in range(t, b)), atol=1e-12)


def test_suffix_min_sees_active_positions_and_what_follows_the_end() -> None:
    x, active = np.array([3.0, -9.0, 2.0, 5.0]), np.array([True, False, True, True])
    got = scans.suffix_min(x, active, np.array([0, 3, 4]), np.array([np.inf, 1.0]))
    assert_array_equal(got, [2, 2, 2, 1])


def test_segment_sum_and_first_active() -> None:
    assert_array_equal(scans.segment_sum(np.array([1.0, 2.0, 4.0]), np.array([0, 1, 3])), [1, 6])
    active = np.array([False, True, True, False, True])
    assert_array_equal(scans.first_active(active, np.array([0, 3, 5])), [1, 4])


def test_inputs_may_be_read_only_or_strided_and_are_left_alone() -> None:
    r = np.arange(12.0)[::2]
    before = r.copy()
    r.setflags(write=False)
    assert_array_equal(scans.discounted_suffix(r, np.array([0, 6])), [30, 30, 28, 24, 18, 10])
    assert_array_equal(r, before)
    v = np.zeros(12)[::2]
    active = np.ones(6, dtype=np.bool_)
    assert_array_equal(scans.gae(r, v, active, np.array([0, 6]), 1.0, 1.0, np.zeros(1)), [30, 30, 28, 24, 18, 10])
