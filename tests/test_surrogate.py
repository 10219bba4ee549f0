"""The clipped surrogate's weights: worked numbers, and the gradient of what they claim to be the gradient of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion.ops.surrogate import surrogate_weights


def _setting(seed: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(6), rng.integers(1, 5, 6))
    kept = rng.random(owner.size) < 0.8
    return owner, kept, rng.normal(0, 0.3, owner.size), rng.normal(size=owner.size), rng


@pytest.mark.parametrize("level", ["token", "unit"])
@pytest.mark.parametrize("seed", range(4))
def test_kept_weights_are_the_gradient_of_the_surrogate(level: str, seed: int) -> None:
    owner, kept, change, a, _ = _setting(seed)
    low, high = 0.85, 1.3

    def surrogate(x: Any) -> float:
        total = 0.0
        for t in np.flatnonzero(kept):
            mine = kept & (owner == owner[t]) if level == "unit" else np.arange(owner.size) == t
            rho = np.exp(x[mine].mean())
            total += min(rho * a[t], np.clip(rho, low, high) * a[t])
        return total

    got, lost = surrogate_weights(change, a, owner if level == "unit" else None, kept, low=low, high=high)
    for t in range(owner.size):
        step = 1e-6 * (np.arange(owner.size) == t)
        assert_allclose(got[t], (surrogate(change + step) - surrogate(change - step)) / 2e-6, atol=1e-6)
    free, none = surrogate_weights(change, a, owner if level == "unit" else None, kept, low=0.0, high=np.inf)
    assert_allclose(got + lost, free)
    assert lost.any()
    assert not none.any()


@pytest.mark.parametrize("seed", range(3))
def test_a_product_has_one_surrogate_per_unit(seed: int) -> None:
    owner, kept, change, _, rng = _setting(seed)
    a = rng.normal(size=6)[owner]

    def surrogate(x: Any) -> float:
        total = 0.0
        for unit in range(6):
            mine = kept & (owner == unit)
            if mine.any():
                rho = np.exp(x[mine].sum())
                value = a[mine][0]
                total += min(rho * value, np.clip(rho, 0.8, 1.2) * value)
        return total

    got, _ = surrogate_weights(change, a, owner, kept, form="product")
    for t in range(owner.size):
        step = 1e-6 * (np.arange(owner.size) == t)
        assert_allclose(got[t], (surrogate(change + step) - surrogate(change - step)) / 2e-6, atol=1e-6)


def test_bounds_may_differ_by_token_and_signs_decide() -> None:
    change = np.log([1.5, 1.5, 0.5, 0.5])
    a = np.array([1.0, -1.0, 1.0, -1.0])
    kept, lost = surrogate_weights(change, a, None, np.ones(4, dtype=bool))
    assert_allclose(kept, [0.0, -1.5, 0.5, 0.0])
    assert_allclose(lost, [1.5, 0.0, 0.0, -0.5])
    wide, _ = surrogate_weights(
        change, a, None, np.ones(4, dtype=bool), low=np.array([0.8, 0.8, 0.8, 0.4]), high=np.array([1.6, 1.2, 1.2, 1.2])
    )
    assert_allclose(wide, [1.5, -1.5, 0.5, -0.5])
    none, gone = surrogate_weights(change, a, None, np.zeros(4, dtype=bool))
    assert_array_equal(none, 0.0)
    assert_array_equal(gone, 0.0)
