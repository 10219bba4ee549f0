"""TEMPO: the card's example, what it collapses to, and where its credit may not go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import apportion as ap
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn
from apportion.ops.groups import standardise


def _batch(words: list[str], reward: list[float], **more: Any) -> ap.Batch:
    ids = [[ord(c) for c in w] for w in words]
    return ap.Batch.from_turns([[len(w)] for w in words], outcome=reward, ids=ids, **{"group": [0] * len(words), **more})


def _tempo(batch: ap.Batch, **options: Any) -> Credit:
    credit = ap.assign(batch, "tempo", **options)
    assert isinstance(credit, Credit)
    return credit


CARD = _batch(["abc", "abde", "abdf", "axc"], [1, 1, 0, 0])


def test_worked_example_population_std() -> None:
    credit = _tempo(CARD)
    td = [0, 1 / 6, 1 / 3, 0, 1 / 6, -1 / 6, 0.5, 0, 1 / 6, -1 / 6, -0.5, 0, -0.5, 0]
    np.testing.assert_allclose(credit.parts["tree"] * 0.5, td, atol=1e-5)
    expected = [1, 1.3333, 1.6667, 1, 1.3333, 0.6667, 2, -1, -0.6667, -1.3333, -2, -1, -2, -1]
    np.testing.assert_allclose(credit.token, expected, atol=6e-5)


def test_worked_example_sample_std() -> None:
    credit = _tempo(CARD, spread="sample").token
    np.testing.assert_allclose(credit[:3], [0.8660, 1.1547, 1.4434], atol=6e-5)
    np.testing.assert_allclose(credit[-3:], [-0.8660, -1.7320, -0.8660], atol=6e-5)


def test_no_shared_prefix_is_grpo_with_a_doubled_first_token() -> None:
    batch = _batch(["aaa", "bbb", "ccc"], [1, 0, 3])
    token = _tempo(batch, spread="none").token.reshape(3, 3)
    centred = np.array([1, 0, 3]) - 4 / 3
    np.testing.assert_allclose(token, centred[:, None] * [[2, 1, 1]], atol=1e-12)


@pytest.mark.parametrize("spread", ["none", "sample", "population"])
def test_identical_responses_are_grpo(spread: Any) -> None:
    batch = _batch(["abc", "abc", "abc"], [1, 0, 1])
    grpo = standardise(batch.reward, np.zeros(3, dtype=np.int64), spread=spread)
    np.testing.assert_array_equal(_tempo(batch, spread=spread).token, np.repeat(grpo, 3))


def test_equal_rewards_get_exactly_nothing() -> None:
    assert not _tempo(_batch(["ab", "ac", "ad"], [0.1, 0.1, 0.1])).token.any()


@pytest.mark.parametrize("spread", ["population", "sample"])
def test_equal_rewards_and_lone_rollouts_need_no_eps(spread: str) -> None:
    equal = ap.Batch.from_turns([[2], [2]], outcome=[0.3, 0.3], group=[0, 0], ids=[[7, 8], [7, 9]])
    assert not _tempo(equal, spread=spread, eps=0.0).unit.any()
    alone = ap.Batch.from_turns([[2], [2], [2]], outcome=[0.3, 0.7, 1.0], group=[0, 0, 1], ids=[[7, 8], [7, 9], [7, 8]])
    np.testing.assert_allclose(_tempo(alone, spread=spread, eps=0.0, single="raw").unit[4:], 1.0)


def test_a_response_without_end_token_parts_where_it_stops() -> None:
    credit = _tempo(_batch(["ab", "abc", "abd"], [1, 0, 0]), spread="none")
    np.testing.assert_allclose(credit.parts["tree"], [0, 2 / 3, 0, 0, -1 / 3, 0, 0, -1 / 3], atol=1e-12)
    # with an end token the same sums arise, and the stop has a token of its own
    closed = _tempo(_batch(["ab.", "abc.", "abd."], [1, 0, 0]), spread="none").parts["tree"]
    np.testing.assert_allclose(closed, [0, 0, 2 / 3, 0, 0, -1 / 3, 0, 0, 0, -1 / 3, 0], atol=1e-12)


def test_a_split_at_an_observation_is_luck_and_gets_no_credit() -> None:
    action = np.array([True, False, True] * 2)
    credit = _tempo(_batch(["aXc", "aYc"], [1, 0], action=action), spread="none")
    np.testing.assert_allclose(credit.token, [0.5, 0, 0.5, -0.5, 0, -0.5])
    np.testing.assert_array_equal(credit.parts["tree"], 0.0)
    np.testing.assert_array_equal(credit.parts["group"], credit.token)


def test_a_stop_after_an_observation_is_the_environments() -> None:
    action = [True, False, True, False, True]
    credit = _tempo(_batch(["aX", "aXc"], [1, 0], action=action), spread="none")
    np.testing.assert_array_equal(credit.parts["tree"], [0, 0, 0, 0, -0.5])


def test_groups_share_nothing() -> None:
    words, reward = ["abc", "abd", "acd", "abc", "bbd", "acd"], [1.0, 0, 2, 5, 3, 1]
    both = _tempo(_batch(words, reward, group=[0, 0, 0, 1, 1, 1])).token
    apart = [_tempo(_batch(words[s], reward[s])).token for s in (slice(0, 3), slice(3, 6))]
    np.testing.assert_array_equal(both, np.concatenate(apart))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text("ab", min_size=1, max_size=5), st.integers(0, 3)), min_size=2, max_size=8),
    st.randoms(use_true_random=False),
    st.floats(-3, 3),
)
def test_sums_order_and_shift(cases: list[tuple[str, int]], random: Any, shift: float) -> None:
    words, reward = [c[0] for c in cases], [float(c[1]) for c in cases]
    credit = _tempo(_batch(words, reward), spread="none")
    offsets = credit.batch.offsets("trajectory")
    total = np.add.reduceat(credit.parts["tree"], offsets[:-1])
    same = [np.mean([r for w, r in zip(words, reward, strict=True) if w == word]) for word in words]
    np.testing.assert_allclose(total, np.array(same) - np.mean(reward), atol=1e-9)
    moved = _tempo(_batch(words, [r + shift for r in reward]), spread="none")
    np.testing.assert_allclose(moved.token, credit.token, atol=1e-9)
    order = list(range(len(words)))
    random.shuffle(order)
    shuffled = _tempo(_batch([words[i] for i in order], [reward[i] for i in order]), spread="none")
    expected = np.concatenate([credit.token[offsets[i] : offsets[i + 1]] for i in order])
    np.testing.assert_allclose(shuffled.token, expected, atol=1e-9)


def test_layout_in_rows_and_turns_is_irrelevant() -> None:
    columns: dict[str, Any] = {"outcome": [1, 0], "group": [0, 0], "ids": [1, 2, 3, 4, 1, 2, 5, 6]}
    one = ap.Batch.from_turns([[4], [4]], **columns)
    many = ap.Batch.from_turns([[1, 3], [2, 2]], rows="turn", **columns)
    np.testing.assert_array_equal(_tempo(one).token, _tempo(many).token)


def test_a_group_of_one_is_refused_or_keeps_its_reward() -> None:
    lone = _batch(["ab"], [2.0])
    with pytest.raises(BatchError, match="single member"):
        _tempo(lone)
    np.testing.assert_allclose(_tempo(lone, single="raw", spread="none").token, [2, 2])
    assert not _tempo(lone, single="zero").token.any()


def test_without_ids_it_says_how_to_give_them() -> None:
    with pytest.raises(MissingColumn, match="ids="):
        _tempo(ap.Batch.from_turns([[1], [1]], outcome=[1, 0], group=[0, 0]))
