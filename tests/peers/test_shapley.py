"""Shapley values against shapiq's: exact ones, and estimates from sampled orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from apportion.ops.shapley import arrivals, from_orders, owen, permutations, shapley

shapiq = pytest.importorskip("shapiq")


def _game(table: NDArray[np.float64]) -> Callable[[Any], Any]:
    """shapiq's form of a game: a matrix of coalitions in, their values out."""
    n = table.size.bit_length() - 1
    return lambda coalitions: table[np.atleast_2d(np.asarray(coalitions, dtype=np.int64)) @ (1 << np.arange(n))]


def _theirs(values: Any, n: int) -> NDArray[np.float64]:
    return np.array([values[(i,)] for i in range(n)])


@pytest.mark.parametrize("n", [1, 2, 3, 6, 9])
def test_exact_values_agree(n: int) -> None:
    for seed in range(5):
        table = np.random.default_rng([n, seed]).normal(size=2**n)
        exact = shapiq.ExactComputer(_game(table), n_players=n)("SV", order=1)
        assert_allclose(shapley(table), _theirs(exact, n), atol=1e-9)
        assert_allclose(owen(table, [0] * n), _theirs(exact, n), atol=1e-9)


def test_sampled_orders_are_as_close_as_theirs() -> None:
    n, orders = 6, 200
    ours, theirs = [], []
    for seed in range(10):
        table = np.random.default_rng(seed).normal(size=2**n)
        truth = shapley(table)
        order = permutations(n, orders, np.random.default_rng(seed))
        ours.append(from_orders(order, table[arrivals(order) @ (1 << np.arange(n))]) - truth)
        sampler = shapiq.approximator.PermutationSamplingSV(n=n, random_state=seed)
        theirs.append(_theirs(sampler.approximate(budget=orders * (n - 1) + 2, game=_game(table)), n) - truth)
    assert 0.6 < np.std(ours) / np.std(theirs) < 1.6
    assert abs(np.mean(ours)) < 1e-12  # efficient
