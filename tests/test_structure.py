"""Maps between levels, against loops that follow the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import Batch
from apportion.errors import BatchError
from apportion.structure import spread
from apportion.words import Axis

from .batches import random_batch

seeds = st.integers(0, 10_000)
layouts = st.sampled_from(["trajectory", "turn"])
SPANS: tuple[Axis, ...] = ("token", "step", "turn", "row", "trajectory")


@settings(max_examples=60, deadline=None)
@given(seeds, layouts)
def test_within_is_the_unit_that_holds_it(seed: int, rows: str) -> None:
    batch = random_batch(seed, rows=rows)
    for f, fine in enumerate(SPANS):
        inner = batch.offsets(fine)
        for coarse in SPANS[f:]:
            outer = batch.offsets(coarse)
            expected = [
                next(c for c in range(outer.size - 1) if outer[c] <= inner[i] and inner[i + 1] <= outer[c + 1])
                for i in range(inner.size - 1)
            ]
            assert batch.within(fine, coarse).tolist() == expected
        for above in ("episode", "group"):
            codes = getattr(batch, above)
            names = [codes.name(i) for i in batch.within(fine, "trajectory")]
            assert [codes.names[c] for c in batch.within(fine, above)] == names


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_prefixes_stand_before_each_turn_and_after_the_last(seed: int) -> None:
    batch = random_batch(seed)
    owner: list[int] = []
    before: list[int] = []
    for i in range(batch.n_trajectories):
        n = int(batch.trajectory_turns[i + 1] - batch.trajectory_turns[i])
        before += [len(owner) + k for k in range(n)]
        owner += [i] * (n + 1)
        assert batch.prefix_offsets[i + 1] == len(owner)
    assert batch.count("prefix") == len(owner)
    assert batch.within("prefix", "trajectory").tolist() == owner
    assert batch.prefix_before.tolist() == before
    assert batch.within("prefix", "group").tolist() == batch.within("trajectory", "group")[owner].tolist()


@settings(max_examples=60, deadline=None)
@given(seeds, layouts)
def test_action_counts_and_last_actions_match_a_loop(seed: int, rows: str) -> None:
    batch = random_batch(seed, rows=rows)
    for axis in SPANS:
        o = batch.offsets(axis)
        inside = [np.flatnonzero(batch.action[o[i] : o[i + 1]]) + o[i] for i in range(o.size - 1)]
        assert batch.action_count(axis).tolist() == [x.size for x in inside]
        assert batch.last_action(axis).tolist() == [x[-1] if x.size else -1 for x in inside]


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_rewards_keep_their_total_at_every_level(seed: int) -> None:
    batch = random_batch(seed)
    for axis in SPANS:
        placed = batch.rewards(axis)
        total = np.bincount(batch.within(axis, "trajectory"), weights=placed, minlength=batch.n_trajectories)
        np.testing.assert_allclose(total, batch.reward, atol=1e-12)
    assert (batch.rewards("token")[~batch.action] == 0).all()


def test_turn_index_restarts_in_each_trajectory() -> None:
    batch = Batch.from_turns([[1, 1, 2], [3], [1, 1]])
    assert batch.turn_index.tolist() == [0, 1, 2, 0, 0, 1]
    assert spread(np.array([0, 2, 5])).tolist() == [0, 0, 1, 1, 1]


def test_maps_are_read_only_so_that_no_method_can_spoil_them() -> None:
    batch = random_batch()
    with pytest.raises(ValueError, match="read-only"):
        batch.within("token", "turn")[0] = 7


def test_a_level_that_does_not_nest_is_refused() -> None:
    batch = random_batch()
    for fine, coarse in [("trajectory", "turn"), ("prefix", "turn"), ("segment", "turn"), ("token", "segment")]:
        with pytest.raises(BatchError, match="does not lie within"):
            batch.within(fine, coarse)  # type: ignore[arg-type]


def test_the_group_of_an_episode_is_that_of_its_trajectories() -> None:
    batch = Batch.from_turns([[1], [1], [1]], group=["b", "a", "b"], episode=[7, 5, 7])
    assert batch.within("episode", "group").tolist() == [0, 1]
    with pytest.raises(BatchError, match=r"group\[2\] = 'a'.*episode 7"):
        Batch.from_turns([[1], [1], [1]], group=["b", "a", "a"], episode=[7, 5, 7])


def test_steps_default_to_turns_and_hide_with_only() -> None:
    batch = random_batch(3)
    assert batch.only(["outcome"]).n_steps == batch.n_turns
    assert batch.only(["outcome"]).within("step", "turn").tolist() == list(range(batch.n_turns))
