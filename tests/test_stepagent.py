"""StepAgent: the card's worked examples, pairs at the expert's states, and the discriminator."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, Preferences, assign, learn
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import load_learned, save_learned
from apportion.evidence.discriminator import LearnedDiscriminator, discriminator_loss, imitation_reward
from apportion.ops.groups import whiten

from .batches import random_batch


def _run(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "stepagent", **options)
    assert isinstance(credit, Credit)
    return credit


def _pairs(batch: Batch, **options: Any) -> Preferences:
    found = assign(batch, "stepagent", variant="implicit", pairs=True, **options)
    assert isinstance(found, Preferences)
    return found


def _asked(**columns: Any) -> Batch:
    """The card's two expert states: at each one the expert's action and the agent's."""
    return Batch.from_turns(
        [[1]] * 4, group=[0, 0, 1, 1], agent=["expert", "novice"] * 2, logp=[-4.0, -3.0, -6.0, -2.0],
        ref_logp=[-5.0, -2.5, -6.0, -2.0], **columns,
    )  # fmt: skip


def test_worked_example_of_the_card_implicit() -> None:
    credit = _run(_asked(), variant="implicit")
    assert credit.kind == "reward"
    assert_allclose(credit.unit, [0.1, -0.05, 0.0, 0.0])
    pairs = _pairs(_asked())
    assert pairs.level == "step"
    assert_array_equal(pairs.chosen, [0, 2])
    assert_array_equal(pairs.rejected, [1, 3])
    assert pairs.margin is not None
    assert_allclose(pairs.margin, [0.15, 0.0])
    loss = np.logaddexp(0.0, -pairs.margin)
    assert_allclose(loss, [0.6210, 0.6931], atol=5e-5)
    assert_allclose(loss.mean(), 0.6571, atol=5e-5)
    assert_allclose(0.1 / (1 + np.exp(pairs.margin)), [0.0463, 0.0500], atol=5e-5)


def test_worked_example_of_the_card_inverse() -> None:
    d = np.array([0.8, 0.5, 0.2])
    assert_allclose(discriminator_loss(d, np.array([0.3, 0.4])), 1.2757, atol=5e-5)
    reward = imitation_reward(d)
    assert_allclose(reward, [0.2231, 0.6931, 1.6094], atol=5e-5)
    batch = Batch.from_turns([[1, 1, 1]])
    credit = _run(batch, step_reward=reward, value=[2.0, 1.5, 1.0])
    assert credit.kind == "advantage"
    assert_allclose(credit.unit, [0.4567, 0.7721, 0.6094], atol=5e-5)
    assert_allclose(credit.targets["value"], credit.unit + np.array([2.0, 1.5, 1.0]))


def test_a_discriminator_that_is_sure_pays_a_finite_reward() -> None:
    assert_allclose(imitation_reward(np.array([0.0, 1.0])), [-np.log(1e-6), -np.log(1 - 1e-6)])
    assert np.isfinite(discriminator_loss(np.array([0.0]), np.array([1.0])))


def test_an_agent_that_is_the_expert_learns_nothing() -> None:
    """D = 1/2 everywhere pays log 2 a step: nothing as a bandit, and nothing once V has learned it."""
    batch = random_batch(0)
    reward = np.full(batch.n_steps, np.log(2.0))
    assert_array_equal(_run(batch, step_reward=reward, variant="bandit").unit, 0.0)
    owner = batch.within("step", "trajectory")
    left = np.bincount(owner)[owner] - (np.arange(owner.size) - np.searchsorted(owner, owner))
    value = (np.log(2.0) * left)[batch.within("token", "step")]
    assert_allclose(_run(batch, step_reward=reward, value=value).unit, 0.0, atol=1e-12)


def test_gae_over_steps_reads_values_where_steps_begin() -> None:
    batch = random_batch(1)
    rng = np.random.default_rng(0)
    reward, value = rng.random(batch.n_steps), rng.normal(size=batch.n_tokens)
    credit = _run(batch, step_reward=reward, value=value, gamma=0.9, lam=0.0)
    starts, owner = batch.offsets("step"), batch.within("step", "trajectory")
    first = np.array([a + int(np.argmax(batch.action[a:b])) for a, b in pairwise(starts)])
    v = value[first]
    following = np.where(np.append(owner[1:] == owner[:-1], False), np.append(v[1:], 0.0), 0.0)
    assert_allclose(credit.unit, reward + 0.9 * following - v)
    target = (credit.unit + v)[batch.within("token", "step")]
    assert_allclose(credit.targets["value"], np.where(batch.action, target, 0.0))
    white = _run(batch, step_reward=reward, value=value, gamma=0.9, lam=0.0, whiten=True)
    assert_allclose(white.token, whiten(credit.token, batch.action))
    bandit = _run(batch, step_reward=reward, variant="bandit")
    assert_allclose(bandit.unit, reward - reward.mean())


def test_every_token_has_its_own_share_of_the_implicit_reward() -> None:
    batch = random_batch(2)
    credit = _run(batch, variant="implicit", beta=0.2)
    ratio = np.where(batch.action, batch.need("logp") - batch.need("ref_logp"), 0.0)
    assert_allclose(credit.token, 0.2 * ratio)
    assert_allclose(credit.unit, np.bincount(batch.within("token", "step"), weights=credit.token))
    for name in ("logp", "ref_logp"):
        with pytest.raises(MissingColumn, match=name):
            _run(batch.with_columns(**{name: None}), variant="implicit")


def _walk(**columns: Any) -> Batch:
    """An expert of three steps; the agent was asked at the second and, twice, at the third. Another task with one step."""
    return Batch.from_turns(
        [[1, 1, 1], [1, 1], [1, 1, 1], [1, 1, 1], [1], [1]],
        group=[0, 0, 0, 0, 1, 1], agent=["expert", "a", "a", "a", "a", "expert"],
        ids=[1, 2, 3, 1, 9, 1, 2, 8, 1, 2, 3, 5, 5], logp=np.arange(-13.0, 0.0), ref_logp=np.full(13, -13.0), **columns,
    )  # fmt: skip


def test_pairs_stand_at_the_same_state_and_equal_actions_make_none() -> None:
    pairs = _pairs(_walk())
    assert_array_equal(pairs.chosen, [1, 2])  # the third proposal is the expert's own action, and so is the other task's
    assert_array_equal(pairs.rejected, [4, 7])
    assert pairs.margin is not None
    assert_allclose(pairs.margin, [0.1 * (1 - 4), 0.1 * (2 - 7)])
    blind = _pairs(_walk().with_columns(ids=None))
    assert_array_equal(blind.chosen, [1, 2, 2, 12])
    assert_array_equal(blind.rejected, [4, 7, 10, 11])


def test_pairs_need_one_expert_a_task_and_its_states() -> None:
    with pytest.raises(BatchError, match="group 1 has 0 trajectories of agent 'expert'"):
        _pairs(_walk().take([0, 1, 4]))
    with pytest.raises(BatchError, match="group 0 has 2 trajectories"):
        _pairs(_walk().take([0, 0, 1]))
    short = Batch.from_turns([[1], [1, 1]], group=[0, 0], agent=["expert", "a"], logp=[-1.0] * 3, ref_logp=[-1.0] * 3)
    with pytest.raises(BatchError, match="trajectory 1 has more steps"):
        _pairs(short)
    for name in ("agent", "group"):
        with pytest.raises(MissingColumn, match=name):
            _pairs(_walk().with_columns(**{name: None}))
    with pytest.raises(OptionError, match="variant='inverse'"):
        assign(_walk(), "stepagent", pairs=True, step_reward=np.zeros(13), value=np.zeros(13))


def test_bad_input_is_named() -> None:
    batch = Batch.from_turns([[1, 1, 1]])
    given: dict[str, Any] = {"step_reward": [0.1, 0.2, 0.3], "value": np.zeros(3)}
    for variant in ("inverse", "bandit"):
        with pytest.raises(OptionError, match=r"'step_reward'\[1\] is null"):
            _run(batch, variant=variant, step_reward=[0.1, np.nan, 0.3], value=np.zeros(3))
    with pytest.raises(OptionError, match=r"'value'\[2\] = nan"):
        _run(batch, **{**given, "value": [0.0, 0.0, np.nan]})
    with pytest.raises(MissingColumn, match="value"):
        _run(batch, step_reward=[0.1, 0.2, 0.3])
    for name, wrong in (("gamma", 2.0), ("lam", -0.5)):
        with pytest.raises(OptionError, match="from 0 to 1"):
            _run(batch, **given, **{name: wrong})
    small, _ = _world(6, 0)
    bad: list[dict[str, Any]] = [{"folds": 1}, {"ridge": 0.0}, {"buckets": 0}, {"steps": 0}, {"memory": 0.0}, {"gamma": 2.0}]
    for option in bad:
        with pytest.raises(OptionError, match=f"{next(iter(option))} = "):
            learn(small, "stepagent", **option)
    with pytest.raises(BatchError, match="at least two"):
        learn(small.take([0]), "stepagent")


# --- the discriminator -----------------------------------------------------------------------------------


def _world(n: int, seed: int, *, expert: bool = False, shuffled: bool = False) -> tuple[Batch, np.ndarray]:
    """Three steps, two actions; solved is likelier with every right one (1, 0, 1). Experts are right 9 times in 10.

    Returns which steps were right, (n, 3).
    """
    rng = np.random.default_rng(seed)
    right = rng.random((n, 3)) < (0.9 if expert else 0.5)
    actions = np.where(right, [1, 0, 1], [0, 1, 0])
    solved = rng.random(n) < (0.1 + 0.8 * right.mean(axis=1))
    if shuffled:
        solved = rng.permutation(solved)
    ids = np.stack([np.broadcast_to(30 + np.arange(3), (n, 3)), actions], axis=2).ravel()
    batch = Batch.from_turns(
        [[2] * 3] * n, action=[False, True] * (3 * n), ids=ids, outcome=solved.astype(float),
        trajectory=[f"{'e' if expert else 'a'}{i}" for i in range(n)],
    )  # fmt: skip
    return batch, right


def _reward(batch: Batch, seed: int = 0, **options: Any) -> np.ndarray:
    learned = learn(batch, "stepagent", rng=seed, **{"buckets": 128, **options})
    assert isinstance(learned, LearnedDiscriminator)
    return np.asarray(learned.evidence(batch).arrays["step_reward"]).reshape(-1, 3)


def _gap(reward: np.ndarray, right: np.ndarray) -> float:
    return float(reward[right].mean() - reward[~right].mean())


def test_it_pays_the_experts_steps_and_the_more_data_the_closer_to_the_exact_reward() -> None:
    """D is .5/(.5 + .9) on right steps, .5/(.5 + .1) on wrong ones."""
    exact = np.log(1.4 / 0.5) - np.log(0.6 / 0.5)
    error = []
    for n in (8, 40, 400):
        gaps = [
            _gap(_reward(b, experts=_world(n, 100 + seed, expert=True)[0]), r) for seed in range(4) for b, r in [_world(n, seed)]
        ]
        error.append(np.abs(np.mean(gaps) - exact))
    assert error[0] > error[1] > error[2]
    assert error[2] < 0.1


def test_by_default_the_solved_trajectories_are_the_experts() -> None:
    """Where D is right the reward is log(1 + P(solved | s, a) / P(solved))."""
    batch, right = _world(3000, 1)
    reward, solved = _reward(batch), batch.solved
    for t in range(3):
        for did in (True, False):
            here = right[:, t] == did
            exact = np.log1p(solved[here].mean() / solved.mean())
            assert abs(reward[here, t].mean() - exact) < 0.04
    rows = np.flatnonzero(solved)
    assert_allclose(_reward(batch, experts=batch.take(rows)), reward, atol=1e-12)  # and are held out as themselves


def test_it_is_at_chance_on_shuffled_labels() -> None:
    gaps = [_gap(_reward(b), r) for seed in range(12) for b, r in [_world(200, seed, shuffled=True)]]
    assert abs(np.mean(gaps)) < 0.02
    unlike = [_gap(_reward(b, experts=_world(200, 50 + seed)[0]), r) for seed in range(12) for b, r in [_world(200, seed)]]
    assert abs(np.mean(unlike)) < 0.02  # experts that act like the agent


def test_no_outcome_reaches_its_own_reward_or_value() -> None:
    batch, _ = _world(40, 2)
    found = []
    for flipped in (False, True):
        outcome = np.array(batch.outcome)
        outcome[11] = 1.0 - outcome[11] if flipped else outcome[11]
        home = batch.with_columns(outcome=outcome)
        found.append(learn(home, "stepagent", rng=0, buckets=128).evidence(home).arrays)
    for name, per in (("step_reward", 3), ("value", 6)):
        before, after = (f[name].reshape(40, per) for f in found)
        assert_array_equal(before[11], after[11])
        assert not np.array_equal(before, after)


def test_without_experts_or_without_failures_nothing_is_told_apart() -> None:
    batch, _ = _world(20, 3)
    none = learn(batch.with_columns(outcome=np.zeros(20)), "stepagent", rng=0, buckets=64)
    found = none.evidence(batch)
    assert_allclose(found.arrays["step_reward"], np.log(2.0))
    assert_allclose(found.arrays["value"].reshape(20, 3, 2)[:, :, 1], np.log(2.0) * np.tile([3.0, 2.0, 1.0], (20, 1)), atol=0.4)
    assert found.diagnostics["experts"] == 0.0
    every = learn(batch.with_columns(outcome=np.ones(20)), "stepagent", rng=0, buckets=64)
    assert_allclose(every.evidence(batch).arrays["step_reward"], np.log(2.0), atol=1e-6)
    assert every.evidence(batch).diagnostics["experts"] == 20.0


def test_its_loss_is_least_where_it_ends() -> None:
    """Against the loss of the docstring, written out densely, in every direction."""
    from apportion.evidence.learned import features

    batch, _ = _world(20, 4)
    experts, _ = _world(7, 5, expert=True)
    learned = learn(batch, "stepagent", rng=0, buckets=32, experts=experts, ridge=2.0, steps=500)
    dense = []
    for b in (batch, experts):
        x = np.zeros((b.n_steps, 33))
        for i, row in enumerate(features(b, "step", buckets=32, actions=3)):
            np.add.at(x[i], row, 1.0)
        x[:, 32] = 1.0
        dense.append(x)

    def loss(w: np.ndarray) -> float:
        d = [1 / (1 + np.exp(-x @ w)) for x in dense]
        return float(10.0 * discriminator_loss(*d) + 2.0 / 8.0 * (w[:-1] ** 2).sum())

    w = np.delete(learned.agent.weights[-1], 32)
    base = loss(w)
    for direction in np.vstack([np.eye(33), np.random.default_rng(0).normal(size=(5, 33))]):
        assert loss(w + 1e-3 * direction) > base - 1e-9
        assert loss(w - 1e-3 * direction) > base - 1e-9


def test_it_goes_on_from_the_round_before_and_to_disk(tmp_path: Path) -> None:
    experts, _ = _world(30, 6, expert=True)
    first, second = _world(300, 7)[0], _world(30, 8)
    old = learn(first, "stepagent", rng=0, buckets=128, experts=experts)
    kept = {n: v.copy() for n, v in old.save().items()}
    exact = np.log(1.4 / 0.5) - np.log(0.6 / 0.5)
    alone = _gap(_reward(second[0], experts=experts), second[1])
    carried = _gap(_reward(second[0], experts=experts, state=old), second[1])
    assert abs(carried - exact) < abs(alone - exact)
    for name, value in old.save().items():
        assert_array_equal(value, kept[name])
    save_learned(old, tmp_path / "d.npz")
    back = load_learned(tmp_path / "d.npz")
    assert_array_equal(_reward(second[0], state=back), _reward(second[0], state=old))
    assert back.experts == 30
    with pytest.raises(OptionError, match="128 and 3"):
        _reward(second[0], state=old, buckets=64)
    assert old.bill.trained == 2 * 900 + 90
