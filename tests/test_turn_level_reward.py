"""MT-GRPO and MT-PPO: the card's worked examples, null turns, rollouts of one turn, and the judge's side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.methods.turn_level_reward import RUBRIC

from .batches import random_batch
from .fakes import FakeJudge

_I, _O = np.array([0.7, 0.2, 0.0, 0.7]), np.array([1.9, 0.4, 0.2, 0.4])
_AI, _AO = np.array([0.8427, -0.5618, -1.1236, 0.8427]), np.array([1.4891, -0.4119, -0.6653, -0.4119])


def _run(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "turn_level_reward", **options)
    assert isinstance(credit, Credit)
    return credit


def _card(turns: int = 2) -> Batch:
    reward = np.stack([_I] + [np.zeros(4)] * (turns - 1), axis=1).ravel()
    return Batch.from_turns([[1] * turns] * 4, outcome=_O, turn_reward=reward, group=["q"] * 4)


def test_worked_two_turns_of_the_card() -> None:
    first, second = _run(_card()).unit.reshape(4, 2).T
    assert_allclose(first, [2.3318, -0.9737, -1.7889, 0.4308], atol=1e-4)
    assert_allclose(second, _AO, atol=5e-5)
    half = _run(_card(), alpha=0.5).unit.reshape(4, 2).T
    assert_allclose(half[0], [1.5872, -0.7677, -1.4563, 0.6368], atol=1e-4)
    assert_allclose(half[1], _AO, atol=5e-5)


def test_worked_parts_of_the_card_and_the_weight_of_the_turn_part() -> None:
    credit = _run(_card(), coef=2.0)
    assert_allclose(credit.parts["turn"][::2], 2 * _AI, atol=1e-4)
    assert_allclose(credit.parts["turn"][1::2], 0.0)
    assert_allclose(credit.parts["outcome"].reshape(4, 2), np.stack([_AO, _AO], axis=1), atol=5e-5)
    assert_allclose(credit.unit, credit.parts["turn"] + credit.parts["outcome"])
    assert credit.loss.denominator == "token"


def test_worked_fallback_of_the_card_for_rollouts_without_a_tool() -> None:
    batch = Batch.from_turns([[1]] * 4, outcome=_O, turn_reward=_I, group=["q"] * 4)
    wanted = [1.4046, -0.5000, -0.8809, -0.0238]
    for one_turn in ("outcome", "combined"):  # its only turn is its last: all it earned is its outcome
        assert_allclose(_run(batch, one_turn=one_turn).unit, wanted, atol=5e-5)


def test_a_rollout_of_one_turn_among_longer_ones() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1], [1]], outcome=[1.0, 0.0, 1.0], turn_reward=[0.3, 0, 0, 0, 0.1], group=["q"] * 3)

    def norm(x: Any) -> Any:
        x = np.asarray(x)
        return (x - x.mean()) / (x.std(ddof=1) + 1e-4)

    outcome = norm([1.0, 0.0, 1.1])
    turn = norm([0.3, 0.0])
    plain = _run(batch)
    assert_allclose(plain.unit, [turn[0] + outcome[0], outcome[0], turn[1] + outcome[1], outcome[1], outcome[2]])
    combined = _run(batch, one_turn="combined")
    assert_allclose(combined.unit[:4], plain.unit[:4])
    assert_allclose(combined.unit[4], norm([1.3, 0.0, 1.1])[2])


def test_worked_three_turns_of_the_card() -> None:
    """alpha = .5 with A^I_(1) = 1, A^I_(2) = -.5, A^O = .8 for the first of three rollouts, of mean 0 and spread 1."""
    one, two, last = (np.array(x) for x in ([1, -1, 0], [-0.5, 0.25, 0.25], [0.8, -0.4, -0.4]))
    two += np.sqrt(0.8125) * np.array([0, 1, -1])
    last += np.sqrt(0.52) * np.array([0, 1, -1])
    reward = np.stack([one, two, np.zeros(3)], axis=1)
    batch = Batch.from_turns([[1] * 3] * 3, outcome=last, turn_reward=reward.ravel(), group=["q"] * 3)
    assert_allclose(_run(batch, alpha=0.5, eps=0.0).unit[:3], [0.95, -0.1, 0.8])


def test_more_turns_discount_what_comes_later() -> None:
    rng = np.random.default_rng(0)
    reward, outcome = rng.normal(size=(6, 3)), rng.normal(size=6)
    reward[:, 2] = 0.0
    batch = Batch.from_turns([[1] * 3] * 6, outcome=outcome, turn_reward=reward.ravel(), group=["q"] * 6)
    credit = _run(batch, alpha=0.5).unit.reshape(6, 3)

    def norm(x: Any) -> Any:
        return (x - x.mean()) / (x.std(ddof=1) + 1e-4)

    one, two, last = norm(reward[:, 0]), norm(reward[:, 1]), norm(outcome)
    assert_allclose(credit, np.stack([one + 0.5 * two + 0.25 * last, two + 0.5 * last, last], axis=1))


def test_a_null_turn_enters_no_statistic_and_has_no_turn_part() -> None:
    reward = np.array([0.7, 0, np.nan, 0, 0.0, 0, 0.7, 0])
    credit = _run(_card(), turn_reward=reward)
    three = np.array([0.7, 0.0, 0.7])
    wanted = (three - three.mean()) / (three.std(ddof=1) + 1e-4)
    assert_allclose(credit.parts["turn"][[0, 4, 6]], wanted)
    assert credit.parts["turn"][2] == 0.0
    assert_allclose(credit.parts["outcome"][::2], _AO, atol=5e-5)
    lone = _run(_card(), turn_reward=np.where(np.arange(8) == 0, 0.7, np.nan))
    assert_array_equal(lone.parts["turn"], 0.0)


def test_a_reward_of_zero_is_a_reward() -> None:
    none = _run(_card(), turn_reward=np.where(np.arange(8) == 4, np.nan, _run_reward()))
    assert np.abs(none.parts["turn"] - _run(_card()).parts["turn"]).max() > 0.1


def _run_reward() -> Any:
    return np.stack([_I, np.zeros(4)], axis=1).ravel()


def test_equal_components_are_exactly_zero_and_without_turn_rewards_it_is_grpo() -> None:
    flat = np.tile([0.1, 0.0], 4)
    credit = _run(_card(), turn_reward=flat)
    grpo = assign(_card().with_columns(turn_reward=None), "grpo", eps=1e-4)
    assert isinstance(grpo, Credit)
    assert_array_equal(credit.parts["turn"], 0.0)
    assert_allclose(credit.token, grpo.token)
    assert_allclose(_run(_card(), turn_reward=flat, alpha=0.5).unit[::2], 0.5 * grpo.unit)


def test_the_codes_other_estimator_standardises_returns_to_go() -> None:
    credit = _run(_card(), estimator="cae", alpha=0.5)
    assert credit.loss.denominator == "token"
    total = _I + 0.5 * _O
    assert_allclose(credit.unit[::2], (total - total.mean()) / (total.std(ddof=1) + 1e-4))
    assert_allclose(credit.unit[1::2], _AO, atol=5e-5)
    mixed = Batch.from_turns([[1, 1], [1], [1, 1]], outcome=[1.0, 0.0, 2.0], turn_reward=[0.5, 0, 0, 0, 0], group=["q"] * 3)
    got = _run(mixed, estimator="cae").unit
    z = np.array([1.5, 0.0, 2.0])
    first = (z - z.mean()) / (z.std(ddof=1) + 1e-4)
    assert_allclose(got[[0, 2, 3]], first)
    assert_allclose(got[[1, 4]], np.array([0.0, 1.0]) / (1 + 1e-4))


def test_prompts_share_no_statistics() -> None:
    rng = np.random.default_rng(1)
    batch = Batch.from_turns([[1] * 3] * 5, outcome=rng.normal(size=5), turn_reward=rng.normal(size=15), group=list("ababb"))
    whole = _run(batch).unit.reshape(5, 3)
    for rows in ([0, 2], [1, 3, 4]):
        assert_allclose(_run(batch.take(rows)).unit.reshape(-1, 3), whole[rows])


def test_a_prompt_of_one_rollout_has_a_choice() -> None:
    batch = Batch.from_turns([[1, 1]], outcome=[1.0], turn_reward=[0.5, 0.0], group=["q"])
    with pytest.raises(BatchError, match="single member"):
        _run(batch)
    assert_array_equal(_run(batch, single="zero").unit, 0.0)


# --- MT-PPO ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lam", "wanted"), [(1.0, [0.7, 0.6, 0.2, 0.3, 0.2]), (0.95, [0.6384, 0.5667, 0.1755, 0.2900, 0.2000])])
def test_worked_mt_ppo_of_the_card(lam: float, wanted: list[float]) -> None:
    batch = Batch.from_turns(
        [[2, 2, 1]], outcome=[1.0], turn_reward=[0.3, -0.1, 0.0], value=[0.5, 0.6, 0.7, 0.6, 0.8], group=["q"]
    )
    credit = _run(batch, variant="mt_ppo", lam=lam)
    assert (credit.level, credit.loss.denominator) == ("token", "token")
    assert_allclose(credit.token, wanted, atol=5e-5)
    if lam == 1.0:
        assert_allclose(credit.targets["value"], [1.2, 1.2, 0.9, 0.9, 1.0])


def test_mt_ppo_is_gae_of_the_same_rewards() -> None:
    batch = random_batch(3).with_columns(token_reward=None, truncated=None, bootstrap=None)
    ours = _run(batch, variant="mt_ppo", gamma=0.9, lam=0.8)
    gae = assign(batch, "gae", gamma=0.9, lam=0.8)
    assert isinstance(gae, Credit)
    assert_allclose(ours.token, gae.token)
    with pytest.raises(MissingColumn, match="value"):
        _run(batch.with_columns(value=None), variant="mt_ppo")


# --- where turn rewards come from -----------------------------------------------------------------------------------


def test_a_judge_rates_turns_and_its_silence_is_null() -> None:
    batch = _card().with_columns(turn_reward=None)
    judge = FakeJudge(mute=[2])
    credit = _run(batch, judge=judge, rng=0)
    scores = FakeJudge(mute=[2]).score(batch, "turn", np.random.default_rng(0), rubric=RUBRIC).values
    assert_array_equal(credit.token, _run(batch, turn_reward=scores).token)
    assert credit.parts["turn"][2] == 0.0
    assert credit.bill.judge_calls > 0
    assert not RUBRIC.privileged


def test_without_turn_rewards_it_says_how_to_get_them() -> None:
    with pytest.raises(MissingColumn, match=r"'turn_reward'[\s\S]*judge="):
        _run(_card().with_columns(turn_reward=None))


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"alpha": 1.5}, "alpha"), ({"estimator": "cae", "coef": 2.0}, "cae"),
        ({"estimator": "cae", "one_turn": "combined"}, "cae"), ({"variant": "mt_ppo", "lam": 2.0}, "lam"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(option: dict[str, Any], match: str) -> None:
    with pytest.raises(OptionError, match=match):
        _run(_card(), **option)
