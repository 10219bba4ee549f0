"""VinePPO: the card's example, back-filling, whitening, and which states are asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import apportion as ap
from apportion.credit import Credit
from apportion.errors import MissingColumn, OptionError
from apportion.methods.vineppo import collect
from tests.fakes import FakeSampler

NAN = float("nan")
V_A, V_B = [1 / 3, 2 / 3, 1, 0], [1 / 3, 2 / 3, 1 / 3, NAN, 0]
STEPS = {"steps": [[2, 3, 1], [1, 2, 2, 1]], "outcome": [1, 0], "group": [0, 0]}


def _card(**more: Any) -> ap.Batch:
    """Two responses of one turn each, whose steps are the card's."""
    return ap.Batch.from_turns([[6], [6]], **{**STEPS, **more})


def _vineppo(batch: ap.Batch, **given: Any) -> Credit:
    credit = ap.assign(batch, "vineppo", **given)
    assert isinstance(credit, Credit)
    return credit


ADVANTAGES = [1 / 3, 1 / 3, 0, 1 / 3, -1 / 3, -1 / 3, 0]


def test_worked_example() -> None:
    credit = _vineppo(_card(), prefix_value=V_A + V_B)
    np.testing.assert_allclose(credit.unit, ADVANTAGES, atol=1e-12)
    tokens = [1 / 3] * 5 + [0] + [1 / 3] + [-1 / 3] * 4 + [0]
    np.testing.assert_allclose(credit.token, tokens, atol=1e-12)


def test_worked_example_whitened() -> None:
    token = _vineppo(_card(), prefix_value=V_A + V_B, whiten=True).token
    np.testing.assert_allclose(token, [0.8889] * 5 + [-0.1778, 0.8889] + [-1.2445] * 4 + [-0.1778], atol=6e-5)


def test_worked_example_through_a_sampler() -> None:
    answers: dict[int, list[float]] = {0: [1, 0, 0], 1: [1, 1, 0], 2: [1, 1, 1], 5: [1, 0, 1], 6: [0, 0, 1]}
    sampler = FakeSampler(answer=answers.__getitem__)
    credit = _vineppo(_card(), sampler=sampler, k=3, cap=2)
    np.testing.assert_allclose(credit.unit, ADVANTAGES, atol=1e-12)
    assert sampler.asked == [("step_prefix", [0, 1, 2, 5, 6])]  # the common start once, nothing beyond the cap, no end
    assert credit.diagnostics["asked"] == 5
    assert credit.diagnostics["shared"] == 1
    assert credit.diagnostics["stderr"] == pytest.approx((4 / 3 + 0) / 5)
    assert credit.bill.generated == 150


def test_cap_reads_no_value_beyond_it() -> None:
    values = np.array([1 / 3, 2 / 3, 1, 0, 1 / 3, 2 / 3, 1 / 3, 0.9, 0.5])
    np.testing.assert_allclose(_vineppo(_card(), prefix_value=values, cap=2).unit, ADVANTAGES, atol=1e-12)
    np.testing.assert_allclose(_vineppo(_card(), prefix_value=values, cap=0).unit, [2 / 3, 0, 0, -1 / 3, 0, 0, 0])


def test_nothing_asked_but_the_start_is_the_reward_minus_its_value() -> None:
    batch = ap.Batch.from_turns([[1], [1]], outcome=[1, 0], group=[0, 0])
    np.testing.assert_allclose(_vineppo(batch, prefix_value=[0.25, NAN, 0.25, NAN]).unit, [0.75, -0.25])


def test_an_unknown_stretch_is_carried_by_the_step_into_it() -> None:
    batch = ap.Batch.from_turns([[1] * 5], turn_reward=[1, 2, 3, 4, 5])
    credit = _vineppo(batch, prefix_value=[10, NAN, NAN, 8, NAN, 0])
    np.testing.assert_allclose(credit.unit, [1 + 2 + 3 + 8 - 10, 0, 0, 4 + 5 - 8, 0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 1000), st.floats(0, 1))
def test_credit_sums_to_reward_minus_the_first_known_value(turns: list[int], seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    batch = ap.Batch.from_turns(
        [[1] * n for n in turns], turn_reward=rng.normal(size=sum(turns)), outcome=rng.normal(size=len(turns))
    )
    value = rng.normal(size=batch.n_prefixes)
    value[rng.random(value.size) < share] = NAN
    credit = _vineppo(batch, prefix_value=value)
    for i, (a, b) in enumerate(zip(batch.trajectory_turns[:-1], batch.trajectory_turns[1:], strict=True)):
        mine = value[batch.prefix_offsets[i] : batch.prefix_offsets[i + 1] - 1]
        known = np.flatnonzero(~np.isnan(mine))
        if known.size:
            missed = batch.rewards("turn")[a : a + known[0]].sum()
            assert credit.unit[a:b].sum() == pytest.approx(batch.reward[i] - missed - mine[known[0]], abs=1e-9)
        assert not credit.unit[a:b][np.isnan(mine)].any()


def test_turns_instead_of_steps() -> None:
    batch = ap.Batch.from_turns([[3, 2], [4]], steps=[[1, 2, 2], [3, 1]], outcome=[1, 0], group=[0, 0])
    values = [0.5, 0.1, 0.75, 0, 0.5, 0.9, 0]
    credit = _vineppo(batch, prefix_value=values, unit="turn")
    assert credit.level == "turn"
    np.testing.assert_allclose(credit.unit, [0.25, 0.25, -0.5])
    sampler = FakeSampler()
    evidence = collect(batch, sampler, k=2, unit="turn", rng=np.random.default_rng(0))
    assert sampler.asked == [("prefix", [0, 1])]  # on the prefix axis; the other start is the same
    assert np.flatnonzero(~np.isnan(evidence.arrays["prefix_value"])).tolist() == [0, 2, 4]


def test_equal_texts_of_a_group_are_asked_once() -> None:
    ids = [[1, 2, 3], [1, 2, 4], [1, 5, 3], [1, 2, 3]]
    batch = ap.Batch.from_turns([[1, 1, 1]] * 4, ids=ids, outcome=[0] * 4, group=[0, 0, 0, 1])
    sampler = FakeSampler()
    evidence = collect(batch, sampler, k=4, rng=np.random.default_rng(1))
    value = evidence.arrays["prefix_value"].reshape(4, 4)
    assert sampler.asked == [("prefix", [0, 1, 2, 10, 12, 13, 14])]
    assert value[0, :3].tolist() == value[1, :3].tolist()
    assert value[2, :2].tolist() == value[0, :2].tolist()
    assert np.isnan(value[:, 3]).all()
    assert evidence.diagnostics["shared"] == 5


def test_equal_state_keys_and_nodes_are_not_taken_for_equal_texts() -> None:
    batch = ap.Batch.from_turns(
        [[1, 1], [1, 1]], state=["s", "t", "u"] * 2, node=[0, 1, 0, 2], parent=[-1, 0, -1, 0], outcome=[0, 0], group=[0, 0]
    )
    sampler = FakeSampler()
    collect(batch, sampler, k=1, rng=np.random.default_rng(0))
    assert sampler.asked == [("prefix", [0, 1, 4])]


def test_states_that_look_different_are_not_shared() -> None:
    columns: dict[str, Any] = {"outcome": [0, 0], "group": [0, 0], "action": [False, True] * 4}
    sampler = FakeSampler()
    # the same action led to another observation
    batch = ap.Batch.from_turns([[2, 2], [2, 2]], ids=[1, 2, 3, 4, 1, 2, 5, 4], **columns)
    collect(batch, sampler, k=1, rng=np.random.default_rng(0))
    # without token ids the starts are common, unless their keys say otherwise
    bare = ap.Batch.from_turns([[2, 2], [2, 2]], **columns)
    collect(bare, sampler, k=1, rng=np.random.default_rng(0))
    keyed = bare.with_columns(state=["a", "b", None, "c", "b", None])
    collect(keyed, sampler, k=1, rng=np.random.default_rng(0))
    # another first action; and, without ids, starts of different lengths
    collect(
        ap.Batch.from_turns([[1, 1]] * 2, ids=[1, 2, 3, 2], outcome=[0, 0], group=[0, 0]), sampler, rng=np.random.default_rng(0)
    )
    longer = ap.Batch.from_turns([[2], [3]], action=[False, True, False, False, True], outcome=[0, 0], group=[0, 0])
    collect(longer, sampler, rng=np.random.default_rng(0))
    assert [asked for _, asked in sampler.asked] == [[0, 1, 4], [0, 1, 4], [0, 1, 3, 4], [0, 1, 4], [0, 2]]


def test_a_state_that_came_back_with_nothing_counts_zero() -> None:
    batch = ap.Batch.from_turns([[1, 1]], outcome=[1])
    sampler = FakeSampler(answer=lambda p: [NAN, NAN] if p else [1, NAN])
    evidence = collect(batch, sampler, k=2, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(evidence.arrays["prefix_value"], [1, 0, NAN])
    partly = collect(batch, FakeSampler(answer=lambda p: [1, NAN, 0]), k=3, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(partly.arrays["prefix_value"], [0.5, 0.5, NAN])
    assert partly.diagnostics["stderr"] == 0.5  # of the two that came back
    assert partly.provenance == "exact_restore"


def test_the_loss_sums_over_trajectories_unless_asked_otherwise() -> None:
    assert _vineppo(_card(), prefix_value=V_A + V_B).loss.denominator == "trajectory"
    assert _vineppo(_card(), prefix_value=V_A + V_B, denominator="token").loss.denominator == "token"


def test_observation_tokens_get_nothing_and_do_not_weigh_in_whitening() -> None:
    action = [False, True, True, False, True, True]
    batch = ap.Batch.from_turns([[3], [3]], action=action, outcome=[1, 0])
    token = _vineppo(batch, prefix_value=[0.5, 0, 0.5, 0], whiten=True).token
    assert token[[0, 3]].tolist() == [0, 0]
    np.testing.assert_allclose(token[[1, 2, 4, 5]], np.array([1, 1, -1, -1]) * np.sqrt(3 / 4), atol=1e-6)


def test_bad_options_say_what_is_expected() -> None:
    batch = _card()
    with pytest.raises(MissingColumn, match="sampler="):
        _vineppo(batch)
    with pytest.raises(OptionError, match="one per step_prefix"):
        _vineppo(batch, prefix_value=[0.0] * 4)
    with pytest.raises(OptionError, match="k = 0"):
        _vineppo(batch, sampler=FakeSampler(), k=0)
    with pytest.raises(OptionError, match="cap = -1"):
        _vineppo(batch, prefix_value=V_A + V_B, cap=-1)
    with pytest.raises(OptionError, match="expected \\(5, 9\\)"):
        collect(batch, FakeSampler(answer=lambda p: [1.0]), cap=2, rng=np.random.default_rng(0))


def test_states_that_look_alike_are_asked_apart_where_that_is_wanted() -> None:
    """share=False: one question a state; the answers of the common start then differ between trajectories."""
    batch = ap.example("agent")
    found = {
        share: collect(batch, FakeSampler(), k=1, unit="turn", share=share, rng=np.random.default_rng(0))
        for share in (True, False)
    }
    states = batch.n_turns
    assert found[False].diagnostics["asked"] == states
    assert found[False].diagnostics["shared"] == 0
    assert found[True].diagnostics["asked"] + found[True].diagnostics["shared"] == states
    assert found[True].diagnostics["shared"] > 0
