"""PRS and VSPO: stages, short answers, the value of a prompt, who is drawn and damped, when it is GRPO, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import apportion as ap
from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.methods.prs import LONG_ANSWER, judged, length_aware_bleu, staged

from .fakes import FakeJudge

#: four prompts of five rollouts each, of the card
REWARDS = [[1.0] * 5, [0.2, 1, 0.2, 1, 0.2], [0.2] * 4 + [1.0], [0.6, 0.8, 1, 0.8, 0.6]]
P = [0, 0.4387, 0.4776, 0.0838]


def _batch(rewards: Any = REWARDS, **columns: Any) -> Batch:
    flat = [r for prompt in rewards for r in prompt]
    group = [g for g, prompt in enumerate(rewards) for _ in prompt]
    return Batch.from_turns([[1, 1]] * len(flat), outcome=flat, group=group, **columns)


def _vspo(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "prs", **{"shaping": "none", "sampling": "value", "rng": 0, **options})
    assert isinstance(credit, Credit)
    return credit


def _prs(**options: Any) -> Credit:
    stages = {"calls_parse": [0, 1, 1, 1, 1.0], "format_ok": [1, 0, 1, 1, 1.0], "answer_quality": [1, 1, 0, 0.5134, 1]}
    credit = assign(Batch.from_turns([[1]] * 5, group=[0] * 5), "prs", **{**stages, **options})
    assert isinstance(credit, Credit)
    return credit


def test_points_of_the_card_stage_by_stage() -> None:
    r = _prs(spread="none").unit
    assert_allclose(r - r[0], [0, 0.1, 0.2, 0.6107, 1.0], atol=5e-5)
    other = _prs(spread="none", points=(0.3, 0.3)).unit
    assert_allclose(other - other[0], [0, 0.3, 0.3, 0.3 + 0.7 * 0.5134, 1.0])


def test_a_stage_pays_only_once_those_before_it_were_passed() -> None:
    u = {"a": np.array([1, 0.5, 0.49, 1.0]), "b": np.array([0.2, 0.9, 1, 1.0]), "c": np.array([1, 1, 1, 0.5])}
    assert_allclose(staged(u, (0.2, 0.3, 0.5), (0.5, 0.9)), [0.2 + 0.06, 0.1 + 0.27 + 0.5, 0.098, 0.2 + 0.3 + 0.25])
    null = staged({"a": np.array([0.0, 1.0]), "b": np.array([np.nan, np.nan])}, (0.5, 0.5), (1.0,))
    assert_array_equal(null, [0.0, np.nan])  # what was not reached need not be known
    with pytest.raises(OptionError, match=r"b\[1\] = 1.5"):
        staged({"a": np.ones(2), "b": np.array([0.0, 1.5])}, (0.5, 0.5), (1.0,))
    with pytest.raises(OptionError, match="2 stages with 1 weights and 1 thresholds"):
        staged({"a": np.ones(1), "b": np.ones(1)}, (1.0,), (1.0,))


@pytest.mark.parametrize(
    ("answer", "references", "q"),
    [
        ("paris", ["paris"], 1.0), ("paris france", ["paris"], 0.5), ("22 november", ["22 november 1610"], 0.6065),
        ("john smith junior", ["john smith"], 0.5774), ("Paris.", ["london", "PARIS!"], 1.0), ("", ["x"], 0.0), ("x", [""], 0.0),
        ("x", [], 0.0), ("a b c d e", ["a b c d e"], 1.0), ("a a a", ["a b"], 0.0), ("b a", ["a b"], 0.0),
        ("a b c d e f", ["a b c d x y"], (4 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25),
        ("a a b b", ["a b b"], (3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3)),
    ],
)  # fmt: skip
def test_short_answers_overlap(answer: str, references: list[str], q: float) -> None:
    assert length_aware_bleu(answer, references) == pytest.approx(q, abs=5e-5)


def test_without_sampling_it_is_grpo_on_the_shaped_rewards() -> None:
    grpo = assign(Batch.from_turns([[1]] * 5, group=[0] * 5, outcome=[0, 0.1, 0.2, 0.2 + 0.8 * 0.5134, 1]), "grpo", eps=1e-6)
    assert isinstance(grpo, Credit)
    assert_allclose(_prs().unit, grpo.unit, atol=1e-12)


def test_an_answer_that_could_not_be_judged_is_left_out_of_everything() -> None:
    credit = _prs(answer_quality=[np.nan, np.nan, 0, np.nan, 1])
    rest = assign(Batch.from_turns([[1]] * 4, group=[0] * 4, outcome=[0, 0.1, 0.2, 1]), "grpo", eps=1e-6)
    assert isinstance(rest, Credit)
    assert_allclose(credit.unit[[0, 1, 2, 4]], rest.unit, atol=1e-12)
    assert credit.unit[3] == 0
    assert credit.scored is not None
    assert_array_equal(credit.scored, [True, True, True, False, True])
    assert credit.diagnostics["unjudged"] == pytest.approx(0.2)
    nothing = _prs(calls_parse=[np.nan] * 5)
    assert not nothing.unit.any()
    assert nothing.diagnostics["unjudged"] == 1.0


def test_nulls_that_leave_one_rollout_of_a_prompt_are_no_error() -> None:
    batch = Batch.from_turns([[1]] * 4, group=[0, 0, 1, 1])
    given: dict[str, Any] = {"calls_parse": [1.0] * 4, "format_ok": [1.0] * 4, "answer_quality": [np.nan, 0.5, 1.0, 0.0]}
    zero, raw = assign(batch, "prs", **given), assign(batch, "prs", single="raw", **given)
    assert isinstance(zero, Credit)
    assert isinstance(raw, Credit)
    assert_allclose(zero.unit, [0, 0, 0.7071, -0.7071], atol=1e-4)
    assert_allclose(raw.unit[:2], [0, 0.6], atol=1e-4)
    with pytest.raises(BatchError, match=r"prompt 1 has a single member \(item 2\)"):
        assign(batch.take([0, 1, 2]), "prs", **{name: values[:3] for name, values in given.items()})


def test_worked_example_of_value_sampling() -> None:
    seen = {}
    for seed in range(12):
        credit = _vspo(_batch(), rng=seed)
        assert credit.rows is not None
        assert_array_equal(credit.rows[:15], np.arange(5, 20))
        seen[int(credit.rows[15]) // 5] = (seed, credit)
    assert set(seen) >= {1, 2}
    chosen, credit = seen[2]  # q3 takes the place of q1
    assert credit.rows is not None
    assert_array_equal(credit.rows[15:], np.arange(10, 15))
    assert_allclose(credit.unit[:5], [-0.7303, 1.0954, -0.7303, 1.0954, -0.7303], atol=5e-5)
    assert_allclose(credit.unit[5:10], [-0.2236] * 4 + [0.8944], atol=5e-5)
    assert_allclose(credit.unit[15:], [-0.2236] * 4 + [0.8944], atol=5e-5)
    assert_allclose(credit.unit[10:15], [-0.9562, 0.2390, 1.4343, 0.2390, -0.9562], atol=5e-5)
    assert credit.diagnostics == {"unjudged": 0.0, "dropped": 1.0, "drawn": 1.0, "copies": 2.0}
    assert credit.batch.same(_batch().take(credit.rows))
    half = _vspo(_batch(), rng=chosen, kappa=0.5)
    assert_allclose(half.unit[5:10], np.array([-0.4472] * 4 + [1.7888]) / np.sqrt(2), atol=5e-5)


def test_prompts_are_drawn_in_proportion_to_their_value() -> None:
    flat = [[1.0] * 5] * 4000
    credit = _vspo(_batch([*REWARDS, *flat]))
    assert credit.rows is not None
    drawn = np.bincount(credit.rows[15::5] // 5, minlength=4)[:4]
    assert drawn.sum() == 4001
    assert_allclose(drawn / drawn.sum(), P, atol=0.025)


def test_the_spread_of_a_prompt_does_not_depend_on_how_many_rollouts_it_has() -> None:
    few, many = [0.0, 1.0], [0.0, 1.0] * 4
    credit = _vspo(_batch([few, many, *([[1.0] * 2] * 3000)]))
    assert credit.rows is not None
    drawn = np.where(credit.rows[10:] < 2, 1 / 2, 1 / 8)  # a draw of a prompt takes all of its rows
    assert drawn[credit.rows[10:] < 2].sum() / drawn.sum() == pytest.approx(0.5, abs=0.03)


def test_equal_rewards_are_flat_whatever_their_rounding() -> None:
    assert 0.1 + 0.2 != 0.3
    credit = _vspo(_batch([[0.1 + 0.2, 0.3], [0.0, 1.0]]))
    assert credit.rows is not None
    assert_array_equal(credit.rows, [2, 3, 2, 3])


def test_with_full_damping_it_is_grpo_to_the_last_digit_over_a_whole_batch() -> None:
    flat = [[0.2] * 5] * 6  # equal rewards whose mean differs from them by rounding
    batch = _batch([*REWARDS, *flat])
    grpo = assign(batch, "grpo", eps=1e-6)
    assert isinstance(grpo, Credit)
    for kappa in (1.0, 0.5):
        credit = _vspo(batch, kappa=kappa)
        assert credit.rows is not None
        assert credit.batch.n_trajectories == batch.n_trajectories
        total = np.bincount(credit.rows, weights=credit.unit, minlength=batch.n_trajectories)
        same = np.abs(total - grpo.unit).max() < 1e-12
        assert same == (kappa == 1.0)


def test_a_cap_on_copies_leaves_places_empty() -> None:
    flat = [[1.0] * 5] * 9
    credit = _vspo(_batch([*REWARDS, *flat]), m_max=2)
    assert credit.rows is not None
    assert_array_equal(np.bincount(credit.rows // 5)[1:], [10, 10, 10])
    assert credit.diagnostics["drawn"] == 3.0
    assert credit.diagnostics["dropped"] == 10.0
    assert _vspo(_batch([*REWARDS, *flat]), m_max=1).batch.n_trajectories == 15


def test_if_all_prompts_are_flat_the_update_is_skipped() -> None:
    credit = _vspo(_batch([[0.2] * 3, [1.0] * 3, [0.5]]), rng=None)
    assert not credit.kept.any()
    assert not credit.token.any()
    assert credit.diagnostics["dropped"] == 3.0
    assert credit.rows is None


def test_without_flat_prompts_nothing_is_drawn_and_a_prompt_of_one_is_flat() -> None:
    credit = _vspo(_batch(REWARDS[1:]), rng=None)
    assert credit.rows is not None
    assert_array_equal(credit.rows, np.arange(15))
    lone = _vspo(_batch([[0.3], *REWARDS[1:]]))
    assert lone.diagnostics["dropped"] == 1.0
    with pytest.raises(BatchError, match="single member"):
        assign(_batch([[0.3], *REWARDS[1:]]), "prs", shaping="none")


def test_prompts_in_pieces_and_rows_of_turns_are_taken_whole() -> None:
    batch = Batch.from_turns([[1, 1]] * 6, rows="turn", outcome=[1, 0, 1, 1, 0, 1], group=["b", "a", "b", "a", "c", "c"])
    credit = _vspo(batch)
    assert credit.rows is not None
    assert_array_equal(credit.rows[:8], [2, 3, 6, 7, 8, 9, 10, 11])  # a, then c; prompt b was flat
    assert credit.unit.size == credit.batch.n_trajectories == 6


def test_a_staged_reward_is_what_prompts_are_drawn_by() -> None:
    credit = assign(
        Batch.from_turns([[1]] * 4, group=[0, 0, 1, 1], outcome=[1, 0, 1, 0]), "prs", sampling="value", rng=0,
        calls_parse=[1, 1, 1, 1.0], format_ok=[1, 1, 1, 1.0], answer_quality=[0.5, 0.5, 1, 0],
    )  # fmt: skip
    assert isinstance(credit, Credit)
    assert credit.rows is not None
    assert_array_equal(credit.rows, [2, 3, 2, 3])


def test_long_answers_are_judged_by_a_prompt_that_shows_the_reference() -> None:
    asked = judged(_batch(), FakeJudge(mute=[3]), np.random.default_rng(0))
    assert np.isnan(asked.values[3])
    assert set(np.delete(asked.values, 3)) == {0.0, 1.0}
    assert asked.bill.judge_calls == 20.0
    assert LONG_ANSWER.privileged


def test_what_it_refuses() -> None:
    with pytest.raises(OptionError, match="pass rng"):
        ap.get("prs")(_batch(), shaping="none", sampling="value")
    with pytest.raises(OptionError, match=r"answer_quality\[4\] = 2"):
        _prs(answer_quality=[0, 0, 0, 0, 2.0])
    with pytest.raises(OptionError, match="points"):
        _prs(points=(0.5, 0.2))
    with pytest.raises(OptionError, match=r"best = 0.5"):
        _vspo(_batch(), best=0.5)
    for wrong in ({"kappa": -1.0}, {"m_max": 0}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            _vspo(_batch(), **wrong)
    with pytest.raises(MissingColumn, match="calls_parse"):
        assign(_batch(), "prs")
    with pytest.raises(MissingColumn, match="'reward'"):
        assign(_batch().with_columns(outcome=None), "prs", shaping="none")
