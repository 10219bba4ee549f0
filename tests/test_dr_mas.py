"""Dr. MAS: the card's worked example, agents kept apart, penalties, and when it is GRPO."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn

R = [1.0, 0.0, 1.0]
USED = {"V": [3, 1, 2], "S": [2, 0, 1], "A": [1, 1, 1]}


def _team(rewards: Any = R, used: Any = None, **changes: Any) -> Batch:
    """One prompt; trajectory per rollout and agent, a turn of two tokens per activation (one of them observed)."""
    used = USED if used is None else used
    at = [(k, name) for k in range(len(rewards)) for name in used if used[name][k]]
    turns = [[2] * used[name][k] for k, name in at]
    columns: dict[str, Any] = {
        "outcome": [rewards[k] for k, _ in at], "group": [0] * len(at), "episode": [k for k, _ in at],
        "agent": [name for _, name in at], "action": np.tile([False, True], sum(map(len, turns))), **changes,
    }  # fmt: skip
    return Batch.from_turns(turns, **columns)


def _dr_mas(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "dr_mas", **options)
    assert isinstance(credit, Credit)
    return credit


def _of(credit: Credit, agent: str, rollout: int) -> Any:
    """Credit of the activations of an agent in a rollout."""
    b = credit.batch
    who = np.array([name == agent for name in b.need("agent").to_list()])[b.within("turn", "trajectory")]
    return credit.unit[who & (b.within("turn", "episode") == rollout)]


def test_worked_example_of_the_card() -> None:
    credit = _dr_mas(_team())
    table = {"V": [0.4082, -2.0412, 0.4082], "S": [0.0, np.nan, 0.0], "A": [0.5773, -1.1547, 0.5773]}
    for agent, row in table.items():
        for rollout, expected in enumerate(row):
            got = _of(credit, agent, rollout)
            assert got.size == USED[agent][rollout]
            assert_allclose(got, expected, atol=5e-5)  # of nobody where the agent was not used
    assert_array_equal(credit.token, np.stack([np.zeros(12), credit.unit], axis=1).ravel())
    assert credit.level == "turn"
    assert credit.loss.denominator == "token"


def test_worked_statistics_of_the_whole_team() -> None:
    rollout = _dr_mas(_team(), over="rollout")
    pooled = _dr_mas(_team(), over="activation")
    for k, expected in enumerate([0.5773, -1.1547, 0.5773]):
        for agent in USED:
            assert_allclose(_of(rollout, agent, k), expected, atol=5e-5)
    for k, reward in enumerate(R):
        for agent in USED:
            assert_allclose(_of(pooled, agent, k), (reward - 0.8333) / 0.3892, atol=5e-4)


def test_an_agent_used_only_in_successes_has_no_signal() -> None:
    credit = _dr_mas(_team(), eps=0.0)
    for k in (0, 2):
        assert_array_equal(_of(credit, "S", k), 0.0)
    assert (_of(_dr_mas(_team(), over="rollout"), "S", 0) > 0.5).all()


def test_other_agents_and_prompts_do_not_enter_the_statistics() -> None:
    alone = _dr_mas(_team(used={"V": USED["V"]}))
    assert_array_equal(_of(_dr_mas(_team()), "V", 1), alone.unit[3])
    both = Batch.from_turns([[1]] * 6, outcome=[1.0, 0.0, 1.0, 5.0, 5.0, 9.0], group=[0, 0, 0, 1, 1, 1], agent=["a"] * 6)
    first = Batch.from_turns([[1]] * 3, outcome=[1.0, 0.0, 1.0], group=[0] * 3, agent=["a"] * 3)
    assert_array_equal(_dr_mas(both).unit[:3], _dr_mas(first).unit)


def test_an_activation_keeps_its_own_penalty() -> None:
    penalty = np.zeros(12)
    penalty[0] = -0.1  # the first activation of V
    credit = _dr_mas(_team(turn_reward=penalty))
    x = np.array([0.9, 1, 1, 0, 1, 1])
    expected = (x - x.mean()) / (x.std(ddof=1) + 1e-6)
    assert_allclose(np.concatenate([_of(credit, "V", k) for k in range(3)]), expected)
    assert_array_equal(_of(credit, "A", 0), _of(_dr_mas(_team()), "A", 0))
    shared = _dr_mas(_team(turn_reward=penalty), turn_rewards="shared")
    assert np.ptp(_of(shared, "V", 0)) == 0
    y = np.array([0.9, 0.9, 0.9, 0, 1, 1])
    assert_allclose(_of(shared, "V", 0), (0.9 - y.mean()) / (y.std(ddof=1) + 1e-6))


def test_rewards_of_tokens_belong_to_their_activation() -> None:
    per_token = np.zeros(24)
    per_token[[2, 3]] = -0.04, -0.06  # the second activation, and what stood before it
    penalty = np.zeros(12)
    penalty[1] = -0.1
    by_token, by_turn = _dr_mas(_team(token_reward=per_token)), _dr_mas(_team(turn_reward=penalty))
    assert_allclose(by_token.unit, by_turn.unit)


def test_the_team_s_statistics_take_the_mean_of_a_rollout_s_activations() -> None:
    penalty = np.zeros(12)
    penalty[0] = -0.6
    credit = _dr_mas(_team(turn_reward=penalty), over="rollout", spread="none")
    means = np.array([0.9, 0.0, 1.0])  # six activations in the first rollout
    assert_allclose(_of(credit, "A", 0), 0.9 - means.mean())


def test_an_agent_that_acted_once_gets_nothing_or_its_reward() -> None:
    used = {"V": [1, 1, 1], "S": [1, 0, 0]}
    assert_array_equal(_of(_dr_mas(_team(used=used)), "S", 0), 0.0)
    assert_allclose(_of(_dr_mas(_team(used=used), single="raw"), "S", 0), 1 / (1 + 1e-6))
    with pytest.raises(BatchError, match="single member"):
        _dr_mas(_team(used=used), single="error")
    twice = {"V": [1, 1, 1], "S": [2, 0, 0]}
    assert_array_equal(_of(_dr_mas(_team(used=twice), single="raw"), "S", 0), 0.0)  # two samples of one rollout


def test_where_every_agent_acts_equally_often_it_is_grpo_times_a_constant() -> None:
    """ddof counts activations: n G - 1 for Dr. MAS, trajectories for GRPO; with population spread they are one."""
    rewards = [1.0, 0.0, 0.5, 0.0]
    batch = _team(rewards, {"V": [3] * 4, "S": [2] * 4})
    grpo = assign(batch, "grpo", spread="population")
    assert isinstance(grpo, Credit)
    assert_allclose(_dr_mas(batch, spread="population").token, grpo.token, atol=1e-12)
    sample = assign(batch, "grpo")
    assert isinstance(sample, Credit)
    for agent, times in (("V", 3), ("S", 2)):
        constant = np.sqrt(4 * times / (4 * times - 1)) / np.sqrt(8 / 7)
        ours = _of(_dr_mas(batch, eps=0.0), agent, 0)
        assert_allclose(ours * constant, sample.unit[0], rtol=1e-5)
    uneven = _team(rewards, {"V": [5, 1, 1, 1], "S": [2] * 4})
    got, plain = _dr_mas(uneven).token, assign(uneven, "grpo")
    assert isinstance(plain, Credit)
    assert np.corrcoef(got, plain.token)[0, 1] < 0.99


def test_who_acted_must_be_known() -> None:
    with pytest.raises(MissingColumn, match="'agent' is missing for dr_mas"):
        _dr_mas(_team(agent=None))
    with pytest.raises(BatchError, match=r"agent\[1\] is null: dr_mas"):
        _dr_mas(Batch.from_turns([[1]] * 2, outcome=[1.0, 0.0], group=[0, 0], agent=["a", None]))
