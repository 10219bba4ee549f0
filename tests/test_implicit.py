"""The implicit reward model: its gradient, its normalisation, what it learns, what it must not see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Learned
from apportion.evidence.implicit import LearnedImplicit, fit_implicit, pairs_of
from apportion.evidence.implicit_design import slots
from apportion.evidence.learned import trajectory_keys
from apportion.methods import from_r_to_q, itpo, prime
from apportion.ops.lbfgs import minimise
from apportion.ops.unit_means import against_means

METHODS = [prime, itpo, from_r_to_q]


def _world(n: int, seed: int = 0, *, informative: bool = True) -> tuple[Batch, Any]:
    """Two turns: at the first a word in three is right for what is seen, at the second nothing matters."""
    rng = np.random.default_rng(seed)
    seen, word, idle = rng.integers(0, 3, n), rng.integers(0, 3, n), rng.integers(0, 3, n)
    right = seen == word
    chance = np.where(right, 0.9, 0.2) if informative else np.full(n, 0.5)
    ids = np.stack([100 + seen, 10 + word, np.full(n, 50), 10 + idle], axis=1)
    batch = Batch.from_turns(
        [[2, 2]] * n, action=[False, True] * (2 * n), ids=ids.ravel(), ref_logp=np.tile([0.0, -np.log(3)], 2 * n),
        logp=np.tile([0.0, -np.log(3)], 2 * n), outcome=(rng.random(n) < chance).astype(float), group=np.arange(n) // 5,
    )  # fmt: skip
    return batch, right


def _fit(batch: Batch, *, pairs: bool = False, seed: int = 0, **options: Any) -> LearnedImplicit:
    given: dict[str, Any] = {
        "beta": 1.0, "reference": "frozen", "folds": 5, "ridge": 3.0, "buckets": 4096, "steps": 40, **options
    }  # fmt: skip
    labels = None if pairs else batch.solved.astype(float)
    return fit_implicit(batch, "x_logp", np.random.default_rng(seed), labels=labels, **given)


def _contrast(batch: Batch, right: Any, model: LearnedImplicit) -> float:
    """How well the log-ratio of the first word, in standard deviations, tells right from wrong."""
    ratio = model.log_ratio(batch).reshape(-1, 4)[:, 1]
    return float(np.corrcoef(ratio, right)[0, 1])


@pytest.mark.parametrize("pairs", [False, True])
def test_it_improves_with_data_and_finds_the_word_that_matters(pairs: bool) -> None:
    found = [np.mean([_contrast(*w, _fit(w[0], pairs=pairs)) for w in (_world(n, s) for s in range(3))]) for n in (20, 200, 2000)]
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.9
    batch, _ = _world(2000)
    ratio = np.abs(_fit(batch, pairs=pairs).log_ratio(batch).reshape(-1, 4))
    assert ratio[:, 1].mean() > 5 * ratio[:, 3].mean()  # the idle word is left alone
    assert_array_equal(ratio[:, [0, 2]], 0.0)


@pytest.mark.parametrize("pairs", [False, True])
def test_shuffled_labels_teach_nothing(pairs: bool) -> None:
    batch, right = _world(2000)
    shuffled = batch.with_columns(outcome=np.random.default_rng(1).permutation(batch.need("outcome")))
    model = _fit(shuffled, pairs=pairs)
    assert abs(_contrast(batch, right, model)) < 0.4  # nine cells of chance
    score = model.log_ratio(shuffled).reshape(-1, 4).sum(axis=1)
    assert abs(np.corrcoef(score, shuffled.reward)[0, 1]) < 0.06


def test_it_recovers_the_log_odds_when_told_them() -> None:
    """With all rollouts alike but for one word, sigmoid(beta (s_a - s_b)) of pairs is their share."""
    batch, right = _world(6000)
    ratio = _fit(batch, pairs=True, ridge=1e-3, beta=0.5).log_ratio(batch).reshape(-1, 4)[:, 1]
    gap = 0.5 * (ratio[right].mean() - ratio[~right].mean())
    assert_allclose(gap, np.log(0.9 / 0.1) - np.log(0.2 / 0.8), atol=0.25)


def test_the_policy_it_learns_is_normalised_over_what_the_batch_shows() -> None:
    batch, _ = _world(500)
    table = slots(batch, "turn", 4096, "frozen")
    theta = np.random.default_rng(0).normal(size=4097)
    theta[-1] = 0.0
    ratio, pi, _, _ = table.forward(theta)
    assert_allclose(pi, table.p * np.exp(ratio))
    per_pair = np.zeros(table.share.size)
    per_pair[table.pair] = pi
    assert_allclose(np.bincount(table.slot, weights=per_pair), 1.0, atol=1e-9)  # all three words are seen everywhere


def test_what_the_batch_does_not_show_keeps_its_mass_and_no_probability_exceeds_one() -> None:
    rng = np.random.default_rng(0)
    batch = Batch.from_turns(
        [[2]] * 30, ids=rng.integers(0, 4, 60), ref_logp=-rng.exponential(size=60), outcome=rng.integers(0, 2, 30)
    )
    theta = rng.normal(size=65) * 3
    theta[-1] = 0.0
    ratio, pi, _, _ = slots(batch, "turn", 64, "frozen").forward(theta)
    assert (pi <= 1 + 1e-12).all()
    assert np.isfinite(ratio).all()
    lone = Batch.from_turns([[1]], ids=[3], ref_logp=[np.log(0.25)], outcome=[1.0])
    table = slots(lone, "turn", 8, "frozen")
    theta = np.zeros(9)
    theta[table.seen[0]] = 0.5
    g = theta[table.seen[0]].sum()
    assert_allclose(table.log_ratio(theta), g - np.log(0.25 * np.exp(g) + 0.75))


def test_a_token_the_reference_was_sure_of_gets_nothing() -> None:
    batch, _ = _world(50)
    sure = batch.with_columns(ref_logp=np.where(np.arange(200) % 4 == 1, -1e-12, batch.need("ref_logp")))
    assert_array_equal(_fit(sure).log_ratio(sure).reshape(-1, 4)[:, 1], 0.0)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_the_gradient_is_that_of_the_log_ratio(spread: float) -> None:
    rng = np.random.default_rng(0)
    batch, _ = _world(40)
    batch = batch.with_columns(ref_logp=np.minimum(batch.need("ref_logp") * (1 + spread * rng.random(160)), 0.0))
    table = slots(batch, "turn", 32, "frozen")
    theta, a = rng.normal(size=33), rng.normal(size=table.token.size)
    _, pi, mass, others = table.forward(theta)
    step = 1e-6 * np.eye(33)
    numeric = np.array([(a @ table.log_ratio(theta + s) - a @ table.log_ratio(theta - s)) / 2e-6 for s in step])
    assert_allclose(table.gradient(a, pi, mass, others, 33), numeric, atol=1e-6)


def test_log_ratios_do_not_overflow() -> None:
    batch, _ = _world(40)
    table = slots(batch, "turn", 32, "frozen")
    theta = np.random.default_rng(0).normal(size=33) * 1e4
    ratio, pi, mass, others = table.forward(theta)
    assert np.isfinite(ratio).all()
    assert np.isfinite(table.gradient(np.ones(ratio.size), pi, mass, others, 33)).all()


@pytest.mark.parametrize("pairs", [False, True])
def test_no_trajectory_is_scored_by_weights_that_saw_its_reward(pairs: bool) -> None:
    batch, _ = _world(30)
    before = _fit(batch, pairs=pairs).log_ratio(batch).reshape(-1, 4)
    for i in (0, 7, 29):
        outcome = batch.need("outcome").copy()
        outcome[i] = 1.0 - outcome[i]
        after = _fit(batch.with_columns(outcome=outcome), pairs=pairs).log_ratio(batch).reshape(-1, 4)
        if not pairs:  # a pair's weight counts its prompt's pairs, and so the label, of rollouts held out
            assert_array_equal(after[i], before[i])
        assert (after != before).any()


@pytest.mark.parametrize("method", METHODS)
def test_state_keys_and_texts_beside_ids_are_never_read(method: Any) -> None:
    batch, _ = _world(20)
    more: dict[str, Any] = {
        "state": np.arange(batch.n_prefixes),
        "text": ("x",) * batch.n_turns,
        "node": np.arange(batch.n_turns),
    }
    found = [method.fit(b, rng=np.random.default_rng(0)).evidence(b).arrays for b in (batch, batch.with_columns(**more))]
    for name, array in found[0].items():
        assert_array_equal(array, found[1][name])


@pytest.mark.parametrize("method", METHODS)
def test_saving_and_loading_changes_no_bit_at_home_and_abroad(method: Any) -> None:
    batch, _ = _world(30)
    taught = method.fit(batch, rng=np.random.default_rng(0))
    assert isinstance(taught, Learned)
    again = LearnedImplicit.load(taught.save())
    assert again.bill == taught.bill
    for home in (batch, _world(10, seed=5)[0]):
        a, b = taught.evidence(home), again.evidence(home)
        assert a.provenance == "learned"
        a.check(home)
        for name, array in a.arrays.items():
            assert (array <= 0).all()
            assert_array_equal(array, b.arrays[name])


def test_strangers_are_scored_by_the_model_fitted_on_everything() -> None:
    batch, _ = _world(200)
    stranger, right = _world(200, seed=9)
    model = _fit(batch)
    table = slots(stranger, "turn", 4096, "frozen")
    full = np.zeros(stranger.n_tokens)
    full[table.token] = table.log_ratio(model.weights[-1])
    new = ~np.isin(trajectory_keys(stranger), model.keys)  # texts this short may meet again
    assert new.mean() > 0.9
    known = new[stranger.within("token", "trajectory")]
    assert_array_equal(model.log_ratio(stranger)[known], full[known])
    assert _contrast(stranger, right, model) > 0.8


def test_it_pays_for_what_it_trains_on_and_scores() -> None:
    batch, _ = _world(40)
    model = _fit(batch)
    assert (model.bill.trained, model.bill.scored) == (80.0, 80.0)
    assert model.evidence(batch).bill.scored == 160.0
    policy = _fit(batch, reference="policy")
    assert (policy.bill.scored, policy.evidence(batch).bill.scored) == (0.0, 80.0)
    lonely = batch.with_columns(outcome=np.where(batch.within("trajectory", "group") > 0, 1.0, np.arange(40) % 2))
    assert _fit(lonely, pairs=True).bill.trained == 10.0  # one prompt of five rollouts has pairs


def test_pairs_are_all_solved_against_all_unsolved_of_a_prompt_and_weigh_half_of_it() -> None:
    batch = Batch.from_turns([[1]] * 7, outcome=[1, 0, 0, 1, 1, 0, 0], group=[0, 1, 0, 1, 0, 2, 2])
    up, down, weight = pairs_of(batch)
    assert sorted(zip(up.tolist(), down.tolist(), strict=True)) == [(0, 2), (3, 1), (4, 2)]
    assert_allclose(weight[np.argsort(up)], [0.75, 1.0, 0.75])


def test_steps_are_told_apart_where_a_batch_has_them() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, (40, 4))
    batch = Batch.from_turns(
        [[4]] * 40, steps=[[2, 2]] * 40, ids=ids.ravel(), ref_logp=np.full(160, -np.log(3)), group=np.zeros(40, dtype=int),
        outcome=(ids[:, 2] == 1).astype(float),
    )  # fmt: skip
    model = _fit(batch)
    assert model.axis == "step"
    ratio = model.log_ratio(batch).reshape(40, 4)
    assert np.corrcoef(ratio[:, 2], ids[:, 2] == 1)[0, 1] > 0.9


def test_senseless_settings_are_refused() -> None:
    batch, _ = _world(8)
    for options in ({"folds": 1}, {"ridge": 0.0}, {"buckets": 0}, {"steps": 0}, {"beta": 0.0}):
        with pytest.raises(OptionError, match="expected at least 2, above 0"):
            _fit(batch, **options)
    with pytest.raises(ValueError, match="reference"):
        _fit(batch, reference="nobody")
    with pytest.raises(BatchError, match="one trajectory cannot be held out"):
        _fit(batch.take([0]))
    with pytest.raises(MissingColumn, match="'ids' is missing to learn an implicit reward"):
        _fit(batch.with_columns(ids=None, text=("a",) * batch.n_turns))
    with pytest.raises(MissingColumn, match="ref_logp"):
        _fit(batch.with_columns(ref_logp=None))


def test_a_batch_in_which_the_reference_had_no_choice_gives_no_log_ratio() -> None:
    batch, _ = _world(8)
    sure = batch.with_columns(ref_logp=np.zeros(batch.n_tokens))
    assert_array_equal(_fit(sure).log_ratio(sure), 0.0)


def test_the_learned_model_lifts_prime_over_its_outcome_term_on_a_world_it_can_learn() -> None:
    batch, right = _world(800)
    credit = assign(batch, "prime", fit=True, rng=0, beta=1.0)
    rloo = assign(batch, "rloo")
    assert isinstance(credit, Credit)
    assert isinstance(rloo, Credit)
    first, second = (credit.token.reshape(-1, 4)[:, j] for j in (1, 3))
    # the difference of two returns is the first token's own process reward
    assert np.corrcoef(first - second, right)[0, 1] > 0.8
    plain = rloo.token.reshape(-1, 4)
    assert_array_equal(plain[:, 1], plain[:, 3])


# --- the primitives it stands on -----------------------------------------------------------------------------


def test_minimise_finds_the_bottom_of_a_bent_valley() -> None:
    def rosenbrock(x: Any) -> tuple[float, Any]:
        value = float((1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)
        return value, np.array([-2 * (1 - x[0]) - 400 * x[0] * (x[1] - x[0] ** 2), 200 * (x[1] - x[0] ** 2)])

    assert_allclose(minimise(rosenbrock, np.array([-1.2, 1.0]), steps=200, tolerance=1e-10), [1.0, 1.0], atol=1e-8)
    assert_array_equal(minimise(rosenbrock, np.array([-1.2, 1.0]), steps=0), [-1.2, 1.0])


def test_minimise_takes_about_as_many_steps_as_a_quadratic_has_directions() -> None:
    rng = np.random.default_rng(0)
    a = np.diag(10.0 ** np.arange(-2, 4))
    b = rng.normal(size=6)
    calls = []

    def bowl(x: Any) -> tuple[float, Any]:
        calls.append(1)
        return float(x @ a @ x / 2 - b @ x), a @ x - b

    assert_allclose(minimise(bowl, np.zeros(6), steps=60), b / np.diag(a), rtol=1e-3)
    assert len(calls) < 100


def test_units_against_the_means_of_rollouts() -> None:
    x = np.array([1.0, 3.0, 5.0, 0.0, 9.0])
    owner, over = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 1])
    counted = np.array([True, True, True, False, True])
    got = against_means(x, owner, over, counted, single="raw")
    assert_allclose(got, [2 * 1 - 7, 2 * 3 - 7, 2 * 5 - 7, 0.0, 9.0])
    assert against_means(x, owner, over, counted, single="zero")[4] == 0.0
    with pytest.raises(BatchError, match="group 1 has a single trajectory"):
        against_means(x, owner, over, counted)


def test_equal_units_have_exactly_nothing_above_the_means() -> None:
    owner = np.repeat(np.arange(7), [1, 2, 3, 4, 5, 6, 7])
    got = against_means(np.full(owner.size, 0.1), owner, np.zeros(7, dtype=np.int64), np.ones(owner.size, dtype=np.bool_))
    assert_array_equal(got, 0.0)
