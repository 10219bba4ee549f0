"""Simulated judges and policies: what they answer, and how they err."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from apportion.bench.layouts import choices, situation, to_batch
from apportion.bench.oracle import oracle, truth
from apportion.bench.sources import SimulatedJudge, SimulatedPolicy, frozen_uniform
from apportion.bench.tasks import find
from apportion.bench.world import roll
from apportion.errors import OptionError
from apportion.evidence import Rubric


def rollouts(id_: str, groups: int = 8, size: int = 4, seed: int = 0) -> Any:
    task = find(id_)
    return roll(task, task.start_theta, groups, size, np.random.default_rng(seed))


def test_a_rubric_asks_for_what_its_template_shows() -> None:
    with pytest.raises(OptionError, match=r"no \{units\}"):
        Rubric("r", "Judge {question}", (0.0, 1.0))
    with pytest.raises(OptionError, match="privileged = False"):
        Rubric("r", "{units} {reference}", (0.0, 1.0))
    with pytest.raises(OptionError, match="worst first"):
        Rubric("r", "{units}", (1.0, 0.0))


@pytest.mark.parametrize("id_", ["reasoning/steps-10", "team/four"])
def test_a_judge_answers_a_rubric_in_its_levels_and_right_where_it_is_accurate(id_: str) -> None:
    r = rollouts(id_)
    batch = to_batch(r)
    unit: Any = choices(r.task, batch).level
    rng = np.random.default_rng(0)
    rubric = Rubric("steps", "Which steps are wrong? {units}", (0.0, 1.0))
    asked = SimulatedJudge(r).score(batch, unit, rng, rubric=rubric)
    assert asked.bill.judge_calls == batch.n_trajectories
    prompt, time, state, action = situation(r, batch)
    with oracle():
        q = truth(r.task, r.theta).seen[prompt, time, state]
    best, worst = q.max(axis=1), q.min(axis=1)
    mine = q[np.arange(action.size), action]
    np.testing.assert_array_equal(asked.values, (mine >= (best + worst) / 2 - 1e-12).astype(float))
    assert 0.02 < (asked.values == 0).mean() < 0.6
    whole = SimulatedJudge(r).score(batch, "trajectory", rng, rubric=replace(rubric, levels=(0.0, 0.5, 1.0), one_call=False))
    assert whole.values.shape == (batch.n_trajectories,)
    assert set(whole.values) <= {0.0, 0.5, 1.0}


@pytest.mark.parametrize(("id_", "axis"), [("reasoning/steps-10", "step_prefix"), ("bifurcation/horizon-10", "prefix")])
def test_the_answer_is_as_likely_as_success_where_the_policy_knows_itself(id_: str, axis: Any) -> None:
    r = rollouts(id_)
    batch = to_batch(r)
    rng = np.random.default_rng(0)
    got = SimulatedPolicy(r).answer_logp(batch, rng, axis=axis).values.reshape(32, 11)
    with oracle():
        value = truth(r.task, r.theta).V[r.prompt[:, None], np.arange(11), r.states]
    np.testing.assert_allclose(got, np.log(np.maximum(value, 1e-6)), atol=1e-12)
    blind = SimulatedPolicy(r, skill=0.0).answer_logp(batch, rng, axis=axis).values
    assert np.ptp(blind) < 1e-12
    noisy = SimulatedPolicy(r, noise=0.3)
    np.testing.assert_array_equal(
        noisy.answer_logp(batch, rng, axis=axis).values, noisy.answer_logp(batch, rng, axis=axis).values
    )


def test_hindsight_errs_for_good_where_it_is_noisy() -> None:
    r = rollouts("bifurcation/horizon-10")
    batch = to_batch(r)
    told = ["success"] * 32
    plain, one, two = (
        SimulatedPolicy(r, noise=noise).logp(batch, np.random.default_rng(seed), hindsight=told).values
        for noise, seed in ((0.0, 0), (0.5, 1), (0.5, 2))
    )
    np.testing.assert_array_equal(one, two)
    assert (one <= 0).all()
    assert 0.2 < np.std((one - plain)[batch.action]) < 0.6
    again = to_batch(r)
    same = SimulatedPolicy(r, noise=0.5).logp(again, np.random.default_rng(3), hindsight=["failure"] * 32).values
    assert np.abs(same - one).max() > 0.1


def test_hindsight_believes_the_outcome_it_is_told() -> None:
    r = rollouts("bifurcation/horizon-10")
    batch = to_batch(r)
    policy, rng = SimulatedPolicy(r), np.random.default_rng(0)
    good, bad = (policy.logp(batch, rng, hindsight=[word] * 32).values for word in ("success", "failure after all"))
    own = policy.logp(batch, rng, hindsight=["as it was"] * 32).values
    won = (batch.reward > 0)[batch.within("token", "trajectory")]
    np.testing.assert_array_equal(own, np.where(won, good, bad))
    assert np.abs(good - bad).max() > 0.1


def test_frozen_numbers_hang_on_every_key_however_many_there_are() -> None:
    keys = [np.arange(5) + i for i in range(100)]
    found = frozen_uniform(*keys)
    assert found.shape == (5,)
    assert np.unique(found).size == 5
    assert not np.isclose(found, frozen_uniform(*keys[:-1], keys[-1] + 1)).any()
