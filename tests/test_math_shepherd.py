"""Math-Shepherd: the card's worked example, its labels and forms, its sampler and its reward model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import OptionError
from apportion.evidence.prefix import LearnedPrefix
from apportion.methods import math_shepherd as module

from .fakes import FakeSampler

NAN = np.nan
#: Four steps of a longer solution (its fifth is there so that no label is the outcome); the prompt's rate first.
RATES = np.array([0.5, 0.75, 0.5, 0.0, 0.25, 1.0])


def _steps(n: int = 5, tokens: int = 2, **columns: Any) -> Batch:
    return Batch.from_turns([[n * tokens]], steps=[[tokens] * n], **{"outcome": [1.0], **columns})


def _credit(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "math_shepherd", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    soft = _credit(_steps(), success_rate=RATES, label="soft")
    assert_allclose(soft.unit[:4], [0.75, 0.50, 0.0, 0.25])
    assert_allclose(_credit(_steps(), success_rate=RATES).unit, soft.unit)  # the card's default
    hard = _credit(_steps(), success_rate=RATES, label="hard")
    assert_allclose(hard.unit[:4], [1, 1, 0, 1])
    assert hard.diagnostics == {"scored": 1.0, "positive": 0.8}
    difference = _credit(_steps(), success_rate=RATES, form="difference", label="soft")
    assert_allclose(difference.unit[:4], [0.25, -0.25, -0.50, 0.25])
    assert_allclose(difference.unit.sum(), 1.0 - 0.5)


def test_the_paper_pays_a_step_at_its_last_token_only() -> None:
    credit = _credit(_steps(), success_rate=RATES, label="soft")
    assert credit.kind == "reward"
    assert_allclose(credit.token, [0, 0.75, 0, 0.5, 0, 0, 0, 0.25, 0, 1.0])
    tail = _steps(2, 3, action=[True, True, True, True, True, False])
    assert_allclose(_credit(tail, success_rate=[0.5, 0.2, 0.9], label="soft").token, [0, 0, 0.2, 0, 0.9, 0])
    assert _credit(_steps(), success_rate=RATES, form="difference").kind == "advantage"


def test_its_rewards_become_advantages_with_the_critic_of_the_paper() -> None:
    paid = _credit(_steps(), success_rate=RATES, label="soft")
    batch = _steps(outcome=None).with_columns(token_reward=paid.token, value=np.full(10, 0.1))
    advantage = assign(batch, "gae")
    assert isinstance(advantage, Credit)
    to_go = paid.token[::-1].cumsum()[::-1]
    assert_allclose(advantage.token, to_go - 0.1)


def test_with_soft_labels_and_outcomes_of_0_or_1_differences_are_vineppo() -> None:
    rates = np.array([0.5, 0.75, 0.5, 0.0, 0.25, 0.0])
    batch = _steps(outcome=[0.0])
    ours = _credit(batch, success_rate=rates, form="difference", label="soft")
    vine = assign(batch, "vineppo", prefix_value=rates)
    assert isinstance(vine, Credit)
    assert_allclose(ours.token, vine.token)
    hard = _credit(batch, success_rate=rates, form="difference", label="hard")
    assert_allclose(hard.unit, [0.5, 0.0, -1.0, 1.0, -1.0])  # the prompt's rate is never made hard
    assert np.abs(hard.token - vine.token).max() > 0.4


def test_steps_that_were_not_asked_are_null() -> None:
    rates = np.array([0.5, 0.75, NAN, 0.0, 0.25, 1.0])
    paid = _credit(_steps(), success_rate=rates, label="soft")
    assert_allclose(paid.unit, [0.75, 0, 0, 0.25, 1.0])
    assert paid.scored is not None
    assert_array_equal(paid.scored, [True, False, True, True, True])
    assert paid.diagnostics["scored"] == 0.8
    difference = _credit(_steps(), success_rate=rates, form="difference", label="soft")
    assert_allclose(difference.unit, [0.25, 0, 0, 0.25, 0.75])
    assert difference.scored is not None
    assert_array_equal(difference.scored, [True, False, False, True, True])


def test_prefixes_are_asked_once_each_and_the_last_one_is_the_outcome() -> None:
    answers = {p: [1.0, 0.0, 1.0, 0.0] if p % 2 else [0.0, 0.0, 0.0, 2.0] for p in range(9)}
    sampler = FakeSampler(answer=lambda p: answers[p])
    batch = Batch.from_turns([[4], [6]], steps=[[2, 2], [2, 2, 2]], outcome=[0.0, 2.0])
    found = module.collect(batch, sampler, k=4, rng=np.random.default_rng(0))
    assert sampler.asked == [("step_prefix", [0, 1, 3, 4, 5])]
    assert_allclose(found.arrays["success_rate"], [0.25, 0.5, 0.0, 0.5, 0.25, 0.5, 1.0])
    assert found.bill.generated == 10 * 4 * 5
    strict = module.collect(batch, FakeSampler(answer=lambda p: answers[p]), k=4, above=1.0, rng=np.random.default_rng(0))
    assert_allclose(strict.arrays["success_rate"], [0.25, 0.0, 0.0, 0.0, 0.25, 0.0, 1.0])
    turns = Batch.from_turns([[2, 2]], outcome=[1.0])  # without steps a step is a turn
    module.collect(turns, sampler, k=4, rng=np.random.default_rng(0))
    assert sampler.asked[-1] == ("prefix", [0, 1])


def test_completions_that_did_not_come_back_do_not_count() -> None:
    sampler = FakeSampler(answer=lambda p: [NAN, 1.0] if p == 0 else [NAN, NAN])
    found = module.collect(_steps(2), sampler, k=2, rng=np.random.default_rng(0))
    assert_allclose(found.arrays["success_rate"], [1.0, NAN, 1.0])
    assert found.diagnostics == {"asked": 2.0, "lost": 1.0}
    with pytest.raises(OptionError, match=r"shape \(2, 2\), expected \(2, 3\)"):
        module.collect(_steps(2), sampler, k=3, rng=np.random.default_rng(0))
    with pytest.raises(OptionError, match="k = 0"):
        module.collect(_steps(2), sampler, k=0, rng=np.random.default_rng(0))


@pytest.mark.parametrize("value", [-0.2, 1.5])
def test_what_is_no_share_is_refused_by_index(value: float) -> None:
    with pytest.raises(OptionError, match=rf"'success_rate'\[1\] = {value}"):
        _credit(_steps(2), success_rate=[0.5, value, 1.0])


def _world(n: int, seed: int = 0) -> tuple[Batch, np.ndarray[Any, Any]]:
    """Answers of two steps; success is decided by the token of the first step: 0.1 or 0.9."""
    rng = np.random.default_rng(seed)
    good = rng.random(n) < 0.5
    ids = rng.integers(0, 1000, (n, 5))
    ids[:, 0], ids[:, 1], ids[:, 2] = 7, np.where(good, 20, 21), np.where(good, 20, 21)
    outcome = (rng.random(n) < np.where(good, 0.9, 0.1)).astype(float)
    action = np.tile([False, True, True, True, True], n)
    return Batch.from_turns([[5]] * n, steps=[[3, 2]] * n, action=action, ids=ids.ravel(), outcome=outcome), good


def test_the_reward_model_learned_from_own_ends_finds_the_step_that_decides() -> None:
    batch, good = _world(400)
    credit = _credit(batch, fit=True, rng=0, form="difference")
    unit = credit.unit.reshape(-1, 2)
    assert unit[good, 0].mean() > 0.3
    assert unit[~good, 0].mean() < -0.3
    assert np.abs(unit[:, 1]).mean() < 0.1
    assert credit.bill.trained > 0
    assert credit.bill.generated == 0


def test_scores_of_a_reward_model_are_paid_as_they_are_unless_they_are_made_hard() -> None:
    batch, good = _world(400)
    paid = _credit(batch, fit=True, rng=0)
    assert (paid.unit[::2][good] - paid.unit[::2][~good].mean()).mean() > 0.4
    hard = _credit(batch, fit=True, rng=0, label="hard")
    assert hard.diagnostics["positive"] > 0.9  # which is why it is not the default
    rates = [0.5, 0.75, NAN, 0.0, 0.25, 1.0]
    holed = _credit(_steps(), success_rate=rates, label="hard")
    assert holed.diagnostics == {"scored": 0.8, "positive": 0.75}
    assert _credit(_steps(), success_rate=[0.5, *[NAN] * 5], label="hard").diagnostics["positive"] == 0.0


def test_a_rollout_s_own_end_does_not_reach_its_own_scores() -> None:
    batch, _ = _world(60)
    flipped = np.array(batch.outcome)
    flipped[5] = 1 - flipped[5]
    first, second = (
        module.fit(b, rng=np.random.default_rng(0)).evidence(b).arrays["success_rate"].reshape(-1, 3)
        for b in (batch, batch.with_columns(outcome=flipped))
    )
    assert_array_equal(first[5], second[5])
    assert np.abs(first - second).max() > 1e-3


def test_the_reward_model_trained_on_completions_scores_every_prefix() -> None:
    batch, good = _world(200)
    decided = np.repeat(good, 3).reshape(-1, 3)

    def answer(p: int) -> list[float]:
        i, j = divmod(p, 3)
        rng = np.random.default_rng(p)
        right = rng.random(8) < (0.5 if j == 0 else 0.9 if decided[i, j] else 0.1)
        return [float(r) for r in right]

    plain, sampler = (FakeSampler(answer=answer) for _ in range(2))
    soft = module.collect(batch, sampler, prm=True, prm_label="soft", rng=np.random.default_rng(0))
    rate = soft.arrays["success_rate"].reshape(-1, 3)
    assert_allclose(rate[:, 0].mean(), 0.5, atol=0.1)
    assert rate[good, 1].mean() > 0.75
    assert rate[~good, 1].mean() < 0.25
    assert soft.provenance == "learned"
    counted = module.collect(batch, plain, rng=np.random.default_rng(0))
    assert soft.bill.generated == counted.bill.generated == 10 * 8 * 400
    assert soft.bill.trained > 0
    hard = module.collect(batch, plain, prm=True, rng=np.random.default_rng(0)).arrays["success_rate"].reshape(-1, 3)
    assert hard[~good, 1].mean() > 0.4  # one lucky completion in eight is enough for a hard label
    assert_allclose(hard[:, 0].mean(), 0.5, atol=0.1)


def test_a_prefix_is_judged_by_what_was_last_seen_or_done() -> None:
    rng = np.random.default_rng(0)
    n = 300
    ids = np.full((n, 6), 9)
    done, seen = rng.integers(0, 2, (2, n))
    ids[:, 1], ids[:, 3] = 20 + done, 30 + seen  # what the first step does, what the second turn shows
    outcome = np.where(seen == 1, 1.0, 0.0)
    action = np.tile([False, True, True, False, True, True], n)
    turns = Batch.from_turns([[3, 3]] * n, action=action, ids=ids.ravel(), outcome=outcome)
    learned = module.fit(turns, rng=rng)
    assert isinstance(learned, LearnedPrefix)
    middle = learned.chance(turns).reshape(-1, 3)[:, 1]  # before the second turn: what it shows is known
    assert middle[seen == 1].mean() > 0.8
    assert middle[seen == 0].mean() < 0.2
    acts = np.where(done == 1, 1.0, 0.0)
    steps = Batch.from_turns(
        [[6]] * n, steps=[[3, 3]] * n, action=np.tile([False] + [True] * 5, n), ids=ids.ravel(), outcome=acts
    )
    middle = module.fit(steps, rng=rng).chance(steps).reshape(-1, 3)[:, 1]  # nothing was shown: what was done counts
    assert middle[done == 1].mean() > 0.8
    assert middle[done == 0].mean() < 0.2
