"""Pairs within groups, the pull of a preference loss, and leave-one-out at the same place."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion.errors import BatchError
from apportion.ops.pairs import best_and_worst, log_sigmoid_pull
from apportion.ops.places import against_others_at_place


def test_ties_are_averaged_and_equal_groups_left_out() -> None:
    reward = np.array([1.0, 0.0, 5.0, 1.0, 0.0, 5.0, 0.0, 2.0, 3.0, 1.0])
    over = np.array([0, 0, 1, 0, 0, 1, 0, 2, 2, 2])
    winner, loser, weight = best_and_worst(reward, over)
    pairs = sorted(zip(winner.tolist(), loser.tolist(), strict=True))
    assert pairs == [(0, 1), (0, 4), (0, 6), (3, 1), (3, 4), (3, 6), (8, 9)]
    assert_allclose(weight, [1 / 6] * 6 + [1.0])
    assert [x.size for x in best_and_worst(np.ones(4), np.array([0, 0, 1, 1]))] == [0, 0, 0]


def test_the_pull_is_minus_the_gradient_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    score, over = rng.normal(size=6), np.array([0, 0, 0, 1, 1, 1])
    pairs = best_and_worst(np.array([1, 0, 1, 3, 2, 1.0]), over)
    up, down, loss = log_sigmoid_pull(score, *pairs, margin=0.3)
    for i in range(6):
        step = np.eye(6)[i] * 1e-6
        slope = (log_sigmoid_pull(score + step, *pairs, margin=0.3)[2] - loss) / 1e-6
        assert_allclose(up[i] - down[i], -slope, atol=1e-5)
    gap = score[pairs[0]] - score[pairs[1]] - 0.3
    assert_allclose(loss, (pairs[2] * -np.log(1 / (1 + np.exp(-gap)))).sum())
    far, _, _ = log_sigmoid_pull(np.array([1e4, -1e4]), np.array([1]), np.array([0]), np.ones(1))
    assert_allclose(far, [0.0, 1.0])


def test_each_place_is_compared_with_the_others_there() -> None:
    x = np.array([1.0, 2.0, 3.0, 5.0, 7.0, 11.0])  # three trajectories of 2, 3 and 1 units
    got = against_others_at_place(x, np.array([0, 0, 1, 1, 1, 2]), np.zeros(3, dtype=np.int64))
    assert_allclose(got, [1 - 7.0, 2 - 2.5, 3 - 6.0, 5 - 1.0, 7.0, 11 - 2.0])


def test_prompts_are_apart_and_equal_values_give_zero_exactly() -> None:
    owner, over = np.repeat(np.arange(6), 2), np.array([0, 1, 0, 1, 0, 1])
    assert_array_equal(against_others_at_place(np.tile([0.1, 0.7], 6), owner, over), 0.0)
    x = np.random.default_rng(0).normal(size=12)
    whole = against_others_at_place(x, owner, over)
    mine = np.isin(owner, [0, 2, 4])
    assert_allclose(whole[mine], against_others_at_place(x[mine], np.repeat(np.arange(3), 2), np.zeros(3, dtype=np.int64)))


def test_a_lone_trajectory() -> None:
    x, owner, over = np.array([1.0, 2.0]), np.array([0, 0]), np.array([0])
    with pytest.raises(BatchError, match="group 0 has a single trajectory"):
        against_others_at_place(x, owner, over)
    assert_array_equal(against_others_at_place(x, owner, over, single="raw"), x)
    assert_array_equal(against_others_at_place(x, owner, over, single="zero"), 0.0)
