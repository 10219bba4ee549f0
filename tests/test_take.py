"""Choosing rows: what follows them, and what the copies are called."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import Batch, Spans
from apportion.errors import BatchError

from .batches import random_batch


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["trajectory", "turn"]))
def test_taking_every_row_in_order_changes_nothing(seed: int, rows: str) -> None:
    batch = random_batch(seed, rows=rows)
    spans = {"tag": Spans(batch.turn_offsets[:-1], batch.turn_offsets[1:], tuple("x" * batch.n_turns))}
    batch = batch.with_columns(spans=spans)
    assert batch.take(range(batch.n_rows)).same(batch)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["trajectory", "turn"]), st.data())
def test_columns_follow_their_rows(seed: int, layout: str, data: st.DataObject) -> None:
    batch = random_batch(seed, rows=layout)
    rows = data.draw(st.lists(st.integers(0, batch.n_rows - 1), min_size=1, max_size=9))
    taken = batch.take(rows)
    assert taken.n_rows == len(rows)
    assert batch.state is not None
    assert taken.state is not None
    for new, old in enumerate(rows):
        a, b = taken.offsets("row")[new : new + 2], batch.offsets("row")[old : old + 2]
        for name in ("action", "ids", "logp", "token_reward"):
            np.testing.assert_array_equal(getattr(taken, name)[slice(*a)], getattr(batch, name)[slice(*b)])
        t, u = slice(*taken.row_turns[new : new + 2]), slice(*batch.row_turns[old : old + 2])
        np.testing.assert_array_equal(taken.need("turn_reward")[t], batch.need("turn_reward")[u])
        assert taken.need("text")[t] == batch.need("text")[u]
        for x, y in zip(taken.prefix_before[t], batch.prefix_before[u], strict=True):
            assert taken.state.name(x) == batch.state.name(y)
            if x + 1 == taken.prefix_offsets[np.searchsorted(taken.prefix_offsets, x, "right")] - 1:
                assert taken.state.name(x + 1) == batch.state.name(y + 1)
        i, j = taken.within("row", "trajectory")[new], batch.within("row", "trajectory")[old]
        assert taken.need("outcome")[i] == batch.need("outcome")[j]
        assert str(taken.trajectory.name(i)).split("#")[0] == batch.trajectory.name(j)


def test_skipping_a_turn_keeps_the_state_before_the_next() -> None:
    batch = Batch.from_turns([[1, 1, 1]], rows="turn", state=["s0", "s1", "s2", "end"])
    taken = batch.take([0, 2])
    assert taken.n_trajectories == 1
    assert taken.state is not None
    assert taken.state.to_list() == ["s0", "s2", "end"]


def test_copies_get_ids_that_nobody_has() -> None:
    batch = Batch.from_turns([[1], [1]], trajectory=["a", "a#1"])
    assert batch.take([0, 0, 1, 0]).trajectory.to_list() == ["a", "a#2", "a#1", "a#3"]


def test_spans_move_with_their_rows_and_leave_when_cut() -> None:
    spans = {"tag": Spans(np.array([0, 1, 3]), np.array([1, 4, 6]), ("first", "over", "last"))}
    batch = Batch.from_turns([[2, 2, 2]], rows="turn", spans=spans)
    one = batch.take([2, 0]).spans["tag"]
    assert (one.start.tolist(), one.end.tolist(), one.label) == ([2], [3], ("first",))
    two = batch.take([0, 1, 0]).spans["tag"]
    assert (two.start.tolist(), two.end.tolist(), two.label) == ([0, 1, 4], [1, 4, 5], ("first", "over", "first"))


@pytest.mark.parametrize("rows", [[], [0, 5], [-1]])
def test_rows_that_are_not_there_are_named(rows: list[int]) -> None:
    batch = Batch.from_turns([[1], [2]])
    with pytest.raises(BatchError, match="rows"):
        batch.take(rows)


def test_two_rewards_that_agree_in_the_rows_taken_are_still_two() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], turn_reward=[0.5, 0.5, 1.0, 0.0])
    taken = batch.take([0])
    assert taken.reward.tolist() == [2.0]
    assert taken.take([0]).reward.tolist() == [2.0]
    assert batch.take([0, 1]).same(batch)
