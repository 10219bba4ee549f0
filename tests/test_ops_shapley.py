"""Shapley and Owen values: worked example, axioms, brute force, sampled orders."""

from __future__ import annotations

from itertools import pairwise
from itertools import permutations as every_order

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion.errors import OptionError
from apportion.ops.shapley import PLAYERS, arrivals, coalitions, from_orders, owen, permutations, shapley

#: {}, {1}, {2}, {1,2}, {3}, {1,3}, {2,3}, {1,2,3} of SCAR's card
_CARD = np.array([0.1, 0.5, 0.2, 0.9, 0.1, 0.4, 0.3, 1.2])


def _brute(values: np.ndarray, n: int, allowed: list[tuple[int, ...]] | None = None) -> np.ndarray:
    """Mean gain over every order (those of ``allowed`` only), by its definition."""
    orders = allowed if allowed is not None else list(every_order(range(n)))
    gain = np.zeros(n)
    for order in orders:
        mask = 0
        for i in order:
            gain[i] += values[mask | 1 << i] - values[mask]
            mask |= 1 << i
    return gain / len(orders)


def test_worked_example_of_the_card() -> None:
    assert_allclose(shapley(_CARD), [0.6, 0.4, 0.1], atol=5e-5)
    assert_allclose(owen(_CARD, [0, 0, 1]), [0.575, 0.375, 0.15], atol=5e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_it_is_the_mean_gain_over_all_orders(n: int) -> None:
    values = np.random.default_rng(n).normal(size=(4, 2**n))
    assert_allclose(shapley(values), [_brute(v, n) for v in values])


@pytest.mark.parametrize("blocks", [[0, 0, 1, 1, 1], [2, 0, 2, 1, 0], [3, 1, 4, 1, 5]])
def test_owen_is_the_mean_gain_over_the_orders_that_keep_blocks_together(blocks: list[int]) -> None:
    values = np.random.default_rng(3).normal(size=32)

    def together(order: tuple[int, ...]) -> bool:
        met = [blocks[i] for i in order]
        return sum(a != b for a, b in pairwise(met)) + 1 == len(set(blocks))

    allowed = [o for o in every_order(range(5)) if together(o)]
    assert_allclose(owen(values, blocks), _brute(values, 5, allowed))


@pytest.mark.parametrize("blocks", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_owen_with_one_block_or_a_block_each_is_shapley(blocks: list[int]) -> None:
    values = np.random.default_rng(0).normal(size=16)
    assert_allclose(owen(values, blocks), shapley(values), atol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 4, PLAYERS])
def test_efficiency(n: int) -> None:
    values = np.random.default_rng(n).normal(size=(3, 2**n))
    everything = values[:, -1] - values[:, 0]
    assert_allclose(shapley(values).sum(axis=1), everything, atol=1e-12)
    assert_allclose(owen(values, np.arange(n) % 3).sum(axis=1), everything, atol=1e-12)


def test_symmetry_dummy_and_linearity() -> None:
    rng = np.random.default_rng(1)
    members = coalitions(4)
    assert_array_equal(members[0b0110], [False, True, True, False])
    redundant = members[:, :2].any(axis=1).astype(float)  # either of the first two will do
    assert_allclose(shapley(redundant), [0.5, 0.5, 0.0, 0.0], atol=1e-15)
    a, b = rng.normal(size=(2, 16))
    assert_allclose(shapley(2 * a - b), 2 * shapley(a) - shapley(b))
    additive = members @ np.array([1.0, -2.0, 0.5, 0.0])
    assert_allclose(shapley(additive), [1.0, -2.0, 0.5, 0.0], atol=1e-15)


def test_a_constant_game_pays_exactly_nothing() -> None:
    assert_array_equal(shapley(np.full(2**7, 0.1)), 0.0)
    assert_array_equal(owen(np.full(2**3, 0.1), [0, 0, 1]), 0.0)


def test_every_order_gives_the_exact_value_and_any_orders_are_efficient() -> None:
    values = np.random.default_rng(2).normal(size=16)
    code = 1 << np.arange(4)

    def estimate(order: np.ndarray) -> np.ndarray:
        return from_orders(order, values[arrivals(order) @ code])

    assert_allclose(estimate(np.array(list(every_order(range(4))))), shapley(values))
    for seed in range(5):
        some = permutations(4, 3, np.random.default_rng(seed))
        assert_array_equal(np.sort(some, axis=1), np.tile(np.arange(4), (3, 1)))
        assert_allclose(estimate(some).sum(), values[-1] - values[0])


def test_sampled_orders_are_unbiased() -> None:
    values = np.random.default_rng(2).normal(size=8)
    order = permutations(3, 6000, np.random.default_rng(0))
    got = from_orders(order, values[arrivals(order) @ (1 << np.arange(3))])
    assert_allclose(got, shapley(values), atol=0.05)


def test_arrivals_grow_from_nobody_to_everybody() -> None:
    met = arrivals(np.array([[2, 0, 1]]))
    assert_array_equal(met[0], [[0, 0, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1]])


def test_what_is_no_game_is_refused() -> None:
    with pytest.raises(OptionError, match="3 entries a game"):
        shapley(np.zeros(3))
    with pytest.raises(OptionError, match=r"values\[1, 2\] is not finite"):
        shapley(np.array([[0, 0, 0, 0], [0, 0, np.nan, 0.0]]))
    with pytest.raises(OptionError, match=f"at most {PLAYERS}"):
        shapley(np.zeros(2 ** (PLAYERS + 1)))
    with pytest.raises(OptionError, match=r"blocks has shape \(2,\), expected \(3,\)"):
        owen(_CARD, [0, 1])
    with pytest.raises(OptionError, match="at least one order"):
        permutations(3, 0, np.random.default_rng(0))
    with pytest.raises(OptionError, match=r"expected \(2, 4\)"):
        from_orders(np.array([[0, 1, 2], [2, 1, 0]]), np.zeros((2, 3)))
