"""HCAPO: the card's worked example, its options, nulls, its source and its learned stand-in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import MissingColumn, OptionError

from .fakes import FakePolicy

_LOGP = np.array([-0.5, -2.5, -0.3, -1.0, -1.0])


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [10.0, 0.0], "group": [0, 0], **changes}
    return Batch.from_turns([[1, 1, 1], [1, 1]], **columns)


def _hcapo(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "hcapo", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    credit = _hcapo(_batch(), hindsight_logp=_LOGP)
    assert_allclose(credit.unit, [1.4654, 1.0310, 1.7440, -1.7666, -1.7666], atol=5e-5)
    assert_allclose(credit.parts["macro"], [0.7071] * 3 + [-0.7071] * 2, atol=5e-5)
    assert_allclose(credit.parts["micro"], [0.7583, 0.3239, 1.0369, -1.0595, -1.0595], atol=5e-5)
    population = _hcapo(_batch(), hindsight_logp=_LOGP, spread="population")
    assert_allclose(population.unit, [1.8478, 1.3621, 2.1592, -2.1846, -2.1846], atol=5e-5)


def test_worked_smoothing_of_the_card() -> None:
    credit = _hcapo(_batch(), hindsight_logp=_LOGP, smooth=0.5)
    assert_allclose(credit.unit, [1.2158, 1.3538, 1.7072, -1.7848, -1.7848], atol=5e-5)


def test_worked_clip_of_the_card_shows_in_the_ratio_of_values() -> None:
    batch = Batch.from_turns([[1, 1, 1]], outcome=[1.0], group=[0])
    credit = _hcapo(batch, hindsight_logp=np.array([-0.2, -0.2, -3.5]), single="zero", gamma=1.0, spread="none", do_no_harm=False)
    rho = np.array([1.1920, 1.1920, 0.8])
    assert_allclose(credit.unit, rho - rho.mean(), atol=5e-5)


def test_the_score_of_a_turn_is_the_mean_over_its_policy_tokens() -> None:
    action = [False, True, True, True, False, True, True, True]
    long = Batch.from_turns([[3, 1, 2], [1, 1]], action=action, outcome=[10.0, 0.0], group=[0, 0])
    for observed in (np.nan, -9.0, 0.7):  # what stands at observation tokens is never read
        logp = np.array([observed, -0.9, -0.1, -2.5, observed, -0.3, -1.0, -1.0])
        assert_allclose(_hcapo(long, hindsight_logp=logp).unit, _hcapo(_batch(), hindsight_logp=_LOGP).unit)
    half_asked = np.array([0.0, -0.9, np.nan, -2.5, 0.0, -0.3, -1.0, -1.0])
    holed = _hcapo(_batch(), hindsight_logp=[np.nan, *_LOGP[1:]])
    assert_allclose(_hcapo(long, hindsight_logp=half_asked).unit, holed.unit)


def test_without_the_turn_term_it_is_grpo() -> None:
    got, grpo = _hcapo(_batch(), hindsight_logp=_LOGP, omega=0.0), assign(_batch(), "grpo")
    assert isinstance(grpo, Credit)
    assert_array_equal(got.token, grpo.token)


def test_do_no_harm_lifts_negative_turns_of_solved_trajectories_only() -> None:
    batch = Batch.from_turns([[1, 1], [1]], outcome=[10.0, 10.0], group=[0, 0], success=[True, False])
    logp = np.array([-0.1, -4.0, -1.0])
    free, safe = (_hcapo(batch, hindsight_logp=logp, do_no_harm=d).parts["micro"] for d in (False, True))
    solved = np.array([True, True, False])
    assert (free[solved] < 0).any()
    assert_array_equal(safe, np.where(solved, np.maximum(free, 0), free))
    assert_array_equal(_hcapo(batch, hindsight_logp=logp).parts["micro"], safe)  # by default


def test_scope_timestep_compares_turns_at_the_same_position() -> None:
    batch = Batch.from_turns([[1, 1], [1]], outcome=[2.0, 1.0], group=[0, 0])
    credit = _hcapo(batch, hindsight_logp=-np.ones(3), micro_scope="timestep", gamma=1.0, do_no_harm=False)
    half = np.sqrt(0.5)
    assert_allclose(credit.parts["micro"], [half, 0.0, -half], atol=5e-5)  # nobody else reached turn 1


def test_hindsight_never_tells_the_turns_of_a_failure_apart() -> None:
    rng = np.random.default_rng(0)
    batch = Batch.from_turns([[2] * 4, [1] * 3, [3] * 2], outcome=[1.0, 0.0, 0.0], group=[0] * 3)
    for scores in rng.exponential(3.0, size=(5, 17)):
        # smoothing, clips and the scope of the statistics change nothing of it
        for options in ({}, {"smooth": 0.5}, {"low": 0.0, "high": 9.0}, {"do_no_harm": False}):
            credit = _hcapo(batch, hindsight_logp=-scores, **options)
            assert np.ptp(credit.unit[:4]) > 0
            assert np.ptp(credit.unit[4:7]) == 0.0
            assert np.ptp(credit.unit[7:]) == 0.0
            assert (credit.parts["micro"][4:] < 0).all()


def test_no_reward_at_all_gives_no_credit_at_all() -> None:
    assert_array_equal(_hcapo(_batch(outcome=[0.0, 0.0]), hindsight_logp=_LOGP).unit, 0.0)


def test_a_turn_that_was_not_asked_keeps_the_first_term_and_enters_no_statistic() -> None:
    extra = Batch.from_turns([[1, 1, 1], [1, 1, 1]], outcome=[10.0, 0.0], group=[0, 0])
    credit = _hcapo(extra, hindsight_logp=np.append(_LOGP, np.nan))
    assert_allclose(credit.unit[:5], _hcapo(_batch(), hindsight_logp=_LOGP).unit)
    assert_allclose(credit.parts["micro"][5], 0.0)
    assert_allclose(credit.diagnostics["asked"], 5 / 6)
    silent = _hcapo(_batch(), hindsight_logp=np.full(5, np.nan))
    assert_array_equal(silent.parts["micro"], 0.0)


def test_smoothing_takes_a_turn_that_was_not_asked_for_an_average_one() -> None:
    batch = Batch.from_turns([[1, 1, 1]], outcome=[2.0], group=[0])
    logp = np.array([-0.5, np.nan, -1.5])
    options: dict[str, Any] = {"single": "zero", "spread": "none", "gamma": 0.5, "do_no_harm": False, "temperature": 1.0}
    h = np.exp([-0.5, -1.5])
    rho = np.clip(h / h.mean(), 0.8, 1.2)
    q = [0.25 * (rho[0] * 0.5) + 0.75 * 1.0, 2 * rho[1]]  # Q of the middle turn: 1 x 0.5 x 2
    got = _hcapo(batch, hindsight_logp=logp, smooth=0.25, **options).unit
    assert_allclose(got, [q[0] - np.mean(q), 0.0, q[1] - np.mean(q)])


def test_prompts_share_no_statistics() -> None:
    rng = np.random.default_rng(1)
    batch = Batch.from_turns([[1] * 3] * 5, outcome=rng.normal(size=5), group=[0, 1, 0, 1, 1])
    logp = -rng.exponential(size=15)
    whole = {s: _hcapo(batch, hindsight_logp=logp, micro_scope=s).unit.reshape(5, 3) for s in ("group", "timestep")}
    for rows in ([0, 2], [1, 3, 4]):
        for scope, credit in whole.items():
            part = _hcapo(batch.take(rows), hindsight_logp=logp.reshape(5, 3)[rows].ravel(), micro_scope=scope)
            assert_allclose(part.unit.reshape(-1, 3), credit[rows], atol=1e-12)


@pytest.mark.parametrize(
    ("option", "message"),
    [({"temperature": 0.0}, "temperature = 0"), ({"low": 1.3}, "low = 1.3, high = 1.2"), ({"smooth": 1.5}, "smooth = 1.5")],
)
def test_options_out_of_range_are_refused(option: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        _hcapo(_batch(), hindsight_logp=_LOGP, **option)


def test_very_unlikely_actions_do_not_underflow() -> None:
    far = _hcapo(_batch(), hindsight_logp=_LOGP - 1e5)
    assert_allclose(far.unit, _hcapo(_batch(), hindsight_logp=_LOGP).unit, atol=1e-6)


def test_positive_log_probabilities_are_refused_by_index() -> None:
    with pytest.raises(OptionError, match=r"'hindsight_logp'\[2\] = 0.3"):
        _hcapo(_batch(), hindsight_logp=[-1, -1, 0.3, -1, -1])


def test_the_policy_is_shown_the_outcome_in_the_chosen_words() -> None:
    policy = FakePolicy()
    credit = _hcapo(_batch(), policy=policy, template="It ended: {outcome}!")
    assert policy.seen == [["It ended: success (reward 10)!", "It ended: failure (reward 0)!"]]
    assert credit.bill.scored == 5
    _hcapo(_batch(), policy=policy, outcomes=["door open", "door shut"])
    assert policy.seen[1] == [f"(Hindsight) The task ended with: door {w}." for w in ("open", "shut")]
    with pytest.raises(OptionError, match="expected a text that holds"):
        _hcapo(_batch(), policy=policy, template="no slot")
    with pytest.raises(OptionError, match="outcomes has 1 entries, expected 2"):
        _hcapo(_batch(), policy=policy, outcomes=["one"])


def test_learned_hindsight_follows_bayes_rule_on_a_known_world() -> None:
    rng = np.random.default_rng(0)
    n = 4000
    right = rng.random(n) < 0.5
    reward = (rng.random(n) < np.where(right, 0.8, 0.4)).astype(float)
    ids = np.stack([np.full(n, 7), np.where(right, 1, 2)], axis=1).ravel()
    batch = Batch.from_turns(
        [[2]] * n, action=[False, True] * n, ids=ids, logp=np.tile([0.0, np.log(0.5)], n), outcome=reward, group=[0] * n
    )
    from apportion.methods import hcapo

    logp = hcapo.fit(batch, rng=rng).evidence(batch).arrays["hindsight_logp"][1::2]
    for a, p in ((True, 0.8), (False, 0.4)):
        assert_allclose(np.exp(logp[(right == a) & (reward == 1)]).mean(), 0.5 * p / 0.6, atol=0.03)
        assert_allclose(np.exp(logp[(right == a) & (reward == 0)]).mean(), 0.5 * (1 - p) / 0.4, atol=0.03)


def test_learning_hindsight_needs_log_probabilities_and_texts() -> None:
    with pytest.raises(MissingColumn, match="logp"):
        _hcapo(_batch(ids=[1, 2, 3, 4, 5]), fit=True)
    with pytest.raises(MissingColumn, match="ids"):
        _hcapo(_batch(logp=[-1.0] * 5), fit=True)
