"""Answers in steps and teams of agents: how their rollouts read, and how they are run again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion.bench import checkpoints
from apportion.bench.entrants import entrants, run_entrant
from apportion.bench.gradient import update
from apportion.bench.identification import identify
from apportion.bench.layouts import choices, situation, to_batch
from apportion.bench.oracle import attainable, expected_return, oracle, truth
from apportion.bench.samplers import TabularSampler
from apportion.bench.sources import exact_credit
from apportion.bench.tasks import find
from apportion.bench.world import roll
from apportion.credit import Credit
from apportion.errors import ApportionError, OptionError

IDS = ("reasoning/steps-10", "team/two", "team/four", "bifurcation/horizon-10")


def rollouts(id_: str, groups: int = 8, size: int = 4, seed: int = 0) -> Any:
    task = find(id_)
    return roll(task, task.start_theta, groups, size, np.random.default_rng(seed))


@pytest.mark.parametrize("id_", IDS)
def test_every_choice_is_in_the_batch_once_with_its_probability(id_: str) -> None:
    r = rollouts(id_)
    batch = to_batch(r, text=True, reference=True)
    at = choices(r.task, batch)
    n, T = r.actions.shape
    assert sorted(zip(at.row.tolist(), at.time.tolist(), strict=True)) == [(i, t) for i in range(n) for t in range(T)]
    prompt, time, state, action = situation(r, batch)
    logp = np.bincount(batch.within("token", at.level), weights=batch.need("logp"))
    expected = r.task.policy(r.theta)[r.task.context[prompt, time, state], action]
    np.testing.assert_allclose(logp, np.log(expected), atol=1e-12)
    np.testing.assert_array_equal(batch.need("ref_logp"), batch.need("logp"))  # nothing was learned yet
    words = batch.need("ids")[at.first[:, None] + np.arange(r.task.words.shape[1])]
    np.testing.assert_array_equal(words, r.task.words[action])


def test_an_answer_is_one_turn_written_by_the_policy_after_its_prompt() -> None:
    batch = to_batch(rollouts("reasoning/steps-10"))
    assert batch.n_turns == batch.n_trajectories == 32
    assert batch.n_steps == 320
    assert (~batch.action).sum() == 32
    assert not batch.action[batch.offsets("trajectory")[:-1]].any()


def test_a_team_is_an_episode_of_one_trajectory_per_agent_with_one_fate() -> None:
    r = rollouts("team/four")
    batch = to_batch(r)
    assert batch.count("episode") == 32
    assert batch.n_trajectories == 128
    assert batch.need("agent").to_list()[:5] == [0, 1, 2, 3, 0]
    np.testing.assert_array_equal(batch.reward, np.repeat(r.reward, 4))
    np.testing.assert_array_equal(np.diff(batch.trajectory_turns)[:4], np.bincount(r.task.roles))


@pytest.mark.parametrize("id_", IDS)
def test_exact_credit_points_along_the_exact_gradient(id_: str) -> None:
    r = rollouts(id_, 1024, 2)
    g = update(r, exact_credit(r, to_batch(r)))
    with oracle():
        star = truth(r.task, r.theta).gradient
    assert float((g * star).sum() / np.sqrt((g**2).sum() * (star**2).sum())) > 0.97


@pytest.mark.parametrize("id_", ["reasoning/steps-10", "team/two"])
def test_rloo_has_the_exact_gradient_as_its_mean(id_: str) -> None:
    task = find(id_)
    scale = task.agents  # the mean over trajectories counts each episode once per agent
    with oracle():
        star = truth(task, task.start_theta).gradient
    along = []
    for seed in range(80):
        r = rollouts(id_, 256, 4, seed)
        credit = ap.assign(to_batch(r, logp=False), "rloo")
        assert isinstance(credit, Credit)
        along.append(float((update(r, credit) * scale * star).sum() / (star**2).sum()))
    error = float(np.std(along) / np.sqrt(len(along)))
    assert error < 0.12
    assert abs(np.mean(along) - 1) < 2.5 * error


def test_rloo_of_a_team_never_compares_an_episode_with_itself() -> None:
    pairs = {"group": [0] * 6, "episode": [0, 0, 1, 1, 2, 2], "agent": [0, 1] * 3}
    credit = ap.assign(ap.Batch.from_turns([[1]] * 6, outcome=[1.0, 1.0, 0.0, 0.0, 0.5, 0.5], **pairs), "rloo")
    assert isinstance(credit, Credit)
    np.testing.assert_allclose(credit.unit, [0.75, 0.75, -0.75, -0.75, 0.0, 0.0], atol=1e-12)
    uneven = ap.Batch.from_turns([[1]] * 4, outcome=[1.0, 0.0, 0.0, 0.4], group=[0] * 4, episode=[0, 1, 1, 2])
    credit = ap.assign(uneven, "rloo")
    assert isinstance(credit, Credit)
    np.testing.assert_allclose(credit.unit, [1 - 0.4 / 3, -0.7, -0.7, 0.4 - 1 / 3], atol=1e-12)


@pytest.mark.parametrize(("id_", "axis"), [("reasoning/steps-10", "step_prefix"), ("team/two", "prefix")])
def test_continuations_have_the_exact_value_as_their_mean(id_: str, axis: Any) -> None:
    r = rollouts(id_, 2, 2)
    batch = to_batch(r)
    owner = batch.within(axis, "trajectory")
    ends = np.append(np.flatnonzero(np.diff(owner)), owner.size - 1)
    prefixes = np.setdiff1d(np.arange(owner.size), ends)
    got = TabularSampler(r).continuations(batch, prefixes, 4000, np.random.default_rng(0), axis=axis).values.mean(axis=1)
    with oracle():
        prompt, time, state, _ = situation(r, batch)
        exact = truth(r.task, r.theta).V[prompt, time, state]
    np.testing.assert_allclose(got, exact, atol=0.04)


def test_a_replay_keeps_every_action_that_is_not_drawn_anew() -> None:
    r = rollouts("reasoning/steps-10")
    batch = to_batch(r)
    sampler, rng = TabularSampler(r), np.random.default_rng(0)
    kept = sampler.replay(batch, np.zeros(320, dtype=bool), 2000, rng)
    np.testing.assert_allclose(kept.values.mean(axis=1), r.task.success[r.prompt, r.states[:, -1]], atol=0.05)
    assert kept.bill.generated == 0
    fresh = sampler.replay(batch, np.ones(320, dtype=bool), 2000, rng)
    with oracle():
        start = truth(r.task, r.theta).V[r.prompt, 0, r.states[:, 0]]
    np.testing.assert_allclose(fresh.values.mean(axis=1), start, atol=0.05)
    assert fresh.bill.generated == 32 * 2000 * 10 * 4
    with pytest.raises(OptionError, match="one per step"):
        sampler.replay(batch, np.ones(3, dtype=bool), 1, rng)


def test_a_replay_of_a_team_gives_one_answer_an_episode_and_tells_who_matters() -> None:
    r = rollouts("team/one-decides", 8, 4)
    batch = to_batch(r)
    agent = np.asarray(batch.need("agent").to_list())[batch.within("turn", "trajectory")]
    sampler, rng = TabularSampler(r), np.random.default_rng(0)
    # the planner opens, so a replay of its turns throws all dice again and changes nothing else
    dice = sampler.replay(batch, agent == 0, 4000, rng).values
    assert dice.shape == (32, 4000)
    change = []
    for who in (1, 2, 3):
        moved = sampler.replay(batch, (agent == 0) | (agent == who), 4000, rng).values.mean(axis=1) - dice.mean(axis=1)
        change.append(float(np.abs(moved).mean()))
    assert change[1] > 5 * max(change[0], change[2])


def test_a_greedy_rollout_takes_the_likeliest_actions() -> None:
    task = find("reasoning/steps-10")
    sure = replace(task, success=(task.success > 0.5).astype(float))
    r = roll(sure, sure.start_theta, 64, 2, np.random.default_rng(0))
    got = TabularSampler(r).greedy(to_batch(r), np.random.default_rng(0))
    pi = sure.policy(r.theta)
    expected = []
    for prompt in r.prompt[::2]:
        state = 0
        for t in range(10):
            action = pi[sure.context[prompt, t, state]].argmax()
            state = int(sure.kernels[sure.kernel_of[prompt, t], state, action].argmax())
        expected.append(sure.success[prompt, state])
    np.testing.assert_array_equal(got.values, expected)


@pytest.mark.parametrize("id_", IDS)
def test_every_entrant_that_fits_can_be_measured(id_: str) -> None:
    task = find(id_)
    fitting = [e for e in entrants().values() if e.fits(task.layout)]
    assert {"exact", "rloo", "grpo"} <= {e.id for e in fitting}
    for entrant in fitting:
        outcome = run_entrant(entrant, task, task.start_theta, 2, 8, np.random.default_rng(0), np.random.default_rng(1))
        assert np.isfinite(update(outcome.rollouts, outcome.credit)).all(), entrant.id
        assert identify(outcome, 1e-6, np.random.default_rng(0))["coverage"] > 0, entrant.id


def test_a_trained_task_starts_where_its_policy_got_to_and_remembers_where_it_came_from() -> None:
    task = find("reasoning/steps-10")
    half = find("reasoning/steps-10@50")
    start, best = expected_return(task, task.start_theta), attainable(task)
    got = expected_return(half, half.start_theta)
    assert 0.5 <= (got - start) / (best - start) < 0.6
    np.testing.assert_allclose(half.reference_policy, task.policy(task.start_theta), atol=1e-12)
    batch = to_batch(roll(half, half.start_theta, 4, 4, np.random.default_rng(0)), reference=True)
    assert np.abs(batch.need("logp") - batch.need("ref_logp")).max() > 0.1
    unchanged = checkpoints.trained(task, 0)
    np.testing.assert_array_equal(unchanged.policy(unchanged.start_theta), task.policy(task.start_theta))
    with pytest.raises(ApportionError, match="0 to 100"):
        find("reasoning/steps-10@200")
