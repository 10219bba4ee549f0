"""HGPO: the card's worked example, GiGPO at depth 1, silent depths, and who shares a context with whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import apportion as ap
from apportion.credit import Credit
from apportion.errors import OptionError
from apportion.ops.anchors import context_groups

_STATES = ["s0", "s1", "s2", None, "s0", "s3", "s2", None, "s0", "s1", "s2", None]


def _card(**changes: Any) -> ap.Batch:
    columns: dict[str, Any] = {"turn_reward": [0, 0, 10, 0, 0, 0, 0, 0, 0], "group": [0] * 3, "state": _STATES, **changes}
    return ap.Batch.from_turns([[1] * 3] * 3, **columns)


def _hgpo(batch: ap.Batch, **options: Any) -> Credit:
    credit = ap.assign(batch, "hgpo", **options)
    assert isinstance(credit, Credit)
    return credit


def _random(seed: int, n: int = 6, turns: int = 5, rounded: bool = True) -> ap.Batch:
    rng = np.random.default_rng(seed)
    keys = [
        None if u < 0.1 else int(k) for u, k in zip(rng.random(n * (turns + 1)), rng.integers(0, 3, n * (turns + 1)), strict=True)
    ]
    rewards = rng.integers(0, 2, n * turns).astype(float) if rounded else rng.normal(size=n * turns)
    return ap.Batch.from_turns([[1] * turns] * n, turn_reward=rewards, group=[i % 2 for i in range(n)], state=keys)


CARD = [
    ({"spread": "none"}, [6.0167, 4.7500, 5.3704, -3.0083, 0, -3.3333, -3.0083, -4.7500, -4.6296]),
    ({"spread": "none", "weights": "paper"}, [6.0167, 4.7500, 5.2778, -3.0083, 0, -3.3333, -3.0083, -4.7500, -4.7222]),
    ({}, [1.4142, 1.0, 1.0920, -0.7071, 0, -0.7071, -0.7071, -1.0, -0.9349]),
]


@pytest.mark.parametrize(("options", "expected"), CARD)
def test_worked_example(options: dict[str, Any], expected: list[float]) -> None:
    assert_allclose(_hgpo(_card(), **options).unit, expected, atol=6e-5)


def test_the_depths_of_the_worked_example_add_up() -> None:
    credit = _hgpo(_card(), spread="none")
    assert list(credit.parts) == ["depth_1", "depth_2", "depth_3"]
    # step 2 of the first: (2 * 6.6667 + 3 * 5 + 4 * 5) / 9
    assert_allclose([p[2] for p in credit.parts.values()], [2 * 6.66667 / 9, 15 / 9, 20 / 9], atol=1e-5)
    assert_allclose(sum(credit.parts.values()), credit.unit, atol=1e-15)


@pytest.mark.parametrize("spread", ["none", "sample", "population"])
@pytest.mark.parametrize("seed", range(4))
def test_without_history_it_is_the_step_part_of_gigpo(spread: Any, seed: int) -> None:
    batch = _random(seed, rounded=False)
    step = ap.assign(batch, "gigpo", spread=spread).parts["step"]  # type: ignore[union-attr]
    assert step.any()
    assert_allclose(_hgpo(batch, history=0, spread=spread).unit, step, atol=1e-12)
    assert not np.allclose(_hgpo(batch, history=1, spread=spread).unit, step, atol=1e-3)


def _reference(batch: ap.Batch, history: int, alpha: float, spread: str, extra: int, gamma: float) -> np.ndarray[Any, Any]:
    """The code's loops, in float64: contexts as tuples, silent depths by a tolerance."""
    group, state = batch.within("turn", "group"), batch.need("state").to_list()
    owner, start = batch.within("turn", "trajectory"), batch.trajectory_turns
    rewards, returns = batch.rewards("turn"), np.zeros(batch.n_turns)
    for u in reversed(range(batch.n_turns)):
        last = u + 1 == batch.n_turns or owner[u + 1] != owner[u]
        returns[u] = rewards[u] + (0.0 if last else gamma * returns[u + 1])
    key = [state[u + owner[u]] for u in range(batch.n_turns)]
    groups: dict[Any, list[int]] = {}
    for u in range(batch.n_turns):
        for k in range(1, history + 2):
            context = tuple(key[max(u - k + 1, start[owner[u]]) : u + 1])
            if len(context) == k and None not in context:
                groups.setdefault((group[u], k, context), []).append(u)
    items: dict[int, list[tuple[float, float]]] = {}
    for (_, k, _), members in groups.items():
        if len(members) > 1:
            g = returns[members]
            a = (g - g.mean()) / (1.0 if spread == "none" else g.std() + 1e-6)
            for u, value in zip(members, a, strict=True):
                if abs(value) > 1e-9:
                    items.setdefault(u, []).append((float((k + extra) ** alpha), value))
    found = {u: sum(w * a for w, a in pairs) / sum(w for w, _ in pairs) for u, pairs in items.items()}
    return np.array([found.get(u, 0.0) for u in range(batch.n_turns)])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("history", "alpha", "spread"), [(2, 1.0, "none"), (4, 0.0, "population"), (1, 2.0, "population")])
def test_random_rollouts_agree_with_the_loops_of_the_code(seed: int, history: int, alpha: float, spread: Any) -> None:
    batch = _random(seed)
    for weights, extra in (("code", 1), ("paper", 0)):
        got = _hgpo(batch, history=history, alpha=alpha, spread=spread, weights=weights, gamma=0.9).unit
        assert_allclose(got, _reference(batch, history, alpha, spread, extra, 0.9), atol=1e-9)


def test_a_depth_whose_return_is_the_mean_up_to_rounding_is_silent() -> None:
    states = ["a", "m", None, "b", "m", None, "c", "m", None, "b", "m", None]
    earned = np.array([0.1, 0.1 + 0.2, 0.6, 0.2])  # of the turn in state m; their mean is .3 but for an ulp
    assert 0 < abs(np.bincount(np.zeros(4, dtype=int), weights=earned)[0] / 4 - earned[1]) < 1e-15
    reward = np.zeros(8)
    reward[1::2] = earned
    batch = ap.Batch.from_turns([[1, 1]] * 4, turn_reward=reward, group=[0] * 4, state=states)
    credit = _hgpo(batch, spread="none", gamma=1.0)
    assert credit.parts["depth_1"][3] == 0.0
    assert_allclose(credit.unit[3], (0.3 - 0.2) / 2, atol=1e-12)  # depth 2 alone: {.3, .2}
    assert_allclose(credit.unit[7], (2 * -0.1 + 3 * -0.05) / 5, atol=1e-12)
    large = _hgpo(batch.with_columns(turn_reward=1e6 * reward), spread="none", gamma=1.0)
    assert large.parts["depth_1"][3] == 0.0
    assert_allclose(large.unit, 1e6 * credit.unit, rtol=1e-9)


def test_small_true_differences_are_not_taken_for_rounding() -> None:
    batch = _card(turn_reward=[0, 0, 1e6, 0, 0, 1e6 - 1e-3, 0, 0, 1e6 - 2e-3])
    assert (_hgpo(batch, spread="none", gamma=1.0, history=0).unit[[2, 8]] != 0).all()


def test_equal_rewards_give_exactly_nothing() -> None:
    for spread in ("none", "population", "sample"):
        assert not _hgpo(_card(turn_reward=None, outcome=[0.1] * 3), spread=spread, gamma=1.0).token.any()


def test_a_turn_that_is_alone_at_depth_one_gets_nothing() -> None:
    assert _hgpo(_card()).unit[4] == 0.0
    assert not _hgpo(_card(state=[None] * 12)).token.any()
    assert not _hgpo(_card(group=[0, 1, 2])).token.any()


def test_history_of_another_prompt_or_before_the_start_is_not_shared() -> None:
    # the first turns have no past, whatever stands before them in the batch
    states = ["x", "m", "m", None, "m", "x", "m", None]
    batch = ap.Batch.from_turns([[1] * 3] * 2, turn_reward=[0, 0, 1, 0, 0, 0], group=[0, 0], state=states)
    credit = _hgpo(batch, spread="none", gamma=1.0)
    # contexts (x, m) at turns 1 and 5; (m, m) and (m, x) once; nobody shares three states
    assert_array_equal(np.flatnonzero(credit.parts["depth_2"]), [1, 5])
    assert "depth_3" not in credit.parts or not credit.parts["depth_3"].any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 2), min_size=1, max_size=5), min_size=1, max_size=5), st.integers(1, 4))
def test_context_groups_join_those_with_the_same_last_states(keys: list[list[int]], depth: int) -> None:
    over = np.array([i % 2 for i, row in enumerate(keys) for _ in row])
    flat = np.array([k for row in keys for k in row])
    place = np.array([j for row in keys for j in range(len(row))])
    contexts = [(i % 2, tuple(row[: j + 1])) for i, row in enumerate(keys) for j in range(len(row))]
    found = context_groups(over, flat, place, depth)
    assert len(found) <= depth
    for k in range(1, depth + 1):
        for a, (ga, ca) in enumerate(contexts):
            for b, (gb, cb) in enumerate(contexts):
                whole = len(ca) >= k and len(cb) >= k
                same = a == b or (ga == gb and whole and ca[-k:] == cb[-k:] and -1 not in ca[-k:])
                assert (found[k - 1][a] == found[k - 1][b] if k <= len(found) else a == b) == same


def test_the_whole_rollout_as_one_more_depth() -> None:
    off, on = _hgpo(_card(), spread="none"), _hgpo(_card(), spread="none", base_group="trajectory")
    assert "base" in on.parts
    # turn 1 of the second rollout is alone at every depth: what is left is the rollout itself
    assert_allclose(on.unit[4], -10 / 3, atol=1e-12)
    # first turn: depth 1 has weight 2, the rollout 1
    assert_allclose(on.unit[0], (2 * off.unit[0] + 20 / 3) / 3, atol=1e-12)
    sample = _hgpo(_card(), base_group="row")  # mean and std (ddof 1) over nine rows, three of them 10
    rows = np.repeat([10.0, 0, 0], 3)
    assert_allclose(sample.unit[4], -rows.mean() / (rows.std(ddof=1) + 1e-6), atol=1e-12)


def test_base_group_counts_rollouts_or_rows() -> None:
    batch = ap.Batch.from_turns([[1] * 3, [1]], outcome=[1.0, 0.0], group=[0, 0], state=["a", "b", "c", None, "d", None])
    assert_allclose(_hgpo(batch, spread="none", base_group="trajectory").unit, [0.5, 0.5, 0.5, -0.5])
    assert_allclose(_hgpo(batch, spread="none", base_group="row").unit, [0.25, 0.25, 0.25, -0.75])


def test_more_history_than_turns_changes_nothing() -> None:
    batch = _random(3)
    long = _hgpo(batch, history=1000)
    assert_array_equal(long.unit, _hgpo(batch, history=4).unit)
    assert len(long.parts) <= 5


def test_bad_options_are_refused() -> None:
    for wrong, match in (
        ({"history": -1}, "history = -1"),
        ({"gamma": 1.5}, "gamma = 1.5"),
        ({"base_group": "row", "weights": "paper"}, "base_group"),
    ):
        with pytest.raises(OptionError, match=match):
            _hgpo(_card(), **wrong)
