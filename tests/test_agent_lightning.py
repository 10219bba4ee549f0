"""Agent Lightning: the card's worked examples, what is counted once, and where it is GRPO."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.bench.gradient import token_weights
from apportion.credit import Credit
from apportion.errors import BatchError, OptionError

_CALLS: list[list[int]] = [[10], [5, 20, 15]]
_CARD = Batch.from_turns(_CALLS, outcome=[1.0, 0.0], group=["x", "x"])


def _run(batch: Batch, id_: str = "agent_lightning", **options: Any) -> Credit:
    credit = assign(batch, id_, **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_transition_statistics_of_the_card() -> None:
    credit = _run(_CARD)
    assert_allclose(credit.unit, [1.5, -0.5, -0.5, -0.5], atol=5e-5)
    weight = np.bincount(_CARD.within("token", "turn"), weights=token_weights(credit))
    assert_allclose(weight, [0.3, -0.05, -0.2, -0.15], atol=5e-5)


def test_worked_rollout_statistics_of_the_card() -> None:
    credit = _run(_CARD, statistics="rollout", average="rollout")
    assert_allclose(credit.unit, [0.7071, -0.7071, -0.7071, -0.7071], atol=5e-5)
    # the code divides by the 4 rows, a trainer here by the 2 trajectories
    per_token = token_weights(credit)[_CARD.turn_offsets[:-1]] * 2 / 4
    assert_allclose(per_token, [0.017678, -0.004419, -0.004419, -0.004419], atol=5e-7)
    rollout = np.bincount(_CARD.within("token", "trajectory"), weights=token_weights(credit)) * 2 / 4
    assert_allclose(rollout, [0.1768, -0.1768], atol=5e-5)


def test_worked_batch_mean_of_the_card() -> None:
    assert_allclose(_run(_CARD, estimator="reinforce_pp").unit, [0.75, -0.25, -0.25, -0.25])
    other = Batch.from_turns([*_CALLS, [1]], outcome=[1.0, 0.0, 3.0], group=["x", "x", "y"])
    assert_allclose(_run(other, estimator="reinforce_pp").unit, np.array([1, 0, 0, 0, 3.0]) - 0.8)
    assert_allclose(_run(other, estimator="reinforce_pp", statistics="rollout").unit, np.array([1, 0, 0, 0, 3.0]) - 4 / 3)


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_with_equally_many_calls_it_is_grpo_rescaled(calls: int) -> None:
    rng = np.random.default_rng(calls)
    n = 4
    batch = Batch.from_turns([[2] * calls] * (2 * n), outcome=rng.normal(size=2 * n), group=np.repeat(["a", "b"], n).tolist())
    ours, grpo = _run(batch, eps=0.0), _run(batch, "grpo", eps=0.0)
    assert_allclose(ours.token, grpo.token * np.sqrt((n * calls - 1) / (n * calls - calls)))
    assert_array_equal(_run(batch, statistics="rollout").token, _run(batch, "grpo").token)


def test_it_is_grpo_that_counts_rows_where_calls_are_rows() -> None:
    rows = Batch.from_turns([[2, 1, 3], [1], [4, 1]], rows="turn", outcome=[1.0, 0.0, 0.5], group=["a"] * 3)
    assert_allclose(_run(rows).token, _run(rows, "grpo", count="row").token)
    assert np.abs(_run(rows).token - _run(rows, "grpo").token).max() > 0.1
    one = Batch.from_turns([[2, 1, 3], [1], [4, 1]], outcome=[1.0, 0.0, 0.5], group=["a"] * 3)
    assert_array_equal(_run(rows).token, _run(one).token)  # the layout of rows is no matter here


def test_long_rollouts_weigh_more_in_transition_statistics_only() -> None:
    short, long = ([[1], [1] * k, [1]] for k in (1, 9))
    unit = []
    for lengths in (short, long):
        batch = Batch.from_turns(lengths, outcome=[1.0, 0.0, 1.0], group=["a"] * 3)
        unit.append([_run(batch, statistics=s).unit[0] for s in ("transition", "rollout")])
    assert unit[1][0] > unit[0][0] + 0.5
    assert_allclose(unit[1][1], unit[0][1])


def test_a_rollout_of_several_agents_counts_once() -> None:
    team = Batch.from_turns(
        [[1, 1], [1], [1], [1, 1, 1]], outcome=[1.0, 1.0, 0.0, 0.0], group=["x"] * 4, episode=[0, 0, 1, 1], agent=list("abab")
    )
    assert_allclose(_run(team, statistics="rollout").unit, np.repeat([0.7071, -0.7071], [3, 4]), atol=5e-5)
    weights = token_weights(_run(team, statistics="rollout", average="rollout"))
    assert_allclose(weights[:3].sum(), -weights[3:].sum())
    apart = team.with_columns(outcome=[1.0, 0.5, 0.0, 0.0])
    with pytest.raises(OptionError, match=r"trajectory 1 earned 0.5 .* first one 1: .*one reward per rollout"):
        _run(apart, statistics="rollout")
    _run(apart)


def test_the_reward_is_all_that_was_earned_or_the_last_of_it() -> None:
    batch = Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], turn_reward=[0.5, 0.25, 0.0], group=["x", "x"])
    for reward, c in (("total", [1.75, 1.75, 0.0]), ("last", [1.25, 1.25, 0.0])):
        credit = _run(batch, estimator="reinforce_pp", reward=reward)
        assert_allclose(credit.unit, np.array(c) - np.mean(c))


def test_a_prompt_of_one_call_has_a_choice_and_one_of_two_equal_calls_gets_nothing() -> None:
    batch = Batch.from_turns([[1], [1, 1]], outcome=[0.7, 0.3], group=["x", "y"])
    with pytest.raises(BatchError, match=r"prompt \(in calls\) 0 has a single member"):
        _run(batch)
    assert_allclose(_run(batch, single="raw").unit, [0.7 / (1 + 1e-6), 0.0, 0.0])
    assert_array_equal(_run(batch, single="zero").unit, 0.0)
    with pytest.raises(BatchError, match=r"in rollouts"):
        _run(batch, statistics="rollout")
