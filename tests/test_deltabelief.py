"""DeltaBelief-RL: the card's example, what is paid to which turn, padding, nulls, and secrets of several tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign, learn
from apportion.credit import Credit
from apportion.errors import BatchError, OptionError
from apportion.evidence import Asked, Bill
from apportion.evidence.saving import load_learned, save_learned
from apportion.evidence.secret import LearnedSecret

from .fakes import FakePolicy

NAN = np.nan
B = [-6, -4, -4.5, -1, -6, -6.5, -5, -6, -5.5, -5, -5.2]


def _batch(**more: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [1.0, 0.0, 0.0], "group": [0, 0, 0], "turn_reward": [0, 0, 0, 0, -1, 0, 0, 0], **more}
    return Batch.from_turns([[1, 1, 1], [1, 1], [1, 1, 1]], **columns)


def _delta(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "deltabelief", **options)
    assert isinstance(credit, Credit)
    return credit


def _raw(batch: Batch, logp: Any = B, **options: Any) -> Any:
    """The turn rewards themselves: every rollout its own prompt, so that nothing is subtracted."""
    alone = batch.with_columns(group=type(batch.trajectory).of(range(batch.n_trajectories)))
    return _delta(alone, secret_logp=logp, spread="none", **options).unit


def test_worked_example_of_the_card() -> None:
    credit = _delta(_batch(), secret_logp=B)
    expected = [1.1547, 1.1029, 1.1521, -0.5773, -0.8475, -0.5773, -0.2554, -0.6434]
    assert_allclose(credit.unit, expected, atol=5e-5)
    assert_allclose(_raw(_batch()), [2.05, 1.85, 1.85, -0.10, -0.95, -0.10, -0.10, -0.15])
    assert_allclose(credit.diagnostics["belief"], 0.1 * (2 + 0 + 0 + 0 + 1.5 + 0.5 + 0.5 + 0) / 8)
    assert credit.loss.denominator == "token"


def test_only_the_turn_that_wins_is_spared_the_change_and_only_rises_count() -> None:
    lost = _raw(_batch(outcome=[0.0, 0.0, 0.0]))
    assert_allclose(lost[:3], [0.05, -0.15, -0.15 + 0.35])  # the last turn of a lost game is paid its rise
    signed = _raw(_batch(), change="signed")
    assert_allclose(signed, [2.05, 1.80, 1.85, -0.15, -0.95, -0.10, -0.10, -0.17])


def test_the_end_of_the_game_is_paid_to_every_turn_and_one_turn_costs_no_length() -> None:
    assert_allclose(_raw(_batch(turn_reward=None), lam=0.0, win=3.0, length=-1.0), [0, 0, 0, -2, -2, -3, -3, -3])
    short = Batch.from_turns([[1], [1, 1]], outcome=[1.0, 0.0], group=[0, 1])
    assert_allclose(_raw(short, np.full(5, -1.0), lam=0.0), [2.0, -0.1, -0.1])


def test_a_game_is_won_by_success_then_by_outcome_and_penalties_do_not_lose_it() -> None:
    heavy = _batch(turn_reward=[-5, 0, 0, 0, -1, 0, 0, 0])  # total reward -4, and won all the same
    assert_allclose(_raw(heavy)[0], 2.05 - 5)
    told = _batch(success=[False, True, False])
    assert_allclose(_raw(told, lam=0.0), [-0.15] * 3 + [1.9, 0.9] + [-0.15] * 3)
    half = _batch(outcome=[0.5, 0.0, 0.0])  # how high it is does not matter
    assert_allclose(_raw(half), _raw(_batch()))
    per_turn = _batch(outcome=None, turn_reward=[0, 0, 1.0, 0, 0, 0, 0, -1.0])
    assert_allclose(_raw(per_turn, lam=0.0), [1.85, 1.85, 2.85, -0.1, -0.1, -0.15, -0.15, -1.15])


def test_rewards_of_tokens_are_penalties_of_their_turn() -> None:
    by_token = _batch(turn_reward=None, token_reward=[0, 0, 0, 0, -1, 0, 0, 0])
    assert_allclose(_delta(by_token, secret_logp=B).unit, _delta(_batch(), secret_logp=B).unit)


def test_absent_turns_enter_as_zeros_or_not_at_all() -> None:
    out = _delta(_batch(), secret_logp=B, absent="out").unit
    assert_allclose(out[[2, 7]], np.array([1, -1]) / np.sqrt(2), atol=1e-5)  # two present: 1.85 and -0.15
    assert_allclose(out[:2], [1.1547, 1.1029], atol=5e-5)  # all present: the same
    last = Batch.from_turns([[1, 1, 1], [1], [1]], outcome=[0.0, 0.0, 0.0], group=[0, 0, 0])
    logp = np.full(8, -1.0)
    padded = _delta(last, secret_logp=logp)
    assert_allclose(padded.unit[1], -2 / np.sqrt(3), atol=1e-4)  # -0.15 among two zeros
    alone = _delta(last, secret_logp=logp, absent="out")
    assert_allclose(alone.unit[1:3], -0.15, atol=1e-6)  # nobody else: as it is
    assert not _delta(last, secret_logp=logp, absent="out", single="zero").unit[1:3].any()
    with pytest.raises(BatchError, match="turn 1 has no peer"):
        _delta(last, secret_logp=logp, absent="out", single="error")


def test_a_lone_rollout_keeps_its_own_rewards() -> None:
    lone = Batch.from_turns([[1, 1]], outcome=[1.0], group=[0])
    assert_allclose(_delta(lone, secret_logp=[-3, -1, -1]).unit, np.array([2.1, 1.9]) / (1 + 1e-6))
    assert not _delta(lone, secret_logp=[-3, -1, -1], single="zero").unit.any()
    with pytest.raises(BatchError, match="no peer"):
        _delta(lone, secret_logp=[-3, -1, -1], single="error")


def test_equal_rewards_at_a_turn_give_zero_exactly() -> None:
    rng = np.random.default_rng(0)
    n = 7
    batch = Batch.from_turns([[1, 1, 1]] * n, outcome=[1.0] * n, group=[0] * n)
    rises = np.cumsum(np.column_stack([np.full(n, -9.1), rng.random((n, 1)), np.full((n, 2), 0.3)]), axis=1)
    credit = _delta(batch, secret_logp=rises.ravel())
    by_turn = credit.unit.reshape(n, 3)
    assert not by_turn[:, 2].any()
    assert np.abs(by_turn[:, 1]).max() < 1e-6
    assert np.abs(by_turn[:, 0]).max() > 0.5


def test_spreads_are_sample_population_or_none() -> None:
    x = np.array([2.05, -0.10, -0.10])
    for spread, sd in (("sample", x.std(ddof=1)), ("population", x.std()), ("none", 1 - 1e-6)):
        unit = _delta(_batch(), secret_logp=B, spread=spread).unit[[0, 3, 5]]
        assert_allclose(unit, (x - x.mean()) / (sd + 1e-6))
    third = np.array([1.85, 0.0, -0.15])
    unit = _delta(_batch(), secret_logp=B, spread="population").unit[[2, 7]]
    assert_allclose(unit, ((third - third.mean()) / (third.std() + 1e-6))[[0, 2]])


def test_prompts_and_turns_share_no_statistics() -> None:
    rng = np.random.default_rng(1)
    batch = Batch.from_turns([[1] * k for k in (3, 2, 1, 3)], outcome=rng.integers(0, 2, 4), group=[0, 1, 0, 1])
    logp = -rng.exponential(size=13)
    whole = _delta(batch, secret_logp=logp).unit
    at = np.r_[4:7, 9:13]
    part = _delta(batch.take([1, 3]), secret_logp=logp[at])
    assert_allclose(part.unit, np.r_[whole[3:5], whole[6:9]])


def test_a_turn_beside_a_null_is_not_scored_and_enters_nothing() -> None:
    holed = np.array(B, dtype=float)
    holed[5] = NAN  # after the first turn of the second rollout: its two changes are unknown
    credit = _delta(_batch(), secret_logp=holed)
    assert credit.scored is not None
    assert_array_equal(credit.scored, [True] * 3 + [False] * 2 + [True] * 3)
    assert not credit.unit[3:5].any()
    assert_allclose(credit.unit[[0, 5]], np.array([1, -1]) / np.sqrt(2), atol=1e-5)
    assert credit.diagnostics["asked"] == 6 / 8
    won = np.array(B, dtype=float)
    won[3] = NAN  # after the turn that won: not read
    assert_array_equal(_delta(_batch(), secret_logp=won).unit, _delta(_batch(), secret_logp=B).unit)


def test_the_mean_per_token_of_a_source_becomes_the_sum_over_a_secret_s_tokens() -> None:
    class Sure(FakePolicy):
        def answer_logp(self, batch: Batch, rng: np.random.Generator, *, axis: Any = "prefix") -> Asked:
            return Asked(np.array(B) / np.repeat([2.0, 4.0, 1.0], [4, 3, 4]), Bill(scored=8.0))

    summed = _delta(_batch(), policy=Sure(), answer_tokens=[2, 4, 1])
    assert_allclose(summed.unit, _delta(_batch(), secret_logp=B).unit)
    assert summed.diagnostics["answer_tokens"] == 7 / 3
    assert summed.bill == Bill(scored=8.0)
    assert summed.evidence["secret_logp"]["provenance"] == "privileged"
    plain = _delta(_batch(), policy=Sure())
    assert np.abs(plain.unit - summed.unit).max() > 1e-3  # as if every secret were one token
    assert plain.diagnostics["answer_tokens"] == 1
    for bad, message in ((0, "at least 1"), ([1, 2], "shape"), ("many", "expected one number"), ([1, NAN, 2], "at least 1")):
        with pytest.raises(OptionError, match=message):
            _delta(_batch(), policy=Sure(), answer_tokens=bad)


def test_a_policy_that_cannot_answer_is_refused() -> None:
    class Mute:
        provenance = "text_refeed"

        def logp(self, batch: Batch, rng: np.random.Generator, *, hindsight: Any = None) -> Asked:
            return Asked(np.zeros(batch.n_tokens), Bill())

    with pytest.raises(OptionError, match="Mute, which has no answer_logp"):
        _delta(_batch(), policy=Mute())


@pytest.mark.parametrize("option", [{"lam": np.inf}, {"win": NAN}, {"length": np.inf}, {"denominator": "limit"}])
def test_options_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(option))):
        _delta(_batch(), secret_logp=B, **option)


def test_positive_log_probabilities_are_refused_by_index() -> None:
    with pytest.raises(OptionError, match=r"'secret_logp'\[2\] = 0.3"):
        _delta(_batch(), secret_logp=[-1, -1, 0.3, *[-1] * 8])


def _chance(n: int, shuffled: bool = False) -> tuple[float, float]:
    """Learned chance of success after a good and after a bad second turn; truth: 0.9 and 0.1."""
    rng = np.random.default_rng(0)
    good = rng.random(n) < 0.5
    ids = rng.integers(0, 1000, (n, 6))
    ids[:, [0, 2, 4]] = 7
    ids[:, 3] = ids[:, 4] = np.where(good, 20, 21)
    outcome = (rng.random(n) < np.where(good, 0.9, 0.1)).astype(float)
    outcome = rng.permutation(outcome) if shuffled else outcome
    columns: dict[str, Any] = {"action": np.tile([False, True], 3 * n), "ids": ids.ravel(), "group": np.arange(n) % 5}
    batch = Batch.from_turns([[2, 2, 2]] * n, outcome=outcome, **columns)
    learned = learn(batch, "deltabelief", rng=0)
    b = learned.evidence(batch).arrays["secret_logp"].reshape(n, 4)[:, 2]
    return float(np.exp(b[good]).mean()), float(np.exp(b[~good]).mean())


def test_belief_learned_from_outcomes_improves_with_data_and_is_at_chance_on_shuffled_outcomes() -> None:
    few, many, none = (np.array(_chance(*x)) for x in ((16,), (600,), (600, True)))
    assert np.abs(many - [0.9, 0.1]).max() < np.abs(few - [0.9, 0.1]).max()
    assert np.abs(many - [0.9, 0.1]).max() < 0.1
    assert abs(none[0] - none[1]) < 0.1


def test_what_was_learned_comes_back_from_disk_bit_for_bit(tmp_path: Path) -> None:
    batch = Batch.from_turns([[2, 2]] * 8, ids=np.arange(32) % 7, outcome=[0, 1] * 4, group=[0] * 8)
    learned = learn(batch, "deltabelief", rng=0)
    save_learned(learned, tmp_path / "belief.npz")
    again = load_learned(tmp_path / "belief.npz")
    assert isinstance(again, LearnedSecret)
    assert_array_equal(_delta(batch, learned=again).token, _delta(batch, learned=learned).token)
