"""pooled_td: values of recurring states, cross-fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion import Batch
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.ops.markov import pooled_values


def crossing(**more: Any) -> Batch:
    """Four rollouts a crossroads apart: b or c after a, then d or e; only the second choice pays."""
    states = [*"sace", *"sade", *"sbce", *"sbde"]  # s -> a|b -> c|d -> end
    return Batch.from_turns([[1] * 3] * 4, outcome=[1, 0, 1, 0], group=[0] * 4, state=states, **more)


def credit(batch: Batch, **options: Any) -> Credit:
    found = ap.assign(batch, "pooled_td", **options)
    assert isinstance(found, Credit)
    return found


def test_worked_example_by_hand() -> None:
    # Fold 0 (rollout s a c e, reward 1) is judged by the other three: s -> {a: 1, b: 2}, V(c) = 1,
    # V(d) = 0, V(a) = V(d) = 0, V(b) = (1 + 0)/2 = .5, V(s) = (0 + .5 + .5)/3 = 1/3.
    found = credit(crossing()).unit.reshape(4, 3)
    np.testing.assert_allclose(found[0], [0 - 1 / 3, 1 - 0, 1 - 1], atol=1e-12)
    # Rollout s a d e, reward 0: V(c) = 1, V(d) = 0, V(a) = 1, V(b) = .5, V(s) = (1 + .5 + .5)/3.
    np.testing.assert_allclose(found[1], [1 - 2 / 3, 0 - 1, 0 - 0], atol=1e-12)
    assert credit(crossing()).diagnostics["known"] == 1.0


def test_lambda_one_is_the_return_minus_the_pooled_value() -> None:
    found = credit(crossing(), lam=1.0).unit.reshape(4, 3)
    np.testing.assert_allclose(found[0], [1 - 1 / 3, 1 - 0, 1 - 1], atol=1e-12)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_with_only_the_first_state_in_common_it_is_rloo(lam: float) -> None:
    rng = np.random.default_rng(0)
    lengths = [[1] * int(n) for n in rng.integers(1, 6, size=12)]
    group = np.repeat([0, 1, 2], 4)
    states: list[Any] = []
    for i, turns in enumerate(lengths):
        states += [f"start {group[i]}", *(f"{i}.{t}" for t in range(len(turns)))]
    batch = Batch.from_turns(lengths, outcome=rng.normal(size=12), group=group, state=states)
    rloo = ap.assign(batch, "rloo")
    assert isinstance(rloo, Credit)
    np.testing.assert_allclose(credit(batch, lam=lam).token, rloo.token, atol=1e-12)


def test_unknown_states_share_the_difference_between_known_ones() -> None:
    hidden = crossing().with_columns(state=["s", None, "c", "e", *"sade", "s", None, "c", "e", "s", "a", "d", "e"])
    found = credit(hidden).unit.reshape(4, 3).copy()
    assert found[0, 0] == found[0, 1]
    found[[0, 2], 0] = 0  # counted once
    np.testing.assert_allclose(found.sum(1) + _start_value(hidden), [1, 0, 1, 0], atol=1e-12)


def _start_value(batch: Batch) -> Any:
    """R - sum of credit telescopes to V(start): each rollout's mean over the other three."""
    return (batch.reward.sum() - batch.reward) / 3


def test_no_reward_enters_its_own_baseline() -> None:
    base = credit(crossing())
    raised = credit(crossing().with_columns(outcome=np.array([5.0, 0.0, 1.0, 0.0])))
    change = (raised.unit - base.unit).reshape(4, 3)[0]
    np.testing.assert_allclose(change, [0, 0, 4], atol=1e-12)  # only the last difference holds its own reward


def test_values_agree_with_a_linear_solve_on_a_graph_with_cycles() -> None:
    rng = np.random.default_rng(1)
    n = 6
    source = np.sort(rng.integers(n, size=200))
    target = rng.integers(-1, n, size=200)
    reward = rng.normal(size=200)
    weight = (rng.random(200) < 0.8).astype(np.float64)
    v, _ = pooled_values(source, target, reward, weight, n, 100_000)
    total = np.bincount(source, weights=weight, minlength=n)
    p = np.zeros((n, n))
    inside = target >= 0
    np.add.at(p, (source[inside], target[inside]), weight[inside])
    exact = np.linalg.solve(np.eye(n) - p / total[:, None], np.bincount(source, weights=weight * reward) / total)
    np.testing.assert_allclose(v, exact, atol=1e-8)


def test_intermediate_rewards_and_truncation_count() -> None:
    columns = {"turn_reward": np.array([0.5, 0, 0] * 4), "truncated": [True] * 4, "bootstrap": np.full(4, 2.0)}
    found = credit(crossing(**columns)).unit.reshape(4, 3)
    np.testing.assert_allclose(
        found.sum(1), np.array([3.5, 2.5, 3.5, 2.5]) - (12 - np.array([3.5, 2.5, 3.5, 2.5])) / 3, atol=1e-12
    )


def test_equal_rewards_earn_nothing() -> None:
    np.testing.assert_array_equal(credit(crossing().with_columns(outcome=np.full(4, 0.7))).unit, 0.0)


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_without_any_key_it_is_rloo(lam: float) -> None:
    rng = np.random.default_rng(2)
    batch = Batch.from_turns(
        [[1, 2], [1], [2, 1], [1], [3]], outcome=rng.normal(size=5), group=[0, 1, 0, 1, 1], state=[None] * 12
    )
    rloo = ap.assign(batch, "rloo")
    assert isinstance(rloo, Credit)
    found = credit(batch, lam=lam)
    np.testing.assert_allclose(found.token, rloo.token, atol=1e-12)
    assert found.diagnostics["known"] == 5 / 7  # the first turns


def test_a_first_state_of_several_prompts_is_pooled_over_them() -> None:
    batch = Batch.from_turns([[1]] * 4, outcome=[1, 2, 4, 8], group=[0, 0, 1, 1], state=["s", None] * 4)
    # folds: {1, 4} and {2, 8}
    np.testing.assert_allclose(credit(batch).unit, [1 - 5, 2 - 2.5, 4 - 5, 8 - 2.5])


def test_sweeps_are_few_without_cycles_and_those_of_the_slowest_fold() -> None:
    assert credit(crossing()).diagnostics["sweeps"] == 2  # one that is exact, one that finds nothing to do
    states = ["s", "a", "end", "s", "a", "s", "a", "end"]
    cycle = Batch.from_turns([[1] * 2, [1] * 4], outcome=[0, 1], group=[0, 0], state=states)
    assert credit(cycle).diagnostics["sweeps"] > 5


def test_a_lone_rollout_is_compared_with_the_other_prompts() -> None:
    batch = Batch.from_turns([[1]] * 4, outcome=[5, 1, 2, 4], group=[0, 1, 1, 1], state=[None] * 8)
    found = credit(batch).unit  # fold 0: the lone one and the first of the others
    np.testing.assert_allclose(found, [5 - (2 + 4) / 2, 1 - 3, 2 - 2.5, 4 - 1.5])
    np.testing.assert_array_equal(credit(batch.with_columns(outcome=np.full(4, 0.1))).unit, 0.0)


def test_bootstrap_values_count_where_trajectories_were_cut_off() -> None:
    batch = Batch.from_turns([[1]] * 3, outcome=[1, 0, 0], group=[0] * 3, state=[None] * 6, bootstrap=[0.5, 2.0, 1.0])
    cut = batch.with_columns(truncated=np.array([False, True, False]))
    np.testing.assert_allclose(credit(cut).unit, [1 - 1, 2 - 0.5, 0 - 1.5])
    np.testing.assert_allclose(credit(batch).unit, [1.5 - 1.5, 2 - 1.25, 1 - 1.75])  # not said: all of them
    np.testing.assert_array_equal(
        credit(cut.with_columns(bootstrap=None)).unit, credit(cut.with_columns(bootstrap=np.zeros(3))).unit
    )


def test_what_cannot_work_is_said() -> None:
    with pytest.raises(MissingColumn, match="state"):
        ap.assign(crossing().with_columns(state=None), "pooled_td")
    with pytest.raises(BatchError, match="sample at least two"):
        ap.assign(
            crossing().with_columns(group=ap.Batch.from_turns([[1]] * 4, outcome=[0] * 4, group=[0, 1, 2, 3]).group), "pooled_td"
        )
    with pytest.raises(OptionError, match="folds"):
        ap.assign(crossing(), "pooled_td", folds=1)
