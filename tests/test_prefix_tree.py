"""The prefix tree is exact: it agrees with comparing every prefix with every other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.ops.prefix_tree import PrefixTree, prefix_tree


def _tree(sequences: list[list[int]], over: list[int]) -> PrefixTree:
    offsets = np.concatenate(([0], np.cumsum([len(s) for s in sequences])))
    return prefix_tree(np.array([t for s in sequences for t in s], dtype=np.int64), offsets, np.array(over, dtype=np.int64))


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    sequences = draw(st.lists(st.lists(st.integers(-1, 1), min_size=1, max_size=6), min_size=1, max_size=9))
    over = draw(st.lists(st.integers(0, 1), min_size=len(sequences), max_size=len(sequences)))
    return sequences, over


@settings(max_examples=150, deadline=None)
@given(groups())
def test_nodes_are_equal_exactly_where_prefixes_are(case: tuple[list[list[int]], list[int]]) -> None:
    sequences, over = case
    tree = _tree(sequences, over)
    prefixes = [(over[i], tuple(s[: t + 1])) for i, s in enumerate(sequences) for t in range(len(s))]
    for a, p in enumerate(prefixes):
        for b, q in enumerate(prefixes):
            if len(p[1]) == len(q[1]):
                assert (tree.node[a] == tree.node[b]) == (p == q)


@settings(max_examples=150, deadline=None)
@given(groups(), st.integers(0, 1000))
def test_means_are_those_of_the_sequences_that_share_the_prefix(case: tuple[list[list[int]], list[int]], seed: int) -> None:
    sequences, over = case
    reward = np.random.default_rng(seed).normal(size=len(sequences))
    tree = _tree(sequences, over)
    value = tree.mean(reward)
    token = 0
    for i, s in enumerate(sequences):
        mates = [j for j in range(len(sequences)) if over[j] == over[i]]
        for t in range(len(s)):
            sharing = [j for j in mates if sequences[j][: t + 1] == s[: t + 1]]
            assert value[tree.node[token]] == pytest.approx(np.mean(reward[sharing]), abs=1e-12)
            token += 1
        assert value[tree.end[i]] == pytest.approx(np.mean(reward[[j for j in mates if sequences[j] == s]]), abs=1e-12)
        assert value[over[i]] == pytest.approx(np.mean(reward[mates]), abs=1e-12)


def test_members_and_parents_form_a_tree() -> None:
    tree = _tree([[1, 2, 3], [1, 2], [1, 4], [1, 2, 5], [9]], [0, 0, 0, 0, 1])
    for k in range(2, tree.parent.size):
        mine = set(tree.order[tree.low[k] : tree.high[k]].tolist())
        above = tree.parent[k]
        assert mine < set(tree.order[tree.low[above] : tree.high[above]].tolist())
    assert tree.parent[:2].tolist() == [-1, -1]


def test_equal_values_have_exactly_themselves_as_mean() -> None:
    tree = _tree([[1, 2], [1, 3], [1, 3]], [0, 0, 0])
    assert np.all(tree.mean(np.full(3, 0.1)) == 0.1)


def test_a_group_without_members_is_no_trouble() -> None:
    tree = _tree([[1], [2]], [0, 2])
    assert np.isnan(tree.mean(np.ones(2))[1])
    assert tree.end.tolist() == [0, 2]
