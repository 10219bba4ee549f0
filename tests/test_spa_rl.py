"""SPA-RL: the card's worked example, the two traps of its code, and its estimator of sums."""

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
from apportion.ops.groups import standardise, whiten

from .batches import random_batch

_C, _V = np.array([0.2, 0.5, 0.4, 0.3, -0.1]), np.array([1.0, 0.8, 0.5, 0.6, 0.4])


def _run(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "spa_rl", **options)
    assert isinstance(credit, Credit)
    return credit


def _card() -> Batch:
    return Batch.from_turns([[1, 1, 1], [1, 1]], outcome=[1.0, 0.0], turn_reward=[1.0, 0.0, 1.0, 1.0, 1.0], group=[0, 0])


def test_worked_example_of_the_card() -> None:
    credit = _run(_card(), progress=_C, form="reward")
    assert credit.kind == "reward"
    assert_allclose(credit.unit, [0.70, 0.50, 0.90, 0.80, 0.40])
    assert_allclose(credit.diagnostics["error"] ** 2, 0.0250)
    exact = _run(_card(), progress=_C, form="reward", exact=True, beta=0.0)
    assert_allclose(exact.unit, [0.1667, 0.4667, 0.3667, 0.2, -0.2], atol=5e-5)
    code = _run(_card(), progress=_C, form="reward", remaining_steps_weight=True)
    assert_allclose(code.unit, [1.40, 0.50, 0.0, 0.80, 0.0])
    ppo = _run(_card(), progress=_C, value=_V, whiten=False)
    assert ppo.kind == "advantage"
    assert_allclose(ppo.unit, [1.0510, 0.5800, 0.4000, 0.6000, 0.0000], atol=5e-5)
    assert_allclose(ppo.targets["value"], ppo.unit + _V)
    assert ppo.loss.denominator == "token"


def test_the_steps_of_a_rollout_are_told_apart_by_the_estimator() -> None:
    """The trap: what the released data script trains on is leave-one-out, the same for all steps."""
    batch = _card().with_columns(turn_reward=None)
    overwritten = standardise(batch.reward, batch.within("trajectory", "group"), baseline="leave_one_out")
    ours = _run(batch, progress=_C, form="reward").unit
    assert_array_equal(ours, _C)
    assert np.abs(ours - overwritten[batch.within("step", "trajectory")]).min() > 0.1
    other = _run(batch, progress=_C[::-1].copy(), form="reward").unit
    assert (other != ours).any()


def test_a_last_step_is_paid_unless_the_code_is_asked_for() -> None:
    batch = random_batch(1)
    c = np.random.default_rng(0).random(batch.n_steps) + 0.1
    owner = batch.within("step", "trajectory")
    last = np.flatnonzero(np.append(owner[1:] != owner[:-1], True))
    assert _run(batch, progress=c, form="reward", beta=0.0).unit[last].all()
    assert not _run(batch, progress=c, form="reward", remaining_steps_weight=True).unit[last].any()


def test_exact_contributions_add_up_to_the_outcome() -> None:
    batch = random_batch(2)
    c = np.random.default_rng(0).normal(size=batch.n_steps)
    owner = batch.within("step", "trajectory")
    for exact in (True, False):
        credit = _run(batch, progress=c, form="reward", exact=exact, beta=0.0, alpha=2.0)
        total = np.bincount(owner, weights=credit.unit) / 2.0
        gap = np.sqrt(np.mean((total - batch.need("outcome")) ** 2))
        assert_allclose(gap, 0.0 if exact else credit.diagnostics["error"], atol=1e-12)


def test_bonuses_stand_on_the_last_step_of_their_turn_and_penalties_on_their_tokens() -> None:
    batch = Batch.from_turns(
        [[4, 3]], steps=[[2, 2, 3]], action=[0, 1, 1, 1, 0, 1, 0], outcome=[0.0], turn_reward=[1.0, 0.0],
        token_reward=[0, -0.1, 0, 0, 0, -0.2, 0.0],
    )  # fmt: skip
    credit = _run(batch, progress=[0.1, 0.2, 0.3], form="reward")
    assert_allclose(credit.unit, [0.1, 0.7, 0.3])
    assert_allclose(credit.token, [0, 0.1, 0, 0.7, 0, 0.3, 0])
    to_go = _run(batch, progress=[0.1, 0.2, 0.3], value=np.zeros(7), lam=1.0, whiten=False)
    assert_allclose(to_go.token, [0, 0.8, 0.8, 0.8, 0, 0.1, 0])
    assert_allclose(to_go.unit, [0.8, 0.8, 0.1])
    whole = _run(batch, progress=[0.1, 0.2, 0.3], value=np.zeros(7), lam=1.0)
    assert_allclose(whole.token, whiten(to_go.token, batch.action))
    nobody = _run(batch.with_columns(turn_reward=None), progress=[0.1, 0.2, 0.3], form="reward")
    assert_allclose(nobody.unit, [0.1, 0.2, 0.3])


def test_gae_skips_observations_and_trl_runs_through_them() -> None:
    batch = Batch.from_turns([[2, 2]], action=[0, 1, 0, 1], outcome=[1.0])
    c, v = [0.4, 0.5], [9.0, 0.6, 9.0, 0.2]
    skip = _run(batch, progress=c, value=v, lam=0.5, whiten=False)
    assert_allclose(skip.token, [0, (0.4 + 0.2 - 0.6) + 0.5 * 0.3, 0, 0.3])
    trl = _run(batch, progress=c, value=v, lam=0.5, whiten=False, semantics="trl")
    assert_allclose(trl.token, [0, (0.4 - 0.6) + 0.5 * (0.2 + 0.5 * 0.3), 0, 0.3])
    dense = Batch.from_turns([[2, 2]], outcome=[1.0])
    one, two = (_run(dense, progress=c, value=v, semantics=s).token for s in ("skip", "trl"))
    assert_array_equal(one, two)


def test_bad_input_is_named() -> None:
    with pytest.raises(OptionError, match=r"'progress'\[1\] is null"):
        _run(_card(), progress=[0.1, np.nan, 0.2, 0.3, 0.4], form="reward")
    with pytest.raises(OptionError, match=r"'value'\[3\] = nan"):
        _run(_card(), progress=_C, value=[0.1, 0.2, 0.3, np.nan, 0.4])
    with pytest.raises(MissingColumn, match="value"):
        _run(_card(), progress=_C)
    for name, wrong in (("gamma", 1.5), ("lam", -1.0)):
        options: dict[str, Any] = {name: wrong}
        with pytest.raises(OptionError, match="from 0 to 1"):
            _run(_card(), progress=_C, value=_V, **options)
    with pytest.raises(OptionError, match="gamma = 2"):
        learn(_world(4, 0)[0], "spa_rl", gamma=2.0)
    with pytest.raises(BatchError, match="at least two"):
        learn(_world(4, 0)[0].take([0]), "spa_rl")


# --- the learned estimator -------------------------------------------------------------------------------

_WORTH = np.array([0.0, 0.3, 0.1, 0.0])


def _world(n: int, seed: int, *, shuffled: bool = False) -> tuple[Batch, np.ndarray]:
    """Four binary actions; action 1 is worth .3 at the second place, .1 at the third, nothing elsewhere. Noise on the sum."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, 2, (n, 4))
    each = actions * _WORTH
    outcome = each.sum(axis=1) + rng.normal(0.0, 0.2, n)
    ids = np.stack([np.broadcast_to(50 + np.arange(4), (n, 4)), actions], axis=2).ravel()
    batch = Batch.from_turns(
        [[2] * 4] * n, action=[False, True] * (4 * n), ids=ids, outcome=rng.permutation(outcome) if shuffled else outcome
    )
    return batch, each


def _contrast(batch: Batch, **options: Any) -> np.ndarray:
    """How much more each place is paid for action 1 than for action 0, shape (4,)."""
    learned = learn(batch, "spa_rl", rng=0, **{"buckets": 128, **options})
    c = learned.evidence(batch).arrays["progress"].reshape(-1, 4)
    did = batch.need("ids").reshape(-1, 4, 2)[:, :, 1]
    return np.array([c[did[:, t] == 1, t].mean() - c[did[:, t] == 0, t].mean() for t in range(4)])


def test_from_sums_alone_it_finds_the_steps_that_pay_and_better_with_data() -> None:
    error = [np.mean([np.abs(_contrast(_world(n, seed)[0]) - _WORTH).max() for seed in range(4)]) for n in (30, 200, 1500)]
    assert error[0] > error[1] > error[2]
    assert error[2] < 0.06


def test_it_is_at_chance_on_shuffled_outcomes() -> None:
    found = np.mean([_contrast(_world(200, seed, shuffled=True)[0]) for seed in range(10)], axis=0)
    assert np.abs(found).max() < 0.05


def test_contributions_add_up_to_a_prediction_out_of_fold() -> None:
    batch, _ = _world(40, 1)
    learned = learn(batch, "spa_rl", rng=0, buckets=128)
    c = learned.evidence(batch).arrays["progress"].reshape(40, 4)
    assert_allclose(c.sum(axis=1), learned.model.score(batch))
    short = batch.take(np.arange(20))
    assert_array_equal(learned.evidence(short).arrays["progress"], c[:20].ravel())


def test_neither_progress_nor_value_knows_the_trajectorys_own_outcome() -> None:
    batch, _ = _world(30, 2)
    base = learn(batch, "spa_rl", rng=0, buckets=128, exact=True).evidence(batch).arrays
    changed = np.array(batch.outcome)
    changed[5] = 40.0
    home = batch.with_columns(outcome=changed)
    other = learn(home, "spa_rl", rng=0, buckets=128, exact=True).evidence(home).arrays
    assert_array_equal(base["progress"].reshape(30, 4)[5], other["progress"].reshape(30, 4)[5])
    assert_array_equal(base["value"].reshape(30, 8)[5], other["value"].reshape(30, 8)[5])
    assert not np.allclose(base["value"], other["value"])


def test_the_critic_expects_the_rewards_to_go() -> None:
    batch, _ = _world(1000, 3)
    batch = batch.with_columns(turn_reward=np.ones(4000))
    for beta, alpha, gamma, weight in ((0.5, 1.0, 1.0, False), (0.0, 2.0, 0.5, False), (0.5, 1.0, 1.0, True)):
        how: dict[str, Any] = {"beta": beta, "alpha": alpha, "gamma": gamma, "remaining_steps_weight": weight}
        learned = learn(batch, "spa_rl", rng=0, buckets=128, **how)
        found = learned.evidence(batch).arrays
        how.pop("gamma")
        r = _run(batch, progress=found["progress"], form="reward", **how).unit.reshape(1000, 4)
        to_go = r.copy()
        for t in (2, 1, 0):
            to_go[:, t] += gamma * to_go[:, t + 1]
        assert_allclose(found["value"].reshape(1000, 8)[:, 1::2].mean(axis=0), to_go.mean(axis=0), atol=0.03)


def test_bonuses_are_no_part_of_what_the_steps_add_up_to() -> None:
    batch, _ = _world(50, 4)
    plain = learn(batch, "spa_rl", rng=0, buckets=128).model.weights
    paid = batch.with_columns(turn_reward=np.arange(200.0), token_reward=np.tile([0.0, -1.0], 200))
    assert_array_equal(learn(paid, "spa_rl", rng=0, buckets=128).model.weights, plain)


def test_it_goes_to_disk_and_back(tmp_path: Path) -> None:
    batch, _ = _world(40, 5)
    learned = learn(batch, "spa_rl", rng=0, buckets=64)
    save_learned(learned, tmp_path / "p.npz")
    again = load_learned(tmp_path / "p.npz")
    fresh, _ = _world(10, 6)
    for name, values in learned.evidence(fresh).arrays.items():
        assert_array_equal(again.evidence(fresh).arrays[name], values)
    assert again.bill == learned.bill
    assert learned.bill.trained == 320
