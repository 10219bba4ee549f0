"""Learned evidence: hashed features, cross-fitting, saving; what it sees and what it must not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch
from apportion.bench import bifurcation, world
from apportion.bench.layouts import to_batch
from apportion.errors import MissingColumn, OptionError
from apportion.evidence import Learned
from apportion.evidence.learned import Linear, features, fit_linear, trajectory_keys
from apportion.methods import gae, hcapo, pure
from apportion.ops.features import NONE, hashed_features, sample_of, sequence_hash
from apportion.ops.ridge import cross_fit, predict


def _world(n: int, seed: int = 0, *, informative: bool = True) -> tuple[Batch, Any]:
    """Two-turn rollouts whose success chance depends on what is seen at the first turn."""
    rng = np.random.default_rng(seed)
    seen = rng.integers(0, 4, n)
    chance = np.array([0.1, 0.4, 0.6, 0.95])[seen] if informative else np.full(n, 0.5)
    ids = rng.integers(0, 50, (n, 6))
    ids[:, 0] = 1000 + seen
    ids[:, 3] = 2000 + seen
    batch = Batch.from_turns(
        [[3, 3]] * n, action=[False, True, True] * (2 * n), ids=ids.ravel(), logp=-np.tile([0.0, 1, 1], 2 * n),
        outcome=(rng.random(n) < chance).astype(float), group=np.arange(n) % 4,
    )  # fmt: skip
    return batch, chance


def _fit(batch: Batch, **options: Any) -> Linear:
    y = batch.reward[batch.within("turn", "trajectory")]
    given = {"folds": 5, "ridge": 1.0, "buckets": 256, **options}
    return fit_linear(batch, "turn", y, np.random.default_rng(0), **given)


def test_cross_fit_solves_the_penalised_least_squares_of_the_other_folds() -> None:
    rng = np.random.default_rng(0)
    x, y, fold = rng.integers(0, 7, (60, 3)), rng.normal(size=60), rng.integers(0, 4, 60)
    dense = np.zeros((60, 7))
    for j in range(3):
        np.add.at(dense, (np.arange(60), x[:, j]), 1.0)
    dense = np.column_stack([dense[:, :6], np.ones(60)])  # 6 buckets; 6 itself means "no feature"
    weights = cross_fit(x, y, fold, folds=4, buckets=6, penalty=0.3)
    for k in range(5):
        kept = fold != k
        a = dense[kept].T @ dense[kept] + np.diag([0.3] * 6 + [0.0])
        expected = np.linalg.solve(a, dense[kept].T @ y[kept])
        assert_allclose(weights[k], [*expected[:6], 0.0, expected[6]], atol=1e-10)
    assert_allclose(predict(weights, np.full(60, 4), x), dense @ weights[4][[0, 1, 2, 3, 4, 5, 7]], atol=1e-12)


def test_samples_are_the_smallest_distinct_hashes_of_a_segment() -> None:
    keys = np.array([5, 3, 3, 9, 4], dtype=np.uint64)
    assert_array_equal(sample_of(keys, np.array([0, 4, 5]), 2), np.array([[3, 5], [4, NONE]], dtype=np.uint64))
    hashes = sequence_hash(np.array([1, 2, 2, 1, 1, 2], dtype=np.uint64), np.array([0, 2, 4, 6]))
    assert hashes[0] == hashes[2] != hashes[1]  # order matters, place in the batch does not


def test_features_do_not_depend_on_anything_at_or_after_the_action_unless_asked() -> None:
    rng = np.random.default_rng(0)
    ids, action = rng.integers(0, 50, 12), np.tile([False, True, True], 4)
    offsets, first = np.arange(0, 13, 3), np.array([0, 0, 2, 2])
    other = np.where(action, rng.integers(50, 99, 12), ids)
    assert_array_equal(hashed_features(ids, action, offsets, first), hashed_features(other, action, offsets, first))
    with_action = [hashed_features(x, action, offsets, first, actions=2) for x in (ids, other)]
    assert (with_action[0] != with_action[1]).any(axis=1).all()


def test_features_are_the_same_in_any_company() -> None:
    batch, _ = _world(6)
    alone = features(batch.take([4]), "turn", buckets=512, actions=2)
    assert_array_equal(features(batch, "turn", buckets=512, actions=2)[8:10], alone)


def test_steps_share_what_was_seen_and_a_batch_without_observations_works() -> None:
    batch = Batch.from_turns([[5], [2]], steps=[[2, 1, 2], [2]], action=[False, True, True, True, True, True, True], ids=range(7))
    table = features(batch, "step", buckets=10**9, actions=0)
    constant = [j for j in range(table.shape[1]) if len(set(table[:3, j])) == 1]
    assert len(constant) == table.shape[1] - 4  # the position, and where the step before ended: alone, with topic and prompt
    assert (table[3] == 10**9).sum() == table.shape[1] - 1  # nothing was seen: the position is all there is


def test_values_improve_with_data_and_shuffled_labels_teach_nothing() -> None:
    errors = []
    for n in (40, 400, 4000):
        batch, chance = _world(n)
        errors.append(float(np.mean((_fit(batch).predict(batch)[::2] - chance) ** 2)))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.002
    batch, _ = _world(2000)
    shuffled = batch.with_columns(outcome=np.random.default_rng(1).permutation(batch.need("outcome")))
    held_out = _fit(shuffled).predict(batch)[::2]
    assert abs(np.corrcoef(held_out, shuffled.reward)[0, 1]) < 0.06
    assert np.mean((held_out - shuffled.reward) ** 2) > 0.97 * shuffled.reward.var()


def test_no_trajectory_is_predicted_by_a_model_that_saw_its_reward() -> None:
    batch, _ = _world(30)
    before = _fit(batch).predict(batch)
    for i in (0, 7, 29):
        outcome = batch.need("outcome").copy()
        outcome[i] += 100.0
        after = _fit(batch.with_columns(outcome=outcome)).predict(batch)
        assert_array_equal(after[2 * i : 2 * i + 2], before[2 * i : 2 * i + 2])
        assert (after != before).any()


def test_known_trajectories_keep_their_fold_in_a_subset_and_strangers_get_the_full_model() -> None:
    batch, _ = _world(20)
    model = _fit(batch)
    some = [3, 11, 5]
    assert_array_equal(model.predict(batch.take(some)), model.predict(batch).reshape(20, 2)[some].ravel())
    stranger, _ = _world(20, seed=9)  # the same trajectory ids with other tokens
    assert not np.isin(trajectory_keys(stranger), model.keys).any()
    full = predict(model.weights, np.full(40, 5), features(stranger, "turn", buckets=256, actions=0))
    assert_array_equal(model.predict(stranger), full)


@pytest.mark.parametrize("id_", ["gae", "pure", "hcapo"])
def test_saving_and_loading_changes_no_bit(id_: str) -> None:
    batch, _ = _world(30)
    taught: Any = {"gae": gae, "pure": pure, "hcapo": hcapo}[id_].fit(batch, rng=np.random.default_rng(0))
    assert isinstance(taught, Learned)
    rebuilt: Any = type(taught)
    again = rebuilt.load(taught.save())
    assert again.bill == taught.bill
    for home in (batch, _world(10, seed=5)[0]):
        a, b = taught.evidence(home), again.evidence(home)
        assert a.provenance == "learned"
        a.check(home)
        for name, array in a.arrays.items():
            assert np.isfinite(array).all()
            assert_array_equal(array, b.arrays[name])


@pytest.mark.parametrize("method", [gae, pure, hcapo])
def test_state_keys_groups_and_texts_beside_ids_are_never_read(method: Any) -> None:
    batch, _ = _world(20)
    n = batch.n_prefixes
    labelled = batch.with_columns(state=np.arange(n), text=("x",) * batch.n_turns, node=np.arange(batch.n_turns))
    found = [method.fit(b, rng=np.random.default_rng(0)).evidence(b).arrays for b in (batch, labelled)]
    for name, array in found[0].items():
        assert_array_equal(array, found[1][name])


def test_words_stand_in_for_ids_and_show_only_what_came_before() -> None:
    text = ["go left", "found key", "go right", "found nothing"]
    batch = Batch.from_turns([[1, 1], [1, 1]], text=text, outcome=[1.0, 0.0])
    told = batch.with_columns(text=("go left", "found gold", "go right", "found nothing"))
    assert_array_equal(features(batch, "turn", buckets=512, actions=0), features(told, "turn", buckets=512, actions=0))
    assert (features(batch, "turn", buckets=512, actions=2)[1] != features(told, "turn", buckets=512, actions=2)[1]).any()
    with pytest.raises(MissingColumn, match="column 'ids' is missing to learn from what the policy saw"):
        features(batch.with_columns(text=None), "turn", buckets=512, actions=0)


def test_senseless_settings_are_refused() -> None:
    batch, _ = _world(4)
    for options in ({"folds": 1}, {"ridge": 0.0}, {"buckets": 0}):
        with pytest.raises(OptionError, match="expected at least 2, above 0, at least 1"):
            _fit(batch, **options)


def test_the_critic_of_the_benchmark_world_beats_the_mean_of_the_prompt() -> None:
    task = bifurcation.build("bifurcation/horizon-20")
    rollouts = world.roll(task, task.start_theta, 64, 8, np.random.default_rng(0))
    batch = to_batch(rollouts)
    reward = batch.reward.reshape(-1, 8)
    others = (reward.sum(axis=1, keepdims=True) - reward) / 7
    value = gae.fit(batch, rng=np.random.default_rng(1)).value.predict(batch).reshape(512, 20)
    assert np.mean((value[:, -1] - batch.reward) ** 2) < 0.9 * np.mean((others.ravel() - batch.reward) ** 2)
