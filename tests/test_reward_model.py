"""The learned reward model of whole texts: complete texts only, cross-fitted, better with data, chance on shuffled labels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch
from apportion.errors import BatchError, OptionError
from apportion.evidence.bill import Bill
from apportion.evidence.coalitions import Plan, step_values
from apportion.evidence.reward_model import LearnedReturn, LearnedReward, LearnedShapley, LearnedTokenReward
from apportion.evidence.text_model import TextModel, fit_text

Float = np.ndarray


def _world(n: int, seed: int, *, shuffled: bool = False) -> tuple[Batch, Float]:
    """Four binary actions after a prompt and a look; the reward is likelier after action 1 at the second one."""
    rng = np.random.default_rng(seed)
    prompt = rng.integers(0, 3, n)
    actions = rng.integers(0, 2, (n, 4))
    chance = 0.2 + 0.6 * (actions[:, 1] == prompt % 2)
    reward = (rng.random(n) < chance).astype(float)
    look = np.broadcast_to(50 + np.arange(4), (n, 4)).copy()
    look[:, 0] = 10 + prompt
    ids = np.stack([look, actions], axis=2).ravel()
    batch = Batch.from_turns(
        [[2] * 4] * n, action=[False, True] * (4 * n), ids=ids, outcome=rng.permutation(reward) if shuffled else reward,
        group=prompt.tolist(),
    )  # fmt: skip
    return batch, chance


def _fit(batch: Batch, seed: int = 0, **how: object) -> TextModel:
    given = {"rows": "complete", "folds": 5, "ridge": 3.0, "buckets": 256, **how}
    return fit_text(batch, "turn", np.random.default_rng(seed), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", ["complete", "prefixes"])
def test_it_improves_with_data_and_is_chance_on_shuffled_labels(rows: str) -> None:
    def skill(n: int, seed: int, shuffled: bool) -> float:
        batch, chance = _world(n, seed, shuffled=shuffled)
        return float(np.corrcoef(_fit(batch, rows=rows).score(batch), chance)[0, 1])

    few, many = skill(60, 1, False), skill(1500, 1, False)
    assert few < many
    assert many > 0.9
    assert abs(np.mean([skill(300, seed, True) for seed in range(12)])) < 0.1


def test_only_complete_texts_are_learned_from() -> None:
    """Two batches with equal bags of pieces and other orders in time are the same to it, up to the pieces of neighbours."""
    batch, _ = _world(50, 2)
    one = _fit(batch)
    prefixes = _fit(batch, rows="prefixes")
    assert not np.allclose(one.weights, prefixes.weights)
    last_only = _fit(batch, rows="prefixes", every=0.0)
    assert_allclose(last_only.weights, one.weights)


def test_no_reward_reaches_its_own_prediction() -> None:
    batch, _ = _world(40, 3)
    base = _fit(batch).score(batch)
    for i in (0, 17):
        flipped = batch.outcome.copy() if batch.outcome is not None else np.zeros(40)
        flipped[i] = 100.0
        other = batch.with_columns(outcome=flipped)
        changed = _fit(other).score(other)
        assert changed[i] == base[i]
        assert (changed != base).any()


def test_a_trajectory_it_never_saw_is_scored_by_all_folds() -> None:
    batch, _ = _world(60, 4)
    fresh, _ = _world(10, 5)
    model = _fit(batch)
    prompt, seen, done = model.parts(fresh)
    weights = model.weights[-1]
    whole = TextModel("turn", np.repeat(weights[None], 6, axis=0), model.keys, model.fold)
    assert_array_equal(model.score(fresh), whole.score(fresh))
    assert_allclose(model.score(fresh), prompt + (seen + done).reshape(10, 4).sum(axis=1))


def test_equal_rewards_score_that_reward_everywhere() -> None:
    batch, _ = _world(30, 6)
    model = _fit(batch.with_columns(outcome=np.full(30, 0.1)))
    assert_allclose(model.score(batch), 0.1, atol=1e-15)
    assert_array_equal(model.weights[:, :-1], 0.0)


def test_it_is_ridge_regression_on_its_pieces() -> None:
    from apportion.evidence.text_pieces import pieces

    batch, _ = _world(40, 7)
    opening, units = pieces(batch, "turn", 256)
    x = np.zeros((40, 257))
    for i in range(40):
        np.add.at(x[i], opening[i], 1.0)
        np.add.at(x[i], units[4 * i : 4 * i + 4].ravel(), 1.0)
    x, y = x[:, :256], batch.reward
    w = np.linalg.solve((x - x.mean(0)).T @ (x - x.mean(0)) + 3.0 * np.eye(256), (x - x.mean(0)).T @ (y - y.mean()))
    got = _fit(batch).weights[-1]
    assert_allclose(got[:256], w, atol=1e-9)
    assert_allclose(got[-1], y.mean() - x.mean(0) @ w, atol=1e-9)


def test_what_is_read_off_it_adds_up() -> None:
    batch, _ = _world(30, 8)
    model = _fit(batch)
    bill = Bill()
    reward = LearnedReward(model, bill).evidence(batch).arrays
    assert_allclose(reward["final_score"], model.score(batch))
    prompt, seen, done = (x if x.size == 30 else x.reshape(30, 4) for x in model.parts(batch))
    before = reward["prefix_score"].reshape(30, 4, 2)[:, :, 1]
    assert_allclose(before[:, 0], prompt + seen[:, 0])
    assert_allclose(before[:, 2], prompt + seen[:, :3].sum(1) + done[:, :2].sum(1))
    g = LearnedReturn(model, bill).evidence(batch).arrays["prediction"].reshape(30, 4)
    assert_allclose(g[:, -1], model.score(batch))
    assert_allclose(g[:, 1], prompt + seen[:, :2].sum(1) + done[:, :2].sum(1))
    token = LearnedTokenReward(model, bill).evidence(batch).arrays["token_score"].reshape(30, 4, 2)
    assert_array_equal(token[:, :, 0], 0.0)
    assert_allclose(token[:, :, 1], done)


def test_within_a_unit_the_score_moves_in_equal_parts() -> None:
    ids = [1, 2, 3, 4, 1, 5, 6, 7] * 3
    batch = Batch.from_turns([[4]] * 6, action=[False, True, True, True] * 6, ids=ids, outcome=[1.0, 0.0] * 3)
    model = _fit(batch, folds=3)
    score = LearnedReward(model, Bill()).evidence(batch).arrays["prefix_score"].reshape(6, 4)
    prompt, seen, done = model.parts(batch)
    assert np.abs(done).min() > 0.01
    assert_allclose(score[:, 1], prompt + seen)
    assert_allclose(np.diff(score[:, 1:], axis=1), np.repeat(done[:, None] / 3, 2, axis=1))


@pytest.mark.parametrize("observed", [True, False])
def test_shapley_values_of_blanked_steps_are_exact(observed: bool) -> None:
    """The closed form against all 2^n blanked texts, with and without observations between the steps."""
    rng = np.random.default_rng(9)
    lengths = [[2] * n for n in (4, 1, 3, 5, 2, 4, 4, 3)]
    n = sum(map(len, lengths))
    lead = [False] if observed else [True]
    action = np.concatenate([np.tile([*lead, True], len(x)) for x in lengths])
    action[np.cumsum([0, *(2 * len(x) for x in lengths)])[:-1]] = False
    batch = Batch.from_turns(lengths, action=action, ids=rng.integers(0, 3, 2 * n), outcome=rng.normal(size=8))
    model = _fit(batch, ridge=0.1, buckets=64)
    learned = LearnedShapley(model, Bill(trained=1.0))
    found = learned.evidence(batch)
    whole = model.score(batch)
    asked, how = step_values(batch, lambda keep: model.score(batch, keep), whole, Plan(players=5), np.random.default_rng(0))
    assert how["exact"] == 1.0
    assert np.abs(asked).max() > 0.05
    assert_allclose(found.arrays["shapley"], asked, atol=1e-12)
    tokens = np.array([a.sum() for a in np.split(action, np.cumsum([2 * len(x) for x in lengths])[:-1])])
    assert found.bill.scored == (tokens * np.array([len(x) for x in lengths]) ** 2).sum()
    again = LearnedShapley.load(learned.save())
    assert isinstance(again, LearnedShapley)
    assert_array_equal(again.evidence(batch).arrays["shapley"], found.arrays["shapley"])
    assert again.bill == learned.bill


def test_bad_settings_are_refused() -> None:
    batch, _ = _world(5, 0)
    with pytest.raises(BatchError, match="at least two"):
        _fit(batch.take([0]))
    for wrong in ({"folds": 1}, {"ridge": 0.0}, {"buckets": 0}, {"final": 0.0, "every": 0.0}):
        with pytest.raises(OptionError, match=f"{next(iter(wrong))} = "):
            _fit(batch, **wrong)
    with pytest.raises(ValueError, match="rows"):
        _fit(batch, rows="some")
