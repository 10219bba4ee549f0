"""GiGPO: all four settings of the card's example, similarity, layouts and collapses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import apportion as ap
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.ops.anchors import anchor_groups, similar_groups
from apportion.ops.groups import standardise

STATES = ["S0", "S1", "S2", None, "S0", "S1", "S1", "S3", None, "S0", "S4", None]
REWARDS = [0, 0, 10, 0, 0, 0, 0, 0, 10]


def _card(rows: str = "trajectory", length: int = 1, **more: Any) -> ap.Batch:
    lengths = [[length] * 3, [length] * 4, [length] * 2]
    columns: dict[str, Any] = {"turn_reward": REWARDS, "group": ["task"] * 3, "state": STATES, **more}
    return ap.Batch.from_turns(lengths, rows=rows, **columns)


def _gigpo(batch: ap.Batch, **options: Any) -> Credit:
    credit = ap.assign(batch, "gigpo", **options)
    assert isinstance(credit, Credit)
    return credit


CARD = [
    (
        {"spread": "none", "statistics": "row"},
        [4.4444, -5.5556, 4.4444],
        [7.2944, 10.7778, 4.4444, -11.7306, -8.7222, -8.7222, -5.5556, 7.7694, 4.4444],
    ),
    (
        {"spread": "none", "statistics": "trajectory"},
        [3.3333, -6.6667, 3.3333],
        [6.1833, 9.6667, 3.3333, -12.8417, -9.8333, -9.8333, -6.6667, 6.6583, 3.3333],
    ),
    (
        {"spread": "sample", "statistics": "row"},
        [0.8433, -1.0541, 0.8433],
        [1.3757, 1.9980, 0.8433, -2.2077, -1.6314, -1.6314, -1.0541, 1.4644, 0.8433],
    ),
    (
        {"spread": "sample", "statistics": "trajectory"},
        [0.5774, -1.1547, 0.5774],
        [1.1098, 1.7321, 0.5774, -2.3083, -1.7321, -1.7321, -1.1547, 1.1985, 0.5774],
    ),
]


@pytest.mark.parametrize(("options", "episode", "turns"), CARD)
def test_worked_example(options: dict[str, Any], episode: list[float], turns: list[float]) -> None:
    credit = _gigpo(_card(), **options)
    np.testing.assert_allclose(credit.parts["episode"][[0, 3, 7]], episode, atol=6e-5)
    np.testing.assert_allclose(credit.unit, turns, atol=6e-5)


def test_worked_example_of_the_step_part() -> None:
    expected = [2.85, 6.3333, 0, -6.175, -3.1667, -3.1667, 0, 3.325, 0]
    np.testing.assert_allclose(_gigpo(_card()).parts["step"], expected, atol=6e-5)


@pytest.mark.parametrize("options", [c[0] for c in CARD])
def test_rows_that_are_turns_give_the_same_credit(options: dict[str, Any]) -> None:
    whole, split = _gigpo(_card(length=2), **options), _gigpo(_card("turn", 2), **options)
    np.testing.assert_array_equal(whole.token, split.token)
    np.testing.assert_array_equal(whole.unit, split.unit)


@pytest.mark.parametrize("spread", ["none", "sample", "population"])
def test_omega_zero_is_grpo(spread: Any) -> None:
    batch = _card()
    grpo = standardise(batch.reward, np.zeros(3, dtype=np.int64), spread=spread)
    np.testing.assert_array_equal(_gigpo(batch, omega=0, spread=spread).unit, grpo[batch.within("turn", "trajectory")])


def test_unknown_states_meet_nobody() -> None:
    credit = _gigpo(_card(state=[None] * 12))
    assert not credit.parts["step"].any()


KITCHEN = ["You are in the kitchen. You see a red apple.", "fridge", "end"]
GARDEN = ["You are in the kitchen. You see a green apple.", "garden", "end"]


@pytest.mark.parametrize(
    ("similarity", "step"), [(None, [0, 0, 0, 0]), (0.9, [0.475, 0, -0.475, 0]), (0.95, [0.475, 0, -0.475, 0]), (0.96, [0] * 4)]
)
def test_worked_example_of_similar_states(similarity: float | None, step: list[float]) -> None:
    batch = ap.Batch.from_turns([[1, 1], [1, 1]], turn_reward=[0, 1, 0, 0], group=[0, 0], state=KITCHEN + GARDEN)
    credit = _gigpo(batch, similarity=similarity)
    np.testing.assert_allclose(credit.parts["step"], step, atol=1e-12)
    np.testing.assert_allclose(credit.unit, np.array([0.5, 0.5, -0.5, -0.5]) + step, atol=1e-12)


def test_similarity_joins_at_the_threshold_and_leaves_unknown_states_alone() -> None:
    names, one = ["ab", "ac"], np.zeros(4, dtype=np.int64)
    assert similar_groups(one[:2], np.array([0, 1]), names, 0.5).tolist() == [0, 0]  # ratio exactly 0.5
    assert similar_groups(one, np.array([1, -1, 0, -1]), names, 0.4).tolist() == [0, 1, 0, 2]


def test_similar_states_depend_on_the_order_and_equal_ones_do_not() -> None:
    # b is like a and like c, which are not alike: whoever comes first decides whether all three meet
    first = {"a": "0000", "b": "0011", "c": "1111"}
    step: dict[float | None, dict[str, dict[str, float]]] = {0.5: {}, None: {}}
    for order in ("abc", "bac"):
        batch = ap.Batch.from_turns(
            [[1]] * 3, outcome=[float(name == "a") for name in order], group=[0] * 3,
            state=[key for name in order for key in (first[name], None)],
        )  # fmt: skip
        for similarity, found in step.items():
            credit = _gigpo(batch, similarity=similarity)
            found[order] = dict(zip(order, credit.parts["step"].tolist(), strict=True))
    assert step[0.5]["abc"] == pytest.approx({"a": 0.5, "b": -0.5, "c": 0.0})
    assert step[0.5]["bac"] == pytest.approx({"a": 2 / 3, "b": -1 / 3, "c": -1 / 3})
    assert step[None]["abc"] == step[None]["bac"]


@pytest.mark.parametrize("statistics", ["trajectory", "row"])
def test_long_rollouts_weigh_more_in_the_code_than_in_the_paper(statistics: str) -> None:
    batch = ap.Batch.from_turns([[1], [1] * 9], outcome=[1.0, 0.0], group=[0, 0], state=[None] * 12)
    episode = _gigpo(batch, statistics=statistics).parts["episode"]
    expected = [0.5, -0.5] if statistics == "trajectory" else [0.9, -0.1]
    np.testing.assert_allclose(episode, np.repeat(expected, [1, 9]))


def test_similarity_needs_texts_and_a_ratio() -> None:
    batch = _card(state=[("cell", i) for i in range(12)])
    with pytest.raises(BatchError, match="keys must be strings"):
        _gigpo(batch, similarity=0.9)
    with pytest.raises(OptionError, match="similarity = 1"):
        _gigpo(_card(), similarity=1.0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.text("ab", max_size=4)), min_size=1, max_size=12), st.sampled_from([0.3, 0.6, 0.9])
)
def test_similar_groups_are_those_of_the_plain_scan(visits: list[tuple[int, str]], threshold: float) -> None:
    from difflib import SequenceMatcher

    names = sorted({text for _, text in visits})
    over = np.array([g for g, _ in visits])
    found = similar_groups(over, np.array([names.index(t) for _, t in visits]), names, threshold)
    clusters: list[tuple[int, str]] = []
    expected = []
    for group, text in visits:
        for c, (g, representative) in enumerate(clusters):
            if g == group and SequenceMatcher(None, text, representative).ratio() >= threshold:
                expected.append(c)
                break
        else:
            expected.append(len(clusters))
            clusters.append((group, text))
    assert found.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 3)), min_size=1, max_size=15))
def test_anchor_groups_join_equal_known_keys_of_a_group(visits: list[tuple[int, int]]) -> None:
    anchor = anchor_groups(np.array([g for g, _ in visits]), np.array([k for _, k in visits]))
    assert sorted(set(anchor.tolist())) == list(range(int(anchor.max()) + 1))
    for i, a in enumerate(visits):
        for j, b in enumerate(visits):
            assert (anchor[i] == anchor[j]) == (i == j or (a == b and a[1] >= 0))


def test_groups_share_nothing_and_their_order_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    rewards, states = rng.normal(size=12), rng.integers(0, 3, 18)
    batch = ap.Batch.from_turns([[1, 1]] * 6, turn_reward=rewards, group=[0, 1, 0, 1, 0, 1], state=states)
    order = np.array([5, 0, 3, 2, 1, 4])
    np.testing.assert_allclose(_gigpo(batch.take(order)).unit.reshape(6, 2), _gigpo(batch).unit.reshape(6, 2)[order], atol=1e-12)


def test_states_of_different_prompts_are_different_and_the_outcome_is_a_reward() -> None:
    rng = np.random.default_rng(1)
    batch = ap.Batch.from_turns([[1, 1]] * 6, outcome=rng.normal(size=6), group=[0, 1, 0, 1, 0, 1], state=rng.integers(0, 3, 18))
    for options in ({}, {"spread": "sample", "statistics": "row"}):
        whole = _gigpo(batch, **options).parts["step"].reshape(6, 2)
        assert whole.any()
        for rows in ([0, 2, 4], [1, 3, 5]):
            apart = _gigpo(batch.take(np.array(rows)), **options).parts["step"]
            np.testing.assert_allclose(apart.reshape(3, 2), whole[rows], atol=1e-12)


def test_equal_rewards_get_exactly_nothing_at_gamma_one() -> None:
    batch = ap.Batch.from_turns([[1, 1], [1], [1, 1, 1]], outcome=[0.1] * 3, group=[0] * 3, state=["a"] * 9)
    assert not _gigpo(batch, gamma=1.0, spread="sample", statistics="row").token.any()


def test_a_group_of_one_is_refused_or_keeps_its_reward() -> None:
    lone = ap.Batch.from_turns([[1, 1]], outcome=[2.0], group=[0], state=["a", "b", "c"])
    for statistics in ("trajectory", "row"):
        with pytest.raises(BatchError, match="single member"):
            _gigpo(lone, statistics=statistics)
    np.testing.assert_allclose(_gigpo(lone, single="raw").unit, [2, 2])
    # the official code counts the rows of a lone rollout, so its mean is the reward itself
    np.testing.assert_allclose(_gigpo(lone, single="raw", statistics="row").unit, [0, 0])


def test_observation_tokens_get_nothing() -> None:
    action = np.tile([False, True], 9)
    token = _gigpo(_card(length=2, action=action)).token
    assert not token[~action].any()
    assert token[action].all()


def test_without_state_keys_it_says_how_to_give_them() -> None:
    with pytest.raises(MissingColumn, match="state="):
        _gigpo(_card(state=None))
    with pytest.raises(OptionError, match="gamma"):
        _gigpo(_card(), gamma=1.5)
