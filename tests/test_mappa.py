"""MAPPA: the card's worked example, agents kept apart, the KL inside an action, scores that are missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.methods.mappa import RUBRIC, WITH_ANSWER

from .fakes import FakeJudge

SCORES = [8.0, 4.0, 6.0, 2.0, 10.0, 5.0, 9.0]
TOKENS = [[3, 2], [1, 2, 2], [1, 4]]


def _team(**changes: Any) -> Batch:
    return Batch.from_turns(TOKENS, **{"agent": ["A", "B", "C"], "episode": [0, 0, 0], **changes})


def _mappa(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "mappa", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    credit = _mappa(_team(), coach=SCORES)
    expected = np.array([0.8165, -1.2247, 0.0, -1.1180, 1.1180, -2.0, 0.5])
    assert_allclose(credit.unit, expected, atol=5e-5)
    assert_allclose(credit.token, np.repeat(expected, [n for row in TOKENS for n in row]), atol=5e-5)
    assert credit.level == "turn"
    assert credit.keep is None
    assert credit.loss.denominator == "token"
    assert credit.diagnostics["unparsed"] == 0.0


def test_statistics_are_those_of_each_agent() -> None:
    worth = {"A": 0.8165, "B": 0.5590, "C": -0.1250}
    of = {"A": ([0.8, 0.4], [3, 2]), "B": ([0.6, 0.2, 1.0], [1, 2, 2]), "C": ([0.5, 0.9], [1, 4])}
    for agent, expected in worth.items():
        x = np.repeat(*of[agent])
        assert_allclose((0.8 - x.mean()) / x.std(), expected, atol=5e-5)
    pooled = _mappa(_team(), coach=SCORES, statistics="team").unit
    x = np.repeat(np.array(SCORES) / 10, [n for row in TOKENS for n in row])
    assert_allclose(pooled, (np.array(SCORES) / 10 - x.mean()) / x.std())
    assert_array_equal(_mappa(_team(agent=["A"] * 3), coach=SCORES).unit, pooled)


def test_only_the_policy_s_tokens_count() -> None:
    action = np.ones(15, dtype=bool)
    action[:2] = False  # A's first action has one policy token left
    x = np.repeat([0.8, 0.4], [1, 2])
    credit = _mappa(_team(action=action), coach=SCORES)
    assert_allclose(credit.unit[:2], (np.array([0.8, 0.4]) - x.mean()) / x.std())
    assert_array_equal(credit.token[:2], 0.0)


def _kl() -> dict[str, Any]:
    ref = np.full(15, -2.0)
    difference = np.zeros(15)
    difference[:3] = 0.1, 0.2, -0.1
    return {"logp": ref + difference, "ref_logp": ref}


def test_worked_returns_with_a_penalty_of_the_card() -> None:
    credit = _mappa(_team(**_kl()), coach=SCORES, beta=0.01)
    g = np.array([0.798, 0.799, 0.801, 0.4, 0.4])
    assert_allclose(credit.token[:5], (g - g.mean()) / g.std(), rtol=1e-9)
    assert_allclose(credit.token[5:], np.repeat([0.0, -1.1180, 1.1180, -2.0, 0.5], [1, 2, 2, 1, 4]), atol=5e-5)
    assert credit.level == "turn"
    assert_allclose(credit.unit[:2], [credit.token[:3].mean(), credit.token[3:5].mean()])


def test_a_penalty_does_not_reach_the_action_before_it() -> None:
    ref = np.full(15, -2.0)
    later = {"logp": ref + np.where(np.arange(15) == 4, 1.0, 0.0), "ref_logp": ref}  # the last token of A's second action
    g = np.array([0.8, 0.8, 0.8, 0.39, 0.39])
    assert_allclose(_mappa(_team(**later), coach=SCORES, beta=0.01).token[:5], (g - g.mean()) / g.std(), rtol=1e-9)


def test_a_penalty_in_the_rewards_of_tokens_is_the_same() -> None:
    kl = _kl()
    reward = -0.01 * (kl["logp"] - kl["ref_logp"])
    assert_allclose(
        _mappa(_team(token_reward=reward), coach=SCORES).token, _mappa(_team(**kl), coach=SCORES, beta=0.01).token, atol=1e-12
    )
    both = _mappa(_team(token_reward=reward, **kl), coach=SCORES, beta=0.01)
    assert_allclose(both.token, _mappa(_team(**kl), coach=SCORES, beta=0.02).token, atol=1e-12)


def test_a_penalty_skips_what_the_policy_did_not_write() -> None:
    action = np.ones(15, dtype=bool)
    action[1] = False
    credit = _mappa(_team(action=action, **_kl()), coach=SCORES, beta=0.01)
    g = np.array([0.8, 0.801, 0.4, 0.4])
    assert_allclose(credit.token[[0, 2, 3, 4]], (g - g.mean()) / g.std(), rtol=1e-9)
    assert credit.token[1] == 0.0


def test_one_action_is_zero_but_for_its_penalty() -> None:
    batch = Batch.from_turns([[3]], agent=["A"])
    assert_array_equal(_mappa(batch, coach=[7.0]).token, 0.0)
    penal = batch.with_columns(logp=np.array([-1.0, -1.0, -1.0]), ref_logp=np.array([-1.5, -1.0, -2.0]))
    token = _mappa(penal, coach=[7.0], beta=0.01).token
    g = np.array([-0.015, -0.01, -0.01])
    assert_allclose(token, (g - g.mean()) / g.std(), rtol=1e-6)


def test_equal_scores_are_exactly_zero_and_tiny_spreads_are_clamped() -> None:
    assert_array_equal(_mappa(_team(), coach=np.full(7, 0.3)).token, 0.0)
    batch = Batch.from_turns([[1], [1]], agent=["A", "A"])
    near = _mappa(batch, coach=[5.0, 5.0 + 1e-5]).unit  # rewards 1e-6 apart, below sqrt(1e-8)
    assert_allclose(near, [-0.5e-6 / 1e-4, 0.5e-6 / 1e-4], rtol=1e-6)


def test_a_score_that_is_missing_is_neutral_or_left_out() -> None:
    holed = np.array(SCORES)
    holed[1] = np.nan
    neutral = _mappa(_team(), coach=holed)
    assert_array_equal(neutral.unit, _mappa(_team(), coach=np.where(np.isnan(holed), 5.0, holed)).unit)
    assert_allclose(neutral.diagnostics["unparsed"], 1 / 7)
    assert neutral.keep is None
    out = _mappa(_team(), coach=holed, unparsed="leave_out")
    assert_array_equal(out.unit[:2], 0.0)  # the other action of A is alone
    assert_allclose(out.unit[2:], neutral.unit[2:])
    assert out.keep is not None
    assert out.scored is not None
    assert_array_equal(np.flatnonzero(~out.scored), [1])
    assert_array_equal(np.flatnonzero(~out.keep), [3, 4])
    holed = np.array(SCORES)
    holed[2] = np.nan
    x = np.repeat([0.2, 1.0], [2, 2])
    assert_allclose(_mappa(_team(), coach=holed, unparsed="leave_out").unit[3:5], (np.array([0.2, 1.0]) - x.mean()) / x.std())
    by_token = _mappa(_team(**_kl()), coach=holed, unparsed="leave_out", beta=0.01)
    assert by_token.keep is not None
    assert_array_equal(np.flatnonzero(~by_token.keep), [5])
    assert by_token.token[5] == 0.0
    assert_allclose(by_token.token[6:10], np.repeat([-1.0, 1.0], 2), rtol=1e-9)


def test_a_mute_coach_teaches_nothing_and_says_so() -> None:
    credit = _mappa(_team(), coach=np.full(7, np.nan))
    assert_array_equal(credit.token, 0.0)
    assert credit.diagnostics["unparsed"] == 1.0


def test_outcomes_are_mixed_in_only_on_demand() -> None:
    outcome = [1.0, 0.0, 1.0]
    assert_array_equal(_mappa(_team(outcome=outcome), coach=SCORES).unit, _mappa(_team(), coach=SCORES).unit)
    with pytest.raises(MissingColumn, match=r"'outcome' is missing for mappa with outcome_weight=0\.5"):
        _mappa(_team(), coach=SCORES, outcome_weight=0.5)
    two = {"agent": ["A", "A", "A"], "outcome": outcome}
    mixed = _mappa(_team(**two), coach=SCORES, process_weight=0.5, outcome_weight=0.5)
    r = 0.05 * np.array(SCORES) + 0.5 * np.repeat(outcome, [2, 3, 2])
    x = np.repeat(r, [n for row in TOKENS for n in row])
    assert_allclose(mixed.unit, (r - x.mean()) / x.std())


def test_of_one_agent_with_one_action_each_on_outcomes_it_is_reinforce_pp() -> None:
    """Where the coach has no weight, one agent acts and every trajectory is one action."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 6, 12)
    batch = Batch.from_turns([[int(n)] for n in lengths], outcome=rng.random(12), agent=["A"] * 12)
    plain = assign(batch, "reinforce_pp", semantics="openrlhf")
    assert isinstance(plain, Credit)
    assert_allclose(_mappa(batch, coach=np.full(12, 3.0), process_weight=0.0, outcome_weight=1.0).token, plain.token)


def test_scores_off_the_scale_and_unknown_agents_are_refused() -> None:
    for bad in (-0.5, 10.5):
        with pytest.raises(OptionError, match=rf"'coach'\[1\] = {bad:g}: expected a score from 0 to 10"):
            _mappa(_team(), coach=np.where(np.arange(7) == 1, bad, SCORES))
    with pytest.raises(OptionError, match=r"shape \(7, 2\), expected \(7,\)"):
        _mappa(_team(), coach=np.ones((7, 2)))
    with pytest.raises(BatchError, match=r"agent\[2\] is null: mappa"):
        _mappa(_team(agent=["A", "B", None]), coach=SCORES)
    with pytest.raises(OptionError, match="beta = -1"):
        _mappa(_team(), coach=SCORES, beta=-1.0)
    with pytest.raises(MissingColumn, match="'logp' is missing for mappa with beta > 0"):
        _mappa(_team(), coach=SCORES, beta=0.01)


def test_the_coach_is_asked_once_per_action() -> None:
    credit = _mappa(_team(), judge=FakeJudge(mute=(3,)), rng=0)
    assert credit.bill.judge_calls == 7
    assert_allclose(credit.diagnostics["unparsed"], 1 / 7)
    assert credit.evidence["coach"]["provenance"] == "model_judgement"
    told = _mappa(_team(), judge=FakeJudge(), rng=0, rubric=WITH_ANSWER)
    assert told.evidence["coach"]["provenance"] == "privileged"
    assert not RUBRIC.one_call
    assert RUBRIC.levels == tuple(range(11))
    assert "{reference}" not in RUBRIC.template
