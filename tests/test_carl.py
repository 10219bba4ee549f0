"""CARL: the card's tree, its fork choice and counts, and what leaves the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import apportion as ap
from apportion.batch import Batch
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Bill
from apportion.methods.carl import collect
from apportion.ops.tree import child_means
from tests.fakes import FakeSampler

# nodes: s1 0, s2 1, L1 2, s3 3, L2 4, s5 5, L3 6, s4 7, L4 8
NODE = [0, 1, 2, 0, 3, 4, 0, 5, 6, 7, 8]
PARENT = [-1, 0, 1, -1, 0, 3, -1, 0, 5, -1, 7]
LENGTHS = [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1]]


def _card(**more: Any) -> Batch:
    columns: dict[str, Any] = {"node": NODE, "parent": PARENT, "outcome": [0, 1, 0, 1], "group": [0] * 4, **more}
    return Batch.from_turns(LENGTHS, **columns)


def _carl(batch: Batch, **given: Any) -> Credit:
    credit = ap.assign(batch, "carl", **given)
    assert isinstance(credit, Credit)
    return credit


A = [-1 / 3, -1 / 3, 0, -1 / 3, 2 / 3, 0, -1 / 3, -1 / 3, 0, 1 / 3, 0]
KEPT = [0, 1, 4, 7, 9]  # s0->s1, s1->s2, s1->s3, s1->s5, s0->s4


def test_worked_example() -> None:
    credit = _carl(_card())
    np.testing.assert_allclose(credit.unit, A, atol=1e-12)
    assert np.flatnonzero(credit.kept).tolist() == KEPT
    assert credit.loss.denominator == "unit"
    assert credit.scored is not None
    assert np.flatnonzero(~credit.scored).tolist() == [2, 5, 8, 10]


def test_worked_example_of_the_values() -> None:
    value, children = child_means(
        np.array([9, 0, 1, 0, 3, 0, 5, 9, 7, -1]), np.array([np.nan] * 2 + [0] + [np.nan] + [1] + [np.nan, 0, np.nan, 1, np.nan])
    )
    np.testing.assert_allclose(value, [1 / 3, 0, 0, 1, 1, 0, 0, 1, 1, 2 / 3])
    assert children.tolist() == [3, 1, 1, 1, 1, 1, 1, 1, 1, 2]


def test_inherit_keeps_unforked_turns_with_the_credit_of_the_turn_before() -> None:
    credit = _carl(_card(), noncritical="inherit")
    np.testing.assert_allclose(credit.unit, [-1 / 3, -1 / 3, -1 / 3, -1 / 3, 2 / 3, 2 / 3, -1 / 3, -1 / 3, -1 / 3, 1 / 3, 1 / 3])
    assert np.flatnonzero(credit.kept).tolist() == [0, 1, 2, 4, 5, 7, 8, 9, 10]
    chain = Batch.from_turns([[1, 1, 1]], node=[0, 1, 2], parent=[-1, 0, 1], outcome=[1], group=[0])
    lone = _carl(chain, noncritical="inherit")
    assert not lone.unit.any()
    assert lone.kept.all()
    beside = Batch.from_turns([[1], [1], [1, 1]], outcome=[1, 0, 1], group=[0, 0, 1])
    np.testing.assert_array_equal(_carl(beside, noncritical="inherit").unit, [0.5, -0.5, 0, 0])


def test_separate_roots_train_only_what_was_forked() -> None:
    unnamed = _carl(_card(), merge_root=False)
    assert np.flatnonzero(unnamed.kept).tolist() == [1, 4, 7]  # s1 and s4 hang on roots of their own
    named = _card(parent=[-2 if p == -1 else p for p in PARENT])
    np.testing.assert_array_equal(_carl(named, merge_root=False).unit, _carl(_card()).unit)


def test_phase_one_can_be_left_out() -> None:
    credit = _carl(_card(), train_phase1=False, rollouts=1)
    assert np.flatnonzero(credit.kept).tolist() == [4, 7, 9]
    with pytest.raises(OptionError, match="rollouts="):
        _carl(_card(), train_phase1=False)


def test_equal_children_stay_in_the_loss_with_no_credit() -> None:
    batch = Batch.from_turns([[1], [1], [1]], node=[0, 1, 2], parent=[-1] * 3, outcome=[0.1] * 3, group=[0] * 3)
    credit = _carl(batch)
    assert not credit.unit.any()
    assert credit.kept.all()


def test_plain_rollouts_share_a_root_and_train_first_turns() -> None:
    batch = Batch.from_turns([[1, 2], [1], [3]], outcome=[3, 0, 0], group=[0, 0, 1])
    credit = _carl(batch)
    np.testing.assert_allclose(credit.unit, [1.5, 0, -1.5, 0])
    assert np.flatnonzero(credit.kept).tolist() == [0, 3]


def test_a_trajectory_that_ends_where_another_goes_on_is_one_more_child() -> None:
    batch = Batch.from_turns([[1], [1, 1]], node=[0, 0, 1], parent=[-1, -1, 0], outcome=[1, 0], group=[0, 0])
    np.testing.assert_allclose(_carl(batch).unit, [0, 0, -0.5])


def test_trajectories_that_end_in_the_same_node_are_averaged() -> None:
    batch = Batch.from_turns([[1], [1], [1]], node=[0, 0, 1], parent=[-1] * 3, outcome=[1, 0, 1], group=[0] * 3)
    credit = _carl(batch)
    np.testing.assert_allclose(credit.unit, [0.5 - 0.75, 0.5 - 0.75, 1 - 0.75])
    assert credit.kept.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"node": [0, 1, 0, 2], "parent": [-1, 0, -1, 5]}, "parent\\[3\\] = 5: expected the node of the turn before"),
        (
            {"node": [0, 1, 3, 1], "parent": [-1, 0, -1, 3]},
            "parent\\[3\\] = 3: the same node has another parent|parent\\[1\\] = 0",
        ),
        ({"node": [0, 1, 0, 2], "parent": [-1, 0, 7, 0]}, "parent\\[2\\] = 7: no turn has that node"),
        (
            {"node": [0, 1, 0, 2], "parent": [-1, 0, -1, 0], "group": [0, 1]},
            "node\\[2\\] = 0: the same node stands in two groups",
        ),
        ({"node": [0, 1, 2, 0], "parent": [1, 0, 0, 2]}, "parent"),
        (
            {"node": [0, 1, 2, 3], "parent": [-1, 0, 0, 2], "group": [0, 1]},
            "parent\\[2\\] = 0: that node stands in another group",
        ),
        ({"node": [0, 1, 2, -3], "parent": [-1, 0, -1, 2]}, "node\\[3\\] = -3: nodes are numbered from 0"),
    ],
)
def test_columns_that_are_no_tree_are_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(BatchError, match=message):
        _carl(Batch.from_turns([[1, 1], [1, 1]], **{"outcome": [0, 1], "group": [0, 0], **columns}))


def test_a_cycle_is_refused() -> None:
    batch = Batch.from_turns([[1], [1], [1]], node=[0, 1, 2], parent=[1, 0, -1], outcome=[0] * 3, group=[0] * 3)
    with pytest.raises(BatchError, match="own ancestors"):
        _carl(batch)


def test_node_without_parent_says_how_to_give_it() -> None:
    with pytest.raises(MissingColumn, match="parent="):
        _carl(_card(parent=None))
    with pytest.raises(MissingColumn, match="logp="):
        _carl(_card(), sampler=FakeSampler())


CHAIN = {"logp": [-0.2, -0.4, -0.6, -1, -2, -0.1, -0.1, -0.1, -0.1], "outcome": [0], "group": [0]}


def test_worked_example_of_the_fork_choice() -> None:
    class Fixed(FakeSampler):
        def branch(self, batch: Batch, prefixes: Any, rng: np.random.Generator) -> tuple[Batch, Bill]:
            tree, bill = super().branch(batch, prefixes, rng)
            logp = np.array(tree.logp)
            logp[batch.n_tokens :] = -0.5
            if prefixes[0] > 0:  # the first turn again
                logp[batch.n_tokens : batch.n_tokens + int(batch.turn_offsets[1])] = batch.need("logp")[:3]
            return tree.with_columns(logp=logp), bill

    sampler = Fixed(turns=1)
    batch = Batch.from_turns([[3, 2, 4]], **CHAIN)
    evidence = collect(batch, sampler, forks=3, rng=np.random.default_rng(0))
    # h / n = [0.4, 1.5, 0.1], then s1 has H = 1.0 and n = 2: 0.5 is still the largest; then 0.83 / 3 is not
    assert sampler.asked == [("prefix", [1]), ("prefix", [1]), ("prefix", [0])]
    assert evidence.batch is not None
    assert evidence.batch.n_trajectories == 4
    assert evidence.bill.generated == 6


def test_of_equal_priorities_the_earliest_is_forked_and_sixteen_times_by_default() -> None:
    sampler = FakeSampler()
    batch = Batch.from_turns([[1, 1, 1]], logp=[-0.3, -0.9, -0.9], outcome=[0], group=[0])
    evidence = collect(batch, sampler, rng=np.random.default_rng(0))
    assert sampler.asked[0] == ("prefix", [1])
    assert len(sampler.asked) == 16
    assert evidence.batch is not None
    assert evidence.batch.n_trajectories == 17


def test_observation_tokens_surprise_nobody() -> None:
    sampler = FakeSampler()
    columns: dict[str, Any] = {"action": [False, True, False, True], "outcome": [0], "group": [0]}
    collect(Batch.from_turns([[2, 2]], logp=[-9.0, -0.1, 0.0, -0.5], **columns), sampler, forks=1, rng=np.random.default_rng(0))
    assert sampler.asked == [("prefix", [1])]


def _rollouts(groups: int, n0: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    n = groups * n0
    lengths = [[2] * int(k) for k in rng.integers(1, 5, n)]
    tokens = sum(map(len, lengths)) * 2
    return Batch.from_turns(
        lengths, outcome=rng.integers(0, 2, n), group=np.arange(n) % groups, logp=-rng.exponential(1.0, tokens)
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 6), st.integers(0, 50))
def test_counts_of_trained_turns(groups: int, n0: int, forks: int, seed: int) -> None:
    batch = _rollouts(groups, n0, seed)
    for merge in (True, False):
        evidence = collect(batch, FakeSampler(), forks=forks, merge_root=merge, rng=np.random.default_rng(seed))
        tree = evidence.batch
        assert tree is not None
        assert tree.n_trajectories == groups * (n0 + forks)
        credit = _carl(tree, merge_root=merge)
        trained = np.bincount(tree.within("turn", "group"), weights=np.add.reduceat(credit.kept, tree.turn_offsets[:-1]) > 0)
        least = n0 + forks if merge and n0 + forks > 1 else (forks + 1 if forks else 0)
        most = n0 + 2 * forks if merge else 2 * forks
        assert ((least <= trained) & (trained <= most)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 200))
def test_credit_of_siblings_sums_to_zero_and_shifts_cancel(seed: int) -> None:
    tree = collect(_rollouts(2, 2, seed), FakeSampler(), forks=5, rng=np.random.default_rng(seed)).batch
    assert tree is not None
    credit = _carl(tree)
    turn_kept = np.add.reduceat(credit.kept, tree.turn_offsets[:-1]) > 0
    group = tree.within("turn", "group")
    total: dict[tuple[int, int], float] = {}
    for turn in np.flatnonzero(turn_kept):
        state = (int(group[turn]), int(tree.need("parent")[turn]))
        total[state] = total.get(state, 0.0) + float(credit.unit[turn])
    np.testing.assert_allclose(list(total.values()), 0, atol=1e-12)
    moved = tree.with_columns(outcome=tree.need("outcome") + 2)
    np.testing.assert_allclose(_carl(moved).unit, credit.unit, atol=1e-12)


def test_assign_grows_the_tree_and_bills_it() -> None:
    batch = _rollouts(2, 1)
    credit = _carl(batch, sampler=FakeSampler(turns=3), forks=4, rng=0)
    assert credit.batch.n_trajectories == 10
    assert credit.bill.generated == 2 * 4 * 6
    assert credit.diagnostics["forks"] == 8


def test_separate_trees_keep_their_roots_when_the_sampler_forgets_them() -> None:
    class Forgetful(FakeSampler):
        def branch(self, batch: Batch, prefixes: Any, rng: np.random.Generator) -> tuple[Batch, Bill]:
            tree, bill = super().branch(batch, prefixes, rng)
            return tree.with_columns(parent=np.maximum(tree.need("parent"), -1)), bill

    trees = [
        collect(_rollouts(2, 3), kind(), forks=6, merge_root=False, rng=np.random.default_rng(3)).batch
        for kind in (FakeSampler, Forgetful)
    ]
    assert trees[0] is not None
    assert trees[1] is not None
    assert trees[0].same(trees[1])
    assert np.unique(trees[0].need("parent")[trees[0].turn_index == 0]).size == 6


def test_rows_that_are_turns_give_the_same_credit() -> None:
    columns: dict[str, Any] = {"node": NODE, "parent": PARENT, "outcome": [0, 1, 0, 1], "group": [0] * 4}
    split = _carl(Batch.from_turns(LENGTHS, rows="turn", **columns))
    np.testing.assert_array_equal(split.token, _carl(_card()).token)
    np.testing.assert_array_equal(split.kept, _carl(_card()).kept)
