"""iStar: the card's worked example, paper against code, masks, lone rollouts, and a reward model that goes on learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import apportion as ap
from apportion import Batch
from apportion.credit import Credit
from apportion.errors import MissingColumn, OptionError
from apportion.evidence import Learned, load_learned, save_learned
from apportion.evidence.implicit import LearnedImplicit
from apportion.methods.istar import fit

from .fakes import FakePolicy

_Q = np.array([2.0, 6.0, -1.0, -4.0, 1.0, 3.0])
_OLD = np.full(6, -9.0)
SMALL: dict[str, Any] = {"buckets": 4096, "folds": 2, "ridge": 3.0, "beta": 1.0}


def _card(**changes: Any) -> Batch:
    return Batch.from_turns([[1, 1], [1, 1, 1], [1]], **{"outcome": [1.0, 0.0, 0.0], "group": [0, 0, 0], "logp": _OLD, **changes})


def _istar(batch: Batch, **given: Any) -> Credit:
    if not {"learned", "fit", "policy"} & set(given):
        given = {"prm_logp": _OLD + _Q, **given}
    credit = ap.assign(batch, "istar", **given)
    assert isinstance(credit, Credit)
    return credit


def _close(got: Any, expected: Any) -> None:
    assert_allclose(got, expected, rtol=0, atol=5e-5)


# --- the formula ------------------------------------------------------------------------------------------------


def test_worked_example_of_the_card() -> None:
    credit = _istar(_card())
    _close(credit.unit, [1.1667, 1.9667, -0.9333, -1.5333, -0.5333, -0.1333])
    _close(credit.parts["episode"], [1.0, 1.0, -0.5, -0.5, -0.5, -0.5])
    _close(credit.parts["step"], [0.1667, 0.9667, -0.4333, -1.0333, -0.0333, 0.3667])
    assert_array_equal(credit.token, credit.unit)  # a token a turn
    assert (credit.loss.ratio, credit.loss.denominator) == ("token", "token")


def test_the_code_compares_every_step_with_first_steps_only() -> None:
    credit = _istar(_card(), step_baseline="first")
    _close(credit.parts["step"], [0.1667, 1.1667, -0.5833, -1.3333, -0.0833, 0.4167])
    _close(credit.unit, [1.1667, 2.1667, -1.0833, -1.8333, -0.5833, -0.0833])


def test_z_scores_are_those_of_the_card_with_the_sample_deviation() -> None:
    credit = _istar(_card(), estimator="z_score")
    _close(credit.parts["step"], [0.2429, 1.4090, -0.6316, -1.5062, -0.0486, 0.5345])
    _close(credit.parts["episode"][[0, 2, 5]], np.array([2, -1, -1]) / 3 / (np.sqrt(1 / 3) + 1e-6))
    first = _istar(_card(), estimator="z_score", step_baseline="first").parts["step"]
    x = _Q / 6
    _close(first, (x - x[[0, 2, 5]].mean()) / x[[0, 2, 5]].std(ddof=1))
    plain = _istar(_card(), estimator="mean")
    _close(plain.parts["step"], _istar(_card()).parts["step"] * 5 / 6)
    _close(plain.parts["episode"], _istar(_card()).parts["episode"] * 2 / 3)


def test_without_the_norm_rewards_are_the_papers() -> None:
    r = 0.05 * _Q
    credit = _istar(_card(), norm=False)
    assert_allclose(credit.parts["step"], (r - r.mean()) * 6 / 5)
    assert_allclose(_istar(_card(), norm=False, beta=0.1).parts["step"], 2 * credit.parts["step"])
    assert_allclose(_istar(_card(), beta=5.0).unit, _istar(_card()).unit, atol=1e-4)  # cancels in the norm


def test_the_norm_spans_all_prompts() -> None:
    batch = Batch.from_turns([[1], [1], [1], [1]], outcome=[1.0, 0.0, 1.0, 0.0], group=[0, 0, 1, 1], logp=[-9.0] * 4)
    q = np.array([1.0, 2.0, 4.0, 8.0])
    assert_allclose(_istar(batch, prm_logp=q - 9).parts["step"], np.array([-1, 1, -4, 4]) / 8, atol=1e-5)


def test_parts_can_be_weighed_dropped_or_merged() -> None:
    plain = _istar(_card())
    assert_allclose(_istar(_card(), omega=3.0).unit, plain.parts["episode"] + 3 * plain.parts["step"])
    assert_allclose(_istar(_card(), combine="process").unit, plain.parts["step"])
    r = _Q / 6 * 6 / (6 + 1e-6 / 0.05)
    x = np.array([1.0, 1, 0, 0, 0, 0]) + 0.5 * r
    assert_allclose(_istar(_card(), combine="merged", omega=0.5).unit, (x - x.mean()) * 6 / 5, atol=1e-9)
    first = (x - x[[0, 2, 5]].mean()) * 3 / 2
    assert_allclose(_istar(_card(), combine="merged", omega=0.5, step_baseline="first").unit, first, atol=1e-9)


def test_reinforce_pp_whitens_both_parts_over_tokens() -> None:
    batch = Batch.from_turns([[2, 1], [1]], outcome=[1.0, 0.0], group=[0, 0], logp=[-9.0] * 4)
    credit = _istar(batch, prm_logp=np.array([1.0, 1.0, -2.0, 1.0]) - 9, estimator="reinforce_pp", norm=False)

    def whiten(x: Any) -> Any:
        return (x - x.mean()) / np.sqrt(x.var(ddof=1) + 1e-8)

    r = 0.05 * np.array([2.0, -2.0, 1.0])
    assert_allclose(credit.parts["step"], whiten((r - r.mean())[[0, 0, 1, 2]])[[0, 2, 3]])
    assert_allclose(credit.parts["episode"], whiten(np.array([0.5, 0.5, 0.5, -0.5]))[[0, 2, 3]])


def test_a_model_that_is_where_the_policy_is_leaves_rloo() -> None:
    credit = _istar(_card(outcome=[2.0, 1.0, 0.0]), prm_logp=_OLD)
    rloo = ap.assign(_card(outcome=[2.0, 1.0, 0.0]), "rloo")
    assert isinstance(rloo, Credit)
    assert_array_equal(credit.token, rloo.token)
    assert not credit.parts["step"].any()


def test_equal_rewards_leave_the_steps_alone() -> None:
    credit = _istar(_card(outcome=[0.1, 0.1, 0.1]))
    assert_array_equal(credit.parts["episode"], 0.0)
    assert_allclose(credit.unit, _istar(_card()).parts["step"])


def test_a_set_of_one_keeps_its_own() -> None:
    lone = Batch.from_turns([[1, 1]], outcome=[0.7], group=[0], logp=[-9.0, -9.0])
    given = {"prm_logp": np.array([-8.0, -6.0]), "norm": False, "beta": 1.0}
    for estimator in ("rloo", "mean", "z_score"):
        assert_allclose(_istar(lone, estimator=estimator, **given).parts["episode"], 0.7, rtol=2e-6)
        first = _istar(lone, estimator=estimator, step_baseline="first", **given)
        assert_allclose(first.parts["step"], [1.0, 3.0], rtol=2e-6)
    assert_allclose(_istar(lone, **given).parts["step"], [-2.0, 2.0])  # two steps, one against the other


def test_equal_first_steps_are_no_division_by_nothing() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], logp=[-9.0] * 4)
    logp = np.array([1.0, 3.0, 1.0, 5.0]) - 9
    given = {"prm_logp": logp, "norm": False, "beta": 1.0, "step_baseline": "first"}
    assert_allclose(_istar(batch, estimator="z_score", **given).parts["step"], [0, 2, 0, 4])
    assert_allclose(_istar(batch, **given).parts["step"], [0, 4, 0, 8])


def test_observation_tokens_enter_no_sum() -> None:
    spaced = Batch.from_turns(
        [[2, 1], [1, 1, 2], [1]], outcome=[1.0, 0.0, 0.0], group=[0, 0, 0], logp=np.insert(_OLD, [1, 5], -0.1),
        action=[True, False, True, True, True, True, False, True],
    )  # fmt: skip
    logp = np.insert(_OLD + _Q, [1, 5], np.nan)
    got = _istar(spaced, prm_logp=logp)
    assert_allclose(got.unit, _istar(_card()).unit)
    assert_array_equal(got.token[~spaced.action], 0.0)


def test_bad_evidence_and_options_are_refused() -> None:
    for value in (0.3, np.nan):
        logp = _OLD + _Q
        logp[3] = value
        with pytest.raises(OptionError, match=r"'prm_logp'\[3\]"):
            _istar(_card(), prm_logp=logp)
    with pytest.raises(OptionError, match="beta = 0"):
        _istar(_card(), beta=0.0)
    with pytest.raises(MissingColumn, match="'logp'"):
        _istar(_card(logp=None))


def test_a_language_model_can_be_asked() -> None:
    credit = _istar(_card(), policy=FakePolicy())
    assert credit.bill.scored == 6
    assert_allclose(credit.parts["step"], 0.0)  # -1 everywhere


# --- the reward model: score, then learn ------------------------------------------------------------------------


def _world(n: int, seed: int = 0) -> tuple[Batch, Any]:
    """Two turns: at the first a word in three is right for what is seen, at the second nothing matters."""
    rng = np.random.default_rng(seed)
    seen, word, idle = rng.integers(0, 3, n), rng.integers(0, 3, n), rng.integers(0, 3, n)
    right = seen == word
    ids = np.stack([100 + seen, 10 + word, np.full(n, 50), 10 + idle], axis=1)
    logp = np.tile([0.0, -np.log(3)], 2 * n)
    batch = Batch.from_turns(
        [[2, 2]] * n, action=[False, True] * (2 * n), ids=ids.ravel(), ref_logp=logp, logp=logp,
        trajectory=[f"{seed}-{i}" for i in range(n)],
        outcome=(rng.random(n) < np.where(right, 0.9, 0.2)).astype(float), group=np.arange(n) // 5,
    )  # fmt: skip
    return batch, right


def _fit(batch: Batch, state: LearnedImplicit | None = None, seed: int = 0, **options: Any) -> LearnedImplicit:
    return fit(batch, rng=np.random.default_rng(seed), state=state, **{**SMALL, **options})


def _contrast(batch: Batch, right: Any, model: LearnedImplicit) -> float:
    ratio = model.log_ratio(batch).reshape(-1, 4)
    return float(np.corrcoef(ratio[:, 1], right)[0, 1])


def test_a_batch_is_scored_by_what_was_known_before_it() -> None:
    (first, _), (second, right) = _world(300), _world(300, 1)
    one = _fit(first)
    assert not one.log_ratio(first).any()  # nothing was known
    assert _istar(first, learned=one).parts["step"].any() == np.False_
    rloo = ap.assign(first, "rloo")
    assert isinstance(rloo, Credit)
    assert_allclose(_istar(first, learned=one).token, rloo.token)
    two = _fit(second, one)
    assert_array_equal(two.log_ratio(second), one.log_ratio(second))
    assert isinstance(two, Learned)
    assert _contrast(second, right, two) > 0.7
    assert (two.weights[-1] != one.weights[-1]).any()  # and then it learned
    assert_array_equal(two.weights[0], one.weights[-1])


def test_it_improves_from_batch_to_batch() -> None:
    found = []
    for seed in range(4):
        state, told = None, []
        for i in range(12):
            batch, right = _world(30, 100 * seed + i)
            state = _fit(batch, state)
            told.append(_contrast(batch, right, state) if i else 0.0)
        found.append([np.mean(told[1:3]), np.mean(told[-3:])])
    early, late = np.mean(found, axis=0)
    assert 0.1 < early < late - 0.1
    assert late > 0.6


def test_shuffled_labels_teach_nothing() -> None:
    batch, right = _world(2000)
    shuffled = batch.with_columns(outcome=np.random.default_rng(1).permutation(batch.need("outcome")))
    held, held_right = _world(500, 9)
    assert abs(_contrast(held, held_right, _fit(shuffled))) < 0.4  # nine cells of chance
    assert _contrast(held, held_right, _fit(batch)) > 0.9
    model = _fit(shuffled, update="before")
    score = model.log_ratio(shuffled).reshape(-1, 4).sum(axis=1)
    assert abs(np.corrcoef(score, shuffled.reward)[0, 1]) < 0.06
    assert abs(_contrast(batch, right, model)) < 0.4


def test_before_learns_first_and_holds_out() -> None:
    batch, right = _world(600)
    model = _fit(batch, update="before")
    assert _contrast(batch, right, model) > 0.7
    flipped = batch.need("outcome").copy()
    flipped[11] = 1 - flipped[11]
    other = _fit(batch.with_columns(outcome=flipped), update="before")
    mine = batch.within("token", "trajectory") == 11
    assert_array_equal(model.log_ratio(batch)[mine], other.log_ratio(batch)[mine])


def test_none_scores_and_learns_nothing() -> None:
    (first, _), (second, _) = _world(100), _world(100, 1)
    one = _fit(first)
    same = _fit(second, one, update="none")
    assert_array_equal(same.weights, np.tile(one.weights[-1], (2, 1)))
    assert same.bill.trained == 0
    assert one.bill.trained > 0
    with pytest.raises(ValueError, match="update"):
        _fit(first, update="nonsense")


def test_no_pair_leaves_the_model_where_it_was() -> None:
    (first, _), (second, _) = _world(100), _world(40, 1)
    one = _fit(first)
    same = _fit(second.with_columns(outcome=np.ones(40)), one)
    assert_array_equal(same.weights[-1], one.weights[-1])
    assert same.evidence(second).diagnostics["examples"] == 0
    assert _istar(second.with_columns(outcome=np.ones(40)), learned=same).parts["step"].any()


def test_three_batches_are_two_then_saved_loaded_and_one_more(tmp_path: Path) -> None:
    batches = [_world(30, seed)[0] for seed in range(3)]
    straight: Any = None
    for i, batch in enumerate(batches):
        straight = ap.learn(batch, "istar", state=straight, rng=i, **SMALL)
    half: Any = None
    for i, batch in enumerate(batches[:2]):
        half = ap.learn(batch, "istar", state=half, rng=i, **SMALL)
    before = {name: array.copy() for name, array in half.save().items()}
    save_learned(half, tmp_path / "prm.npz")
    resumed: LearnedImplicit = ap.learn(batches[2], "istar", state=load_learned(tmp_path / "prm.npz"), rng=2, **SMALL)
    for name, array in straight.save().items():
        assert_array_equal(array, resumed.save()[name])
    for name, array in half.save().items():  # frozen
        assert_array_equal(array, before[name])
    assert_array_equal(straight.log_ratio(batches[0]), resumed.log_ratio(batches[0]))
    with pytest.raises(OptionError, match="buckets = 64"):
        _fit(batches[2], half, buckets=64)


@pytest.mark.parametrize("aggregate", ["sum", "mean"])
@pytest.mark.parametrize("reference", ["frozen", "policy"])
def test_it_is_dpo_against_the_policy_that_sampled(aggregate: Any, reference: Any) -> None:
    """With enough data beta S tells the log-odds of success, wherever the model started from."""
    batch, right = _world(6000)
    word = batch.need("ids").reshape(-1, 4)[:, 1] - 10
    ref = batch.need("ref_logp").reshape(-1, 4).copy()
    ref[:, 1] = np.log([0.6, 0.3, 0.1])[word]
    batch = batch.with_columns(ref_logp=ref.ravel())
    model = _fit(batch, aggregate=aggregate, reference=reference, beta=0.5, ridge=1e-3, update="before", steps=100)
    prm = model.evidence(batch).arrays["prm_logp"]
    q = (prm - batch.need("logp")).reshape(-1, 4)[:, 1]
    expected = (np.log(0.9 / 0.1) - np.log(0.2 / 0.8)) / 0.5 * (2 if aggregate == "mean" else 1)
    seen = batch.need("ids").reshape(-1, 4)[:, 0]
    for s in (100, 101, 102):
        here = seen == s
        assert_allclose(q[here & right].mean() - q[here & ~right].mean(), expected, rtol=0.15)
