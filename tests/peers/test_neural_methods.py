"""Methods in the hands of a transformer: what is unbiased stays so, and what the model says of itself is the model's own."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from apportion.bench import sources
from apportion.bench.cells import run_cell
from apportion.bench.entrants import entrants, run_entrant
from apportion.bench.gradient import update
from apportion.bench.layouts import choices, situation, to_batch
from apportion.bench.neural.learned import Reading, rollout_texts
from apportion.bench.neural.policy import TransformerPolicy
from apportion.bench.neural.task import NeuralTask, build
from apportion.bench.neural.text import ACT, ANSWER, FAILURE, SUCCESS, told, with_cue
from apportion.bench.oracle import oracle, truth
from apportion.bench.records import Cell
from apportion.bench.settings import Settings
from apportion.bench.tasks import find
from apportion.bench.world import roll
from apportion.errors import OptionError


@cache
def tiny(home: str = "tiny/turns") -> NeuralTask:
    """A task whose first checkpoint has read for a shorter time than usual."""
    return build(find(home), reading=Reading(rollouts=8192, steps=40 if home == "tiny/turns" else 120))


def outcome(id_: str, task: Any, theta: Any, seed: int = 0, groups: int = 4) -> Any:
    return run_entrant(
        entrants()[id_], task, theta, groups, 8, np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    )


@pytest.mark.parametrize("id_", ["exact", "rloo", "vineppo"])
def test_the_mean_update_of_an_unbiased_method_is_the_exact_gradient(id_: str) -> None:
    task = tiny()
    theta = task.first_theta
    with oracle():
        star = truth(task, theta).gradient.ravel()
    runs = [outcome(id_, task, theta, seed, groups=64) for seed in range(20)]
    g = np.stack([update(o.rollouts, o.credit).ravel() for o in runs])
    # along the exact gradient, and along other directions that the updates do move in
    ways = np.stack([star, *np.linalg.svd(g - g.mean(axis=0), full_matrices=False)[2][:3]])
    along = (g - star) @ (ways / np.linalg.norm(ways, axis=1, keepdims=True)).T
    error = along.std(axis=0, ddof=1) / np.sqrt(len(runs))
    assert (np.abs(along.mean(axis=0)) < 4 * error + 1e-12).all()
    assert (g.mean(axis=0) @ star) / np.linalg.norm(g.mean(axis=0)) / np.linalg.norm(star) > 0.8


@pytest.mark.parametrize("id_", ["spro", "prl"])
def test_methods_that_compare_with_the_reference_are_grpo_until_the_policy_leaves_it(id_: str) -> None:
    task = tiny("tiny/steps")
    theta = task.first_theta
    mine, grpo = (update(o.rollouts, o.credit) for o in (outcome(m, task, theta) for m in (id_, "grpo")))
    np.testing.assert_allclose(mine, grpo, atol=1e-9)
    left = theta + 0.02 * np.random.default_rng(0).normal(size=theta.shape)
    mine, grpo = (update(o.rollouts, o.credit) for o in (outcome(m, task, left) for m in (id_, "grpo")))
    assert np.abs(mine - grpo).max() > 1e-4


def test_hindsight_is_read_before_the_action_and_a_text_without_an_outcome_changes_nothing() -> None:
    task = tiny()
    r = roll(task, task.first_theta, 4, 8, np.random.default_rng(0))
    batch = to_batch(r)
    policy, rng = TransformerPolicy(r), np.random.default_rng(0)
    base = batch.need("logp")
    np.testing.assert_allclose(policy.logp(batch, rng).values, base, atol=1e-9)
    mute = policy.logp(batch, rng, hindsight=["nothing to say"] * batch.n_trajectories).values
    np.testing.assert_allclose(mute, base, atol=1e-9)
    told_ = ["The task ended with: success (reward 1)." if i % 2 else "failure." for i in range(batch.n_trajectories)]
    said = policy.logp(batch, rng, hindsight=told_).values
    assert (said <= 0).all()
    assert (said[~batch.action] == 0).all()
    prompt, time, state, action = situation(r, batch)
    at = choices(task, batch)
    whose = batch.within(at.level, "trajectory")
    tables = [task.reader.table(r.theta, with_cue(task.texts, cue)) for cue in (FAILURE, SUCCESS)]
    for i in range(0, action.size, 5):
        chance = tables[whose[i] % 2][task.context[prompt[i], time[i], state[i]], action[i]]
        assert said[at.first[i] : at.first[i] + 2].sum() == pytest.approx(np.log(chance), abs=1e-9)
    assert np.abs(said - base).max() > 0.01


def test_the_first_known_word_of_a_hindsight_text_counts() -> None:
    assert told("(Hindsight) The task ended with: Failure, not success") == FAILURE
    assert told("success is wanted") == SUCCESS
    assert told("successful") == told(None) == told("") == ACT


def test_what_the_model_says_of_outcomes_is_learned_from_rollouts() -> None:
    """Belief in the answer follows the exact values and hindsight leans as Bayes' rule does; untrained, neither does."""
    from apportion.bench.neural.model import initial

    task, rng = tiny("tiny/steps"), np.random.default_rng(0)
    theta, blank = task.first_theta, initial(task.model, 5)[:, None]

    def against_truth(theta: Any) -> tuple[float, float]:
        r = roll(task, theta, 64, 8, np.random.default_rng(1))
        batch, asked = to_batch(r), TransformerPolicy(r)
        with oracle():
            solved = truth(task, theta)
            value, seen = solved.V, solved.seen
        belief = asked.answer_logp(batch, rng, axis="step_prefix").values.reshape(len(r.prompt), -1)
        true = value[r.prompt[:, None], np.arange(task.horizon + 1), r.states]
        prompt, time, state, action = situation(r, batch)
        lost, prior = 1 - seen[prompt, time, state], task.policy(theta)[task.context[prompt, time, state]]
        bayes = np.log(lost[np.arange(action.size), action] / (prior * lost).sum(axis=1))
        lean = asked.logp(batch, rng, hindsight=["failure"] * batch.n_trajectories).values - batch.need("logp")
        whole = np.add.reduceat(lean, choices(task, batch).first)
        assert belief.max() <= 0
        return float(np.corrcoef(np.exp(belief).ravel(), true.ravel())[0, 1]), float(np.corrcoef(whole, bayes)[0, 1])

    learned, untrained = against_truth(theta), against_truth(blank)
    assert learned[0] > 0.9 > 0.5 > abs(untrained[0])
    assert learned[1] > 0.3 > 0.2 > abs(untrained[1])


def test_belief_stands_at_every_prefix_of_steps_too() -> None:
    task = tiny("tiny/steps")
    r = roll(task, task.first_theta, 4, 4, np.random.default_rng(0))
    batch = to_batch(r)
    found = TransformerPolicy(r).answer_logp(batch, np.random.default_rng(0), axis="step_prefix").values
    assert found.shape == (batch.count("step_prefix"),) == (16 * (task.horizon + 1),)
    assert np.ptp(found.reshape(16, -1)[:, -1]) > 0.1  # how it ended can be told at the end
    text = rollout_texts(task.base, task.window, task.vocabulary, r.prompt, r.states % task.base.looks, r.actions)
    said = task.reader.token(r.theta, with_cue(text.reshape(len(found), -1), ANSWER), SUCCESS)
    np.testing.assert_allclose(found, said, atol=1e-12)


MODELS = sorted(e.id for e in entrants().values() if e.ask == "model")


@pytest.mark.parametrize("id_", MODELS)
def test_asking_the_model_never_touches_the_truth(id_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any, **more: Any) -> Any:
        raise AssertionError("somebody asked for the truth")

    task = tiny()
    assert not entrants()[id_].oracle
    assert entrants()[id_].paid
    before = outcome(id_, task, task.first_theta).credit
    for module in (sources, sys.modules["apportion.bench.oracle"]):
        monkeypatch.setattr(module, "truth", gone)
    after = outcome(id_, task, task.first_theta).credit
    np.testing.assert_array_equal(before.token, after.token)
    assert np.abs(before.token).max() > 0
    assert before.bill.scored > 0


def test_a_model_is_asked_only_where_there_is_one() -> None:
    tabular = find("tiny/turns")
    assert not entrants()["hcapo-model"].fits(tabular.layout, tabular.neural)
    assert entrants()["hcapo-model"].fits(tiny().layout, tiny().neural)
    with pytest.raises(OptionError, match="neural/tiny/turns"):
        outcome("hcapo-model", tabular, tabular.start_theta)


def test_the_same_cell_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.model_validate({"gradient": {"batch_sizes": (16, 32), "replicates": (2, 2)}})

    def rows(fresh: NeuralTask) -> Any:
        monkeypatch.setattr("apportion.bench.cells.find", lambda id_: fresh)
        return run_cell(Cell("rloo", fresh.id, 0, "gradient"), settings)

    short = Reading(rollouts=64, steps=5)
    one, two = (rows(build(find("tiny/turns"), reading=short)) for _ in range(2))
    assert [(r.metric, r.batch, r.value) for r in one] == [(r.metric, r.batch, r.value) for r in two]
    assert {r.metric for r in one} >= {"inner", "norm2", "truth2", "gain_kl"}
