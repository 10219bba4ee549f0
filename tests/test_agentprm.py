"""AgentPRM: the card's worked example, the double count, where it is GAE, and its model learned by TD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign, learn
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import load_learned, save_learned
from apportion.evidence.learned import features, trajectory_keys
from apportion.evidence.promise import LearnedPromise

from .batches import random_batch

_M = [0.30, 0.45, 0.35, 0.70]


def _run(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "agentprm", **options)
    assert isinstance(credit, Credit)
    return credit


def _card(reward: float) -> Batch:
    return Batch.from_turns([[1] * 4], outcome=[reward])


@pytest.mark.parametrize(
    ("reward", "terminal", "a", "q"),
    [
        (1.0, "replace", [0.6416, 0.5175, 0.6500], [0.9095, 0.9416, 0.9675, 1.0]),
        (0.0, "replace", [-0.2609, -0.4325, -0.3500], [0.0522, 0.0391, 0.0175, 0.0]),
        (1.0, "literal", [1.2734, 1.1825, 1.3500], [1.5097, 1.5734, 1.6325, 1.0]),
    ],
)
def test_worked_example_of_the_card(reward: float, terminal: str, a: list[float], q: list[float]) -> None:
    credit = _run(_card(reward), promise=_M, form="gae", terminal=terminal)
    assert credit.kind == "advantage"
    assert_allclose(credit.unit[1:], a, atol=5e-5)
    assert_allclose(credit.unit[0], q[0], atol=5e-5)  # V_0 = 0
    target = _run(_card(reward), promise=_M, form="target", terminal=terminal)
    assert target.kind == "reward"
    assert_allclose(target.unit, q, atol=5e-5)
    assert_allclose(target.parts["gae"], credit.unit)


def test_worked_losses_and_progress_of_the_card() -> None:
    right, wrong = (_run(_card(r), promise=_M) for r in (1.0, 0.0))
    assert_allclose([right.diagnostics["loss_q"], right.diagnostics["loss_a"]], [0.1356, 0.0218], atol=5e-5)
    assert_allclose([wrong.diagnostics["loss_q"], wrong.diagnostics["loss_a"]], [0.1038, 0.0280], atol=5e-5)
    assert_allclose(right.unit, [0.30, 0.15, -0.10, 0.35])
    assert_array_equal(right.unit, wrong.unit)  # the model's word alone
    assert_array_equal(_run(_card(1.0), promise=_M, form="promise").unit, _M)
    assert _run(_card(1.0), promise=_M, form="promise").kind == "reward"


def test_read_literally_the_outcome_counts_twice() -> None:
    """The trap: a perfect model (M_t = R) is its own target, unless M_T is added to R once more."""
    for reward in (1.0, 0.0):
        for m in (np.full(5, reward), np.random.default_rng(0).random(5)):
            batch = Batch.from_turns([[1] * 5], outcome=[reward])
            target, literal = (_run(batch, promise=m, form="target", terminal=t).unit for t in ("replace", "literal"))
            assert ((target >= 0) & (target <= 1)).all()
            assert_allclose((literal - target)[:-1], m[-1] * 0.95 ** np.arange(4, 0, -1))
            assert literal[-1] == reward
    assert_array_equal(_run(_card(1.0), promise=np.ones(4), form="gae").unit, [1.0, 0.0, 0.0, 0.0])


def test_its_advantage_is_gae_with_the_promise_of_the_step_before_as_the_value() -> None:
    """Under terminal='replace', with values from elsewhere the two part."""
    batch = random_batch(2).with_columns(step_offsets=None, process=None, truncated=None, bootstrap=None)
    batch = batch.with_columns(turn_reward=None, token_reward=None)
    m = np.random.default_rng(0).random(batch.n_turns)
    before = np.append(0.0, m[:-1])
    before[batch.trajectory_turns[:-1]] = 0.0
    for gamma, lam in ((1.0, 0.95), (0.9, 0.5)):
        ours = _run(batch, promise=m, form="gae", gamma=gamma, lam=lam)
        value = before[batch.within("token", "turn")]
        gae = assign(batch, "gae", value=value, unit="turn", gamma=gamma, lam=lam)
        assert isinstance(gae, Credit)
        assert_allclose(ours.unit, gae.unit, atol=1e-12)
        identity = gamma * m + gamma * lam * np.append(ours.unit[1:], 0.0)
        last = batch.trajectory_turns[1:] - 1
        identity[last] = batch.reward
        assert_allclose(ours.parts["target"], identity, atol=1e-12)


def test_one_step_has_the_outcome_for_a_target() -> None:
    batch = Batch.from_turns([[2], [1]], outcome=[1.0, 0.0], group=[0, 0])
    assert_array_equal(_run(batch, promise=[0.4, 0.9], form="target").unit, [1.0, 0.0])
    assert_allclose(_run(batch, promise=[0.4, 0.9], form="gae", start="mean").unit, [0.5, -0.5])
    credit = _run(batch, promise=[0.4, 0.9], start="mean")
    assert_allclose(credit.unit, [-0.1, 0.4])
    assert credit.diagnostics["loss_a"] == 0.0


def test_the_start_shifts_the_first_step_only() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1, 1]], outcome=[1.0, 0.0], group=[0, 0])
    m = [0.5, 0.8, 0.4, 0.3, 0.1]
    for form in ("progress", "gae"):
        zero, mean = (_run(batch, promise=m, form=form, start=s).unit for s in ("zero", "mean"))
        assert_allclose(zero - mean, [0.5, 0, 0.5, 0, 0], atol=1e-15)
    for form in ("promise", "target"):
        zero, mean = (_run(batch, promise=m, form=form, start=s).unit for s in ("zero", "mean"))
        assert_allclose(zero, mean, atol=1e-15)
    with pytest.raises(MissingColumn, match="group"):
        _run(batch.with_columns(group=None), promise=m, start="mean")


def test_progress_sums_to_the_last_promise() -> None:
    batch = random_batch(3)
    m = np.random.default_rng(1).random(batch.n_steps)
    owner = batch.within("step", "trajectory")
    last = np.append(owner[1:] != owner[:-1], True)
    assert_allclose(np.bincount(owner, weights=_run(batch, promise=m).unit), m[last])


def test_bad_input_is_named() -> None:
    with pytest.raises(OptionError, match=r"'promise'\[2\] is null"):
        _run(_card(1.0), promise=[0.1, 0.2, np.nan, 0.4])
    outside: list[dict[str, Any]] = [{"gamma": 1.1}, {"lam": -0.1}]
    for wrong in outside:
        with pytest.raises(OptionError, match="from 0 to 1"):
            _run(_card(1.0), promise=_M, **wrong)
        with pytest.raises(OptionError, match="from 0 to 1"):
            learn(_world(4, 0)[0], "agentprm", **wrong)
    for fit_wrong in ({"folds": 1}, {"ridge": 0.0}, {"buckets": 0}, {"rounds": 0}, {"beta": -1.0}, {"memory": 0.0}):
        with pytest.raises(OptionError, match=f"{next(iter(fit_wrong))} = "):
            learn(_world(4, 0)[0], "agentprm", **fit_wrong)
    with pytest.raises(BatchError, match="at least two"):
        learn(_world(4, 0)[0].take([0]), "agentprm")


# --- the learned model ---------------------------------------------------------------------------------


def _world(n: int, seed: int, *, shuffled: bool = False, horizon: int = 5) -> tuple[Batch, np.ndarray]:
    """Binary actions; the number of ones, shown after every step, decides how likely success is. Returns exact Q."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, 2, (n, horizon))
    ones = np.concatenate([np.zeros((n, 1), dtype=np.int64), np.cumsum(actions, axis=1)], axis=1)
    q = (ones[:, 1:] + (horizon - 1 - np.arange(horizon)) / 2) / horizon  # expected share of ones at the end
    reward = (rng.random(n) < ones[:, -1] / horizon).astype(float)
    look = 100 + 10 * np.arange(horizon) + ones[:, :-1]
    ids = np.stack([look, actions], axis=2).ravel()
    outcome = rng.permutation(reward) if shuffled else reward
    batch = Batch.from_turns(
        [[2] * horizon] * n, action=[False, True] * (horizon * n), ids=ids, outcome=outcome, group=np.arange(n) // 4
    )
    return batch, q.ravel()


def _promise(batch: Batch, **options: Any) -> np.ndarray:
    learned = learn(batch, "agentprm", rng=0, buckets=256, **options)
    return np.asarray(learned.evidence(batch).arrays["promise"])


def test_it_comes_closer_to_the_exact_q_with_data() -> None:
    error = []
    for n in (30, 200, 2000):
        batch, q = _world(n, 1)
        error.append(float(np.sqrt(np.mean((_promise(batch) - q) ** 2))))
    assert error[0] > error[1] > error[2]
    assert error[2] < 0.06


def test_it_is_at_chance_on_shuffled_outcomes() -> None:
    skill = []
    for seed in range(10):
        batch, q = _world(300, seed, shuffled=True)
        skill.append(np.corrcoef(_promise(batch), q)[0, 1])
    assert abs(np.mean(skill)) < 0.1
    batch, q = _world(300, 0)
    assert np.corrcoef(_promise(batch), q)[0, 1] > 0.8


def test_no_outcome_reaches_its_own_promise() -> None:
    batch, _ = _world(40, 2)
    base = _promise(batch).reshape(40, -1)
    for i in (0, 23):
        changed = np.array(batch.outcome)
        changed[i] = 50.0
        other = _promise(batch.with_columns(outcome=changed)).reshape(40, -1)
        assert_array_equal(other[i], base[i])
        assert (other != base).any()


def test_equal_outcomes_are_promised_everywhere() -> None:
    batch, _ = _world(30, 3)
    batch = batch.with_columns(outcome=np.full(30, 0.1))
    assert_array_equal(_promise(batch), 0.1)
    assert_array_equal(_run(batch, fit=True, rng=0).unit.reshape(30, -1)[:, 1:], 0.0)


def test_one_round_is_the_minimum_of_both_losses() -> None:
    """Against the normal equations of the steps each row may see, written out densely."""
    batch, _ = _world(25, 4)
    n, steps, buckets, beta, ridge, lam = 25, 125, 64, 0.7, 2.0, 0.9
    learned = learn(batch, "agentprm", rng=0, buckets=buckets, beta=beta, ridge=ridge, rounds=1, lam=lam, gamma=0.8)
    seen = features(batch, "step", buckets=buckets, actions=3)
    x = np.zeros((steps, buckets + 1))
    for i, row in enumerate(seen):
        np.add.at(x[i], row, 1.0)
    x[:, -1] = 1.0
    part = learned.promise.fold[np.searchsorted(learned.promise.keys, trajectory_keys(batch))]
    penalty = np.diag(np.append(np.full(buckets, ridge * steps / n), 0.0))
    for k in range(6):  # five folds, and the row that is fitted on everything
        kept = np.flatnonzero((part != k)[batch.within("step", "trajectory")])
        m = np.full(steps, batch.reward[part != k].mean())
        q = _run(batch, promise=m, form="target", gamma=0.8, lam=lam).unit
        inner = kept[kept % 5 > 0]
        d, dq = x[inner] - x[inner - 1], q[inner] - q[inner - 1]
        share = beta * steps / (steps - n)
        total = x[kept].T @ x[kept] + share * d.T @ d + penalty
        w = np.linalg.solve(total, x[kept].T @ q[kept] + share * d.T @ dq)
        assert_allclose(np.delete(learned.promise.weights[k], buckets), w, atol=1e-9)


def test_the_progress_loss_and_the_rounds_matter() -> None:
    batch, q = _world(400, 5)
    assert not np.allclose(_promise(batch), _promise(batch, beta=0.0))
    short, long = _promise(batch, rounds=1, lam=0.5), _promise(batch, rounds=40, lam=0.5)
    assert np.mean((long - q) ** 2) < np.mean((short - q) ** 2)  # bootstrapping carries outcomes back, round by round


def test_it_goes_on_from_what_it_learned() -> None:
    first, _ = _world(200, 6)
    second, q = _world(40, 7)
    old = learn(first, "agentprm", rng=0, buckets=256)
    kept = {n: v.copy() for n, v in old.save().items()}
    new = learn(second, "agentprm", rng=0, buckets=256, state=old)
    assert isinstance(new, LearnedPromise)
    alone, carried = _promise(second), new.evidence(second).arrays["promise"]
    assert np.mean((carried - q) ** 2) < np.mean((alone - q) ** 2)
    for name, value in old.save().items():
        assert_array_equal(value, kept[name])  # nothing was changed in place
    with pytest.raises(OptionError, match="256 and 3"):
        learn(second, "agentprm", rng=0, buckets=128, state=old)


def test_what_was_met_before_stays_held_out() -> None:
    """An outcome seen in an earlier batch does not come back to its own trajectory through the state."""
    batch, _ = _world(40, 8)
    later, _ = _world(10, 9)
    later = Batch.from_turns(
        [[2] * 5] * 10, action=later.action, ids=later.ids, outcome=later.outcome, trajectory=[f"later {i}" for i in range(10)]
    )
    changed = np.array(batch.outcome)
    changed[7] = 50.0
    found = []
    for outcome in (batch.outcome, changed):
        home = batch.with_columns(outcome=outcome)
        state = learn(home, "agentprm", rng=0, buckets=256)
        state = learn(later, "agentprm", rng=1, buckets=256, state=state)
        again = learn(home, "agentprm", rng=2, buckets=256, state=state)
        found.append(again.evidence(home).arrays["promise"].reshape(40, 5))
        assert again.promise.keys.size == 50
    assert_array_equal(found[0][7], found[1][7])
    assert not np.allclose(found[0], found[1])


def test_it_goes_to_disk_and_on_from_there(tmp_path: Path) -> None:
    first, _ = _world(50, 10)
    second, _ = _world(50, 11)
    old = learn(first, "agentprm", rng=0, buckets=64)
    save_learned(old, tmp_path / "m.npz")
    back = load_learned(tmp_path / "m.npz")
    one, two = (learn(second, "agentprm", rng=3, buckets=64, state=s).evidence(second) for s in (old, back))
    assert_array_equal(one.arrays["promise"], two.arrays["promise"])
    assert old.bill.trained == 250
