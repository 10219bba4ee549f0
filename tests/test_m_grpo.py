"""M-GRPO: the card's worked example, alignment drawn from a seed, missing calls, scores and formats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign, get
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.methods.m_grpo import RUBRIC

from .fakes import FakeJudge

N = np.nan
ROLLOUTS: dict[str, Any] = {
    "agent": ["main", "sub", "sub", "main", "sub", "main", "sub", "sub", "sub"],
    "episode": [0, 0, 0, 1, 1, 2, 2, 2, 2],
    "outcome": [1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0],
    "group": ["q"] * 9,
}
EXPERT = np.array([N, 0.8, 0.2, N, 0.6, N, 0.9, 0.5, 0.1])
VALID = np.array([1.0, 1, 1, 1, 1, 0, 0, 1, 1])
A_MAIN = [1.4084, -0.5930, -0.8154]


def _rollouts(**changes: Any) -> Batch:
    return Batch.from_turns([[2]] * 9, **{**ROLLOUTS, "trajectory": list("abcdefghi"), **changes})


def _m_grpo(batch: Batch, **options: Any) -> Credit:
    credit = get("m_grpo")(batch, **{"expert": EXPERT, "valid": VALID, **options})
    assert isinstance(credit, Credit)
    return credit


def _by_id(credit: Credit) -> dict[str, list[float]]:
    """Credit of every copy by the id of its original."""
    found: dict[str, list[float]] = {}
    for name, value in zip(credit.batch.trajectory.to_list(), credit.unit.tolist(), strict=True):
        found.setdefault(name.split("#")[0], []).append(value)
    return found


def _seeded(taken: str, **options: Any) -> Credit:
    """The first seed whose alignment takes these trajectories."""
    for seed in range(200):
        credit = _m_grpo(_rollouts(), d=2, rng=seed, **options)
        if "".join(name.split("#")[0] for name in credit.batch.trajectory.to_list()) == taken:
            return credit
    raise AssertionError(f"no seed takes {taken}")


def test_worked_example_of_the_card() -> None:
    credit = _seeded("abcdeefhi")  # k2 doubled, the first call of k3 dropped
    got = _by_id(credit)
    assert_allclose([got[k][0] for k in "adf"], A_MAIN, atol=5e-5)
    assert_allclose([*got["b"], *got["c"]], [1.6641, 0.0], atol=5e-5)
    assert_allclose(got["e"], [-1.1094, -1.1094], atol=5e-5)
    assert_allclose([*got["h"], *got["i"]], [0.8320, -0.2773], atol=5e-5)
    assert credit.rows is not None
    assert_array_equal(credit.rows, [0, 1, 2, 3, 4, 4, 5, 7, 8])
    assert credit.batch.same(_rollouts().take(credit.rows))
    assert (credit.loss.ratio, credit.loss.form) == ("sequence", "product")
    assert_allclose(credit.diagnostics["copied"], 1 / 9)
    assert_allclose(credit.diagnostics["dropped"], 1 / 6)
    assert credit.diagnostics["unparsed"] == 0.0


def test_worked_values_without_alignment_of_the_card() -> None:
    calls = np.flatnonzero(np.array(ROLLOUTS["agent"]) == "sub")
    alone = {n: [v[i] for i in calls] for n, v in ROLLOUTS.items()}
    # each call a rollout of its own: nothing to copy or to drop
    batch = Batch.from_turns(
        [[2]] * 7,
        agent=[*alone["agent"], "main"],
        outcome=[*alone["outcome"], 0.0],
        group=["q"] * 6 + ["other"],
        episode=range(7),
    )
    credit = _m_grpo(batch, expert=[*EXPERT[calls], N], valid=[*VALID[calls], 1.0], d=1)
    assert_allclose(credit.unit[:6], [1.2852, 0.2337, -0.4674, -1.8695, 0.7595, 0.0584], atol=5e-5)
    assert credit.unit[6] == 0.0  # a group of one


def test_the_alignment_is_random_and_seeded() -> None:
    rows = [_m_grpo(_rollouts(), d=2, rng=seed).rows for seed in range(20)]
    assert len({tuple(r) for r in rows if r is not None}) == 3  # one of three calls is dropped
    assert_array_equal(_m_grpo(_rollouts(), d=2, rng=3).rows, _m_grpo(_rollouts(), d=2, rng=3).rows)
    assert_array_equal(_m_grpo(_rollouts(), d=2).rows, _m_grpo(_rollouts(), d=2, rng=0).rows)
    assert _m_grpo(_rollouts()).unit.size == 3 + 3 * 8  # the paper's d
    one = _m_grpo(_rollouts(), d=1).diagnostics
    assert (one["copied"], one["dropped"]) == (0.0, 0.5)
    for seed in (1, 2):
        both = [assign(_rollouts(), "m_grpo", rng=seed, expert=EXPERT, d=2) for _ in range(2)]
        assert_array_equal(both[0].rows, both[1].rows)  # type: ignore[union-attr]


def test_every_rollout_has_d_calls_and_copies_are_even() -> None:
    counts = np.zeros(9)
    both = 0
    for seed in range(300):
        credit = _m_grpo(_rollouts(), d=4, rng=seed)
        assert credit.rows is not None
        times = np.bincount(credit.rows, minlength=9)
        assert_array_equal(times[[0, 3, 5]], 1)  # the main agent is never copied
        assert_array_equal([times[1:3].sum(), times[4], times[6:].sum()], [4, 4, 4])
        assert times[1] >= 1
        assert times[2] >= 1
        assert (times[6:] >= 1).all()  # copies come on top of all originals
        counts += times
        both += int(times[1] == 2)
    assert 100 < both < 200  # two copies are drawn one by one: of either call in half of the draws
    assert_allclose(counts[[1, 2]] / 300, 2.0, atol=0.2)
    assert_allclose(counts[6:] / 300, 4 / 3, atol=0.15)
    dropped = np.zeros(9)
    for seed in range(300):
        rows = _m_grpo(_rollouts(), d=1, rng=seed).rows
        assert rows is not None
        dropped += np.bincount(rows, minlength=9)
    assert_allclose(dropped[6:] / 300, 1 / 3, atol=0.1)


def test_a_copy_has_the_credit_of_its_original_on_all_policy_tokens() -> None:
    action = np.tile([False, True], 9)
    credit = _m_grpo(_rollouts(action=action), d=4)
    for values in _by_id(credit).values():
        assert len(set(values)) == 1
    assert_array_equal(credit.token, np.stack([np.zeros(credit.unit.size), credit.unit], axis=1).ravel())


def test_trajectories_of_several_rows_are_taken_whole() -> None:
    b = Batch.from_turns([[1, 2], [1, 1], [1], [3]], agent=["main", "sub", "main", "sub"], episode=[0, 0, 1, 1], group=[0] * 4,
                         outcome=[1.0, 1.0, 0.0, 0.0])  # fmt: skip
    columns = {n: getattr(b, n) for n in ("agent", "episode", "group", "outcome")}
    rows = Batch(turn_offsets=b.turn_offsets, row_turns=np.arange(7), trajectory_rows=b.trajectory_turns, action=b.action,
                 trajectory=b.trajectory, **columns)  # fmt: skip
    credit = _m_grpo(rows, expert=[N, 1.0, N, 0.0], valid=None, d=2)
    assert_array_equal(credit.rows, [0, 1, 2, 3, 2, 3, 4, 5, 5])
    assert_array_equal(np.diff(credit.batch.trajectory_rows), [2, 2, 2, 1, 1, 1])


def test_each_sub_agent_has_its_own_statistics() -> None:
    two = _rollouts(agent=["main", "sub", "other", "main", "sub", "main", "other", "sub", "sub"])
    credit = _m_grpo(two, valid=None, d=1, rng=0)
    who = np.array(credit.batch.need("agent").to_list())
    for name in ("main", "sub", "other"):
        values = credit.unit[who == name]
        assert_allclose(values.mean(), 0.0, atol=1e-12)
        assert_allclose(values.std(), 1.0, atol=1e-4)
    assert (who == "other").sum() == 2  # the second rollout did not call it
    prompts = _rollouts(group=["q", "q", "q", "p", "p", "p2", "p2", "p2", "p2"])
    assert_array_equal(_m_grpo(prompts, d=1).unit, 0.0)  # one rollout a prompt


def test_a_rollout_without_calls_stays_out_of_the_sub_agent_s_batch() -> None:
    some = [0, 1, 2, 3, 5, 6, 7, 8]
    credit = _m_grpo(_rollouts().take(some), expert=EXPERT[some], valid=None, d=2)
    assert "e" not in _by_id(credit)
    assert len(_by_id(credit)["d"]) == 1
    subs = credit.unit[np.array(credit.batch.need("agent").to_list()) == "sub"]
    assert subs.size == 4
    assert_allclose(subs.mean(), 0.0, atol=1e-12)


def test_a_sub_agent_is_paid_for_the_main_agent_s_answer_in_its_rollout() -> None:
    odd = _rollouts(outcome=[1.0, 0.0, 7.0, 0.0, 9.0, 1.0, 0.0, 0.0, 0.0])  # what stands at calls is not read
    assert_array_equal(_m_grpo(odd, d=2).unit, _m_grpo(_rollouts(), d=2).unit)
    headless = _rollouts(agent=["main", "sub", "sub", "sub", "sub", "main", "sub", "sub", "sub"])
    credit = _m_grpo(
        headless, expert=np.where(np.isnan(EXPERT), 0.6, EXPERT), valid=None, d=1, rng=0, sub_weights=(0.0, 1.0, 0.0)
    )
    assert _by_id(credit).get("d", _by_id(credit).get("e", [9.0]))[0] < 0  # its own reward, 0


def test_an_invalid_format_is_worth_nothing() -> None:
    weights: dict[str, Any] = {"main_weights": (0.5, 0.5), "sub_weights": (0.3, 0.3, 0.4), "d": 1}
    b = Batch.from_turns([[1]] * 4, agent=["main", "sub"] * 2, episode=[0, 0, 1, 1], outcome=[1.0, 1.0, 0.0, 0.0], group=[0] * 4)
    credit = _m_grpo(b, expert=[N, 1.0, N, 0.0], valid=[0.0, 0.0, 1.0, 1.0], **weights)
    assert_allclose(credit.unit, [-1.0, -1.0, 1.0, 1.0], atol=1e-4)  # 0 and 0 against 0.5 and 0.3
    fine = _m_grpo(b, expert=[N, 1.0, N, 0.0], valid=None, **weights)
    assert_allclose(fine.unit, [1.0, 1.0, -1.0, -1.0], atol=1e-4)


def test_the_released_reward_has_no_expert() -> None:
    b = Batch.from_turns([[1]] * 8, agent=["main", "sub"] * 4, episode=np.arange(8) // 2, group=[0] * 8,
                         outcome=np.repeat([1.0, 0.1, 0.0, 0.5], 2))  # fmt: skip
    credit = _m_grpo(b, expert=None, valid=np.array([1.0] * 7 + [0.0]), d=1, sub_reward="released", eps=0.0)
    x = np.array([1.0, 0.1, 0.1, 0.0])
    assert_allclose(credit.unit[1::2], (x - x.mean()) / x.std())
    partly = _m_grpo(b, expert=None, valid=np.array([1.0] * 7 + [0.5]), d=1, sub_reward="released", eps=0.0)
    x[3] = 0.5
    assert_allclose(partly.unit[1::2], (x - x.mean()) / x.std())
    y = 0.1 + 0.9 * np.array([1.0, 0.1, 0.0, 0.5])
    assert_allclose(credit.unit[::2], (y - y.mean()) / y.std())


def test_with_one_call_a_rollout_and_the_released_reward_it_is_grpo_of_each_agent_alone() -> None:
    """Rewards of 0 and 1 keep their z-scores under a x + b: only eps and the weights could tell."""
    outcome = np.repeat([1.0, 0.0, 0.0, 1.0, 0.0], 2)
    b = Batch.from_turns([[1]] * 10, agent=["main", "sub"] * 5, episode=np.arange(10) // 2, group=[0] * 10, outcome=outcome)
    credit = _m_grpo(b, expert=None, valid=None, d=1, sub_reward="released", eps=0.0)
    for own in (slice(0, None, 2), slice(1, None, 2)):
        alone = assign(b.take(np.arange(10)[own]), "grpo", spread="population", eps=0.0)
        assert isinstance(alone, Credit)
        assert_allclose(credit.unit[own], alone.unit)
    expert = np.tile([N, 0.9, N, 0.1], 3)[:10]
    parted = _m_grpo(b, expert=expert, valid=None, d=1, eps=0.0)
    assert np.abs(parted.unit[1::2] - credit.unit[1::2]).max() > 0.1


def test_a_score_that_is_missing_leaves_the_call_out_or_is_zero() -> None:
    holed = EXPERT.copy()
    holed[[2, 4]] = N
    out = _m_grpo(_rollouts(), expert=holed, d=2)
    assert not {"c", "e"} & set(_by_id(out))  # k2 has no call left
    assert len(_by_id(out)["b"]) == 2
    assert_allclose(out.diagnostics["unparsed"], 2 / 6)
    zero = _m_grpo(_rollouts(), expert=holed, d=2, unparsed="zero")
    assert_array_equal(zero.unit, _m_grpo(_rollouts(), expert=np.where(np.isnan(holed), 0.0, holed), d=2).unit)
    assert_allclose(zero.diagnostics["unparsed"], 2 / 6)
    mute = _m_grpo(_rollouts(), expert=np.full(9, N), d=2)
    assert_allclose(mute.unit, A_MAIN, atol=5e-5)
    assert mute.diagnostics["unparsed"] == 1.0


def test_equal_rewards_of_an_agent_are_exactly_zero() -> None:
    credit = _m_grpo(_rollouts(outcome=[0.3] * 9), expert=np.full(9, 0.7), valid=None, eps=0.0)
    assert_array_equal(credit.token, 0.0)


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(OptionError, match=r"main = 'boss': the batch has the agents 'main', 'sub'"):
        _m_grpo(_rollouts(), main="boss")
    with pytest.raises(OptionError, match="d = 0"):
        _m_grpo(_rollouts(), d=0)
    with pytest.raises(OptionError, match=r"'expert'\[1\] = 1\.5: expected a number from 0 to 1"):
        _m_grpo(_rollouts(), expert=np.where(np.arange(9) == 1, 1.5, EXPERT))
    with pytest.raises(OptionError, match=r"'valid'\[2\] = -1"):
        _m_grpo(_rollouts(), valid=np.where(np.arange(9) == 2, -1.0, VALID))
    with pytest.raises(OptionError, match=r"'valid'\[2\] is null"):
        _m_grpo(_rollouts(), valid=np.where(np.arange(9) == 2, N, VALID))
    with pytest.raises(BatchError, match=r"agent\[1\] is null: m_grpo"):
        _m_grpo(_rollouts(agent=["main", None, *ROLLOUTS["agent"][2:]]))
    with pytest.raises(MissingColumn, match="m_grpo needs evidence 'valid'"):
        _m_grpo(_rollouts(), valid=None, formats="given")
    with pytest.raises(MissingColumn, match="m_grpo needs evidence 'expert'"):
        _m_grpo(_rollouts(), expert=None)


def test_the_expert_is_asked_once_per_call_and_formats_are_assumed() -> None:
    credit = assign(_rollouts(), "m_grpo", judge=FakeJudge(mute=(1,)), rng=0, d=2)
    assert isinstance(credit, Credit)
    assert credit.bill.judge_calls == 6
    assert "c" not in _by_id(credit)  # the second of the calls
    assert_allclose(credit.diagnostics["unparsed"], 1 / 6)
    assert credit.evidence["expert"]["provenance"] == "model_judgement"
    assert not RUBRIC.privileged
    assert credit.loss.ratio == "sequence"
    assert _m_grpo(_rollouts(), ratio="token").loss.ratio == "token"
