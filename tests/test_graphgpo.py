"""GraphGPO: the card's worked example, the graph of states, and what becomes of it where nothing succeeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import apportion as ap
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.ops.graph import steps_to

# t1: s0 -> s1 -> success; t2: s0 -> s2 -> s1 -> s3; t3: s0 -> s2 -> s4
_STATES = ["s0", "s1", "x", "s0", "s2", "s1", "s3", "s0", "s2", "s4"]


def _card(rows: str = "trajectory", **changes: Any) -> ap.Batch:
    columns: dict[str, Any] = {"turn_reward": [0, 10, 0, 0, 0, 0, 0], "group": [0] * 3, "state": _STATES, **changes}
    return ap.Batch.from_turns([[1] * 2, [1] * 3, [1] * 2], rows=rows, **columns)


def _graphgpo(batch: ap.Batch, **options: Any) -> Credit:
    credit = ap.assign(batch, "graphgpo", **options)
    assert isinstance(credit, Credit)
    return credit


STEP = [1.1547, 0.7071, -0.5773, 0.7071, -0.7071, -0.5773, -0.7071]


def test_worked_example() -> None:
    credit = _graphgpo(_card(), statistics="row")
    assert_allclose(credit.parts["step"], STEP, atol=6e-5)
    assert_allclose(credit.parts["episode"][[0, 2, 5]], [1.4638, -0.5855, -0.5855], atol=6e-5)
    assert_allclose(credit.unit, [2.6185, 2.1710, -1.1629, 0.1216, -1.2926, -1.1629, -1.2926], atol=6e-5)
    assert_allclose(_graphgpo(_card()).parts["episode"][[0, 2, 5]], [1.1547, -0.5774, -0.5774], atol=6e-5)
    assert credit.diagnostics["reachable"] == 5 / 7  # s3 and s4 lead nowhere


def test_worked_returns_by_either_distance() -> None:
    """Without std the step part is the return less the mean of its state: 1, .1, .1 / 10, .01 / 1, .01, and the other form."""
    plain = _graphgpo(_card(), spread="none", episode_weight=0.0).unit
    assert_allclose(plain, [0.6, 4.995, -0.3, 0.495, -4.995, -0.3, -0.495], atol=1e-12)
    normal = _graphgpo(_card(), spread="none", episode_weight=0.0, normalize_distance=True).unit
    assert_allclose(normal, [6.0, 4.995, -3.0, 4.95, -4.995, -3.0, -4.95], atol=1e-12)


def test_a_good_turn_of_a_failed_rollout_ends_above_zero() -> None:
    assert _graphgpo(_card()).unit[3] > 0


def test_the_step_part_vanishes_where_nothing_succeeds() -> None:
    """Trap: all distances are 1 then, whatever the rewards say."""
    batch = _card(turn_reward=None, outcome=[-1.0, -2.0, -3.0])
    for normalize in (False, True):
        credit = _graphgpo(batch, normalize_distance=normalize)
        assert not credit.parts["step"].any()
        assert credit.parts["episode"].any()
        assert credit.diagnostics["reachable"] == 0.0


def test_success_is_what_the_batch_says_it_is() -> None:
    paid = _card(turn_reward=None, outcome=[-1.0, -2.0, -3.0])
    by_column = _graphgpo(paid.with_columns(success=np.array([True, False, False])))
    assert_allclose(by_column.parts["step"], STEP, atol=6e-5)
    none = _graphgpo(_card(success=[False] * 3))  # rewarded, yet not solved
    assert not none.parts["step"].any()


def test_a_state_where_only_successes_ended_is_no_state_of_the_graph() -> None:
    # the second rollout comes through "x", where the first one ended well: that is not success for it
    states = ["s0", "x", "s0", "x", "pit", "s0", "pit"]
    batch = ap.Batch.from_turns([[1], [1, 1], [1]], outcome=[1.0, 0.0, 0.0], group=[0] * 3, state=states)
    credit = _graphgpo(batch, spread="none", episode_weight=0.0)
    # success is at 0; x and pit are unreached, one farther than s0's 1
    assert_allclose(credit.unit[[0, 1, 3]], np.array([10, 0.1, 0.1]) - 10.2 / 3, atol=1e-12)


def test_turning_on_the_spot_is_worse_than_moving_on() -> None:
    states = ["a", "a", "b", "x", "a", "b", "x"]
    batch = ap.Batch.from_turns([[1, 1, 1], [1, 1]], outcome=[1.0, 1.0], group=[0, 0], state=states)
    for normalize in (False, True):
        step = _graphgpo(batch, normalize_distance=normalize).parts["step"]
        assert step[0] < 0 < step[1]
        assert_allclose(step[1], step[3])


def test_groups_are_graphs_of_their_own() -> None:
    both = ap.Batch.from_turns([[1] * 2, [1] * 3, [1] * 2] * 2, turn_reward=[0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5],
                               group=[0] * 3 + [1] * 3, state=_STATES * 2)  # fmt: skip
    for statistics in ("row", "trajectory"):
        whole = _graphgpo(both, statistics=statistics).unit
        for i in (0, 1):
            alone = _graphgpo(both.take(np.arange(3 * i, 3 * i + 3)), statistics=statistics).unit
            assert_allclose(whole[7 * i : 7 * i + 7], alone, atol=1e-12)
    assert_allclose(whole[:7], _graphgpo(_card()).unit, atol=1e-12)
    # what is out of reach in one group is not measured by another's longest way
    far = ap.Batch.from_turns([[1] * 2, [1] * 2, [1] * 5], outcome=[1.0, 0.0, 1.0], group=[0, 0, 1],
                              state=["a", "b", "x", "a", "c", "d", *range(6)])  # fmt: skip
    near = far.take(np.arange(2))
    options: dict[str, Any] = {"spread": "none", "single": "zero"}
    assert_allclose(_graphgpo(far, **options).unit[:4], _graphgpo(near, **options).unit, atol=1e-12)


def test_an_unknown_state_is_a_place_of_its_own_on_the_way() -> None:
    states = ["a", None, "x", "a", None, "pit", "a", "c", "pit"]
    batch = ap.Batch.from_turns([[1, 1]] * 3, outcome=[1.0, 0.0, 0.0], group=[0] * 3, state=states)
    step = _graphgpo(batch, spread="none", episode_weight=0.0).unit
    # a -> (known to lead to success) is 1; the other unknown and c are out of reach, at 3
    assert_allclose(step[[0, 2, 4]], np.array([1.0, 0.01, 0.01]) - 1.02 / 3, atol=1e-12)
    assert not step[[1, 3, 5]].any()


def test_the_step_part_fades_far_from_success_unless_distances_are_normalised() -> None:
    n = 12
    states = [*range(n), "x", 0, "aside", *range(1, n - 1), "pit"]  # the second steps aside at once, and fails at the end
    batch = ap.Batch.from_turns([[1] * n, [1] * n], outcome=[1.0, 0.0], group=[0, 0], state=states)
    far, near = 0, n - 2  # turns of the first rollout in a state that the second left otherwise
    plain = _graphgpo(batch).parts["step"]
    assert 0 < plain[far] < 1e-4
    assert plain[near] > 0.7
    normal = _graphgpo(batch, normalize_distance=True).parts["step"]
    assert_allclose(normal[[far, near]], 0.7071, atol=1e-4)


def test_similar_states_are_one_node_but_anchors_stay_exact() -> None:
    kitchen, other = "You are in the kitchen. You see a red apple.", "You are in the kitchen. You see a green apple."
    states = ["hall", kitchen, "x", "hall", other, "pit", "hall", "garden", "pit"]
    batch = ap.Batch.from_turns([[1, 1]] * 3, outcome=[1.0, 0.0, 0.0], group=[0] * 3, state=states)
    exact = _graphgpo(batch, spread="none", episode_weight=0.0).unit
    merged = _graphgpo(batch, spread="none", episode_weight=0.0, similarity=0.9).unit
    assert_allclose(exact[[0, 2, 4]], np.array([1.0, 0.01, 0.01]) - 1.02 / 3, atol=1e-12)
    assert_allclose(merged[[0, 2, 4]], np.array([1.0, 1.0, 0.01]) - 2.01 / 3, atol=1e-12)
    assert not merged[[1, 3]].any()  # alone in their exact states
    with pytest.raises(BatchError, match="keys must be strings"):
        _graphgpo(batch.with_columns(state=None).with_columns(state=_ints(batch)), similarity=0.9)


def test_where_a_success_ended_joins_no_states() -> None:
    # "abyy" and "zzcd" are each half like "abcd", where the first rollout ended well, and not like each other
    states = ["hall", "abcd", "hall", "abyy", "pit", "hall", "zzcd", "x"]
    batch = ap.Batch.from_turns([[1], [1, 1], [1, 1]], outcome=[1.0, 0.0, 1.0], group=[0] * 3, state=states)
    step = _graphgpo(batch, spread="none", episode_weight=0.0, similarity=0.5).unit
    assert_allclose(step[[0, 1, 3]], np.array([10, 0.1, 1]) - 11.1 / 3, atol=1e-12)


def _ints(batch: ap.Batch) -> Any:
    codes = batch.need("state")
    return type(codes)(codes.codes, tuple(range(codes.n)))


def test_weights_scale_their_parts() -> None:
    one, two = _graphgpo(_card()), _graphgpo(_card(), omega=2.0, episode_weight=3.0)
    assert_allclose(two.parts["step"], 2 * one.parts["step"])
    assert_allclose(two.parts["episode"], 3 * one.parts["episode"])
    assert_allclose(two.unit, two.parts["step"] + two.parts["episode"])


def test_a_group_of_one_is_refused_or_keeps_its_reward() -> None:
    lone = ap.Batch.from_turns([[1, 1]], outcome=[2.0], group=[0], state=["a", "a", "c"])
    with pytest.raises(BatchError, match="single member"):
        _graphgpo(lone)
    credit = _graphgpo(lone, single="raw")
    assert_allclose(credit.parts["episode"], [2 / (1 + 1e-6), 2 / (1 + 1e-6)])
    assert_allclose(credit.parts["step"], [-0.7071, 0.7071], atol=1e-4)  # it came back to a, and then left it


def test_equal_rewards_give_exactly_nothing_to_the_episode_part() -> None:
    assert not _graphgpo(_card(turn_reward=None, outcome=[0.1] * 3)).parts["episode"].any()


def test_rows_that_are_turns_give_the_same_credit() -> None:
    for statistics in ("trajectory", "row"):
        whole, split = (_graphgpo(_card(rows), statistics=statistics) for rows in ("trajectory", "turn"))
        assert_array_equal(whole.unit, split.unit)


def test_bad_input_is_refused() -> None:
    with pytest.raises(MissingColumn, match="state="):
        _graphgpo(_card(state=None))
    with pytest.raises(OptionError, match=r"gamma = 1\.5"):
        _graphgpo(_card(), gamma=1.5)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12),
    st.lists(st.integers(0, 5), min_size=1, max_size=3),
)
def test_steps_to_are_those_of_repeated_relaxation(edges: list[tuple[int, int]], goals: list[int]) -> None:
    tail, head = np.array([e[0] for e in edges]), np.array([e[1] for e in edges])
    distance = np.full(6, np.inf)
    distance[goals] = 0
    for _ in range(6):
        for a, b in edges:
            distance[a] = min(distance[a], distance[b] + 1)
    expected = np.where(np.isinf(distance), -1, distance).astype(int)
    assert steps_to(tail, head, np.array(goals), 6).tolist() == expected.tolist()
