"""LLM-MCA: the card's worked example, caps, what an answer in words holds, and an answer that holds nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.batch import Batch as Rollouts
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Asked, Bill, Rubric
from apportion.methods.llm_mca import RUBRIC, read_credits
from apportion.words import Axis, Provenance

from .fakes import FakeJudge

N = np.nan
RAW = np.array([0.0, 1, 4, 9, 1, 1, 0, 0, 0, 2, 0, -1, 0, 1])
SCALED = RAW * 10 / 14
G = np.array([9.7451, 9.8435, 9.2214, 6.4286, 1.4214, 0.7143, 0, 0, 1.4143, 1.4286, 0, -0.0142, 0.7071, 0.7143])


def _team(**changes: Any) -> Batch:
    columns = {"agent": ["a", "b"] * 2, "episode": [0, 0, 1, 1], "outcome": [1.0, 1.0, 0.0, 0.0], "group": [0, 0, 1, 1]}
    return Batch.from_turns([[2] * 4, [2] * 4, [2] * 3, [2] * 3], **{**columns, **changes})


def _mca(batch: Batch, credits: Any = RAW, **options: Any) -> Credit:
    credit = assign(batch, "llm_mca", credits=credits, **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    credit = _mca(_team(), baseline="none")
    assert_allclose(credit.unit, G, atol=5e-5)
    assert_allclose(_mca(_team(), baseline="none", gamma=0.0).unit, SCALED, atol=5e-5)
    assert_allclose(credit.diagnostics["factor"], 10 / 14)
    assert credit.diagnostics["missing"] == credit.diagnostics["fallback"] == 0.0
    assert credit.level == "turn"
    assert_array_equal(credit.token, np.repeat(credit.unit, 2))


def test_worked_caps_of_the_card() -> None:
    plain: dict[str, Any] = {"baseline": "none", "gamma": 0.0}
    assert_allclose(_mca(_team(), cap_over="episode", **plain).unit, np.append(SCALED[:8], RAW[8:]))
    late = np.append(RAW[:8], 10 * RAW[8:])  # both episodes exceed it: 14 and 20
    assert_allclose(_mca(_team(), late, cap_over="episode", **plain).unit, np.append(SCALED[:8], 5 * RAW[8:]))
    assert_allclose(_mca(_team(), cap_over="array", **plain).unit, np.append(SCALED[:4], RAW[4:]))
    assert_array_equal(_mca(_team(), cap_over="none", **plain).unit, RAW)
    assert_array_equal(_mca(_team(), cap=14.0, **plain).unit, RAW)
    assert_allclose(_mca(_team(), cap=7.0, **plain).unit, RAW / 2)
    assert_allclose(_mca(_team(), -RAW, **plain).unit, -SCALED)  # absolute sums
    ratio = _mca(_team(), **plain).unit
    assert_allclose(ratio[:4].sum() / ratio[8:11].sum(), 14 / 2)


def test_several_trajectories_of_an_agent_in_an_episode_share_a_cap() -> None:
    batch = Batch.from_turns([[1], [1], [1]], agent=["a", "a", "b"], episode=[0, 0, 0], outcome=[1.0] * 3)
    plain: dict[str, Any] = {"baseline": "none", "gamma": 0.0}
    assert_allclose(_mca(batch, [8.0, 12.0, 5.0], **plain).unit, [4.0, 6.0, 2.5])
    assert_allclose(_mca(batch, [8.0, 12.0, 5.0], cap_over="array", **plain).unit, [4.0, 6.0, 5.0])


def test_returns_are_standardised_per_agent_and_step_over_the_episodes_that_reach_it() -> None:
    credit = _mca(_team(), gamma=1.0, eps=0.0, cap_over="none")
    # two episodes: +-1 where they differ, 0 at the step that one of them alone reaches
    assert_allclose(credit.unit, [1, 1, 1, 0, 1, 0, -1, 0, -1, -1, -1, -1, 0, 1])
    three = Batch.from_turns([[1], [1], [1]], agent=["a"] * 3, episode=[0, 1, 2], outcome=[0.0] * 3)
    x = np.array([1.0, 2.0, 6.0])
    assert_allclose(_mca(three, x).unit, (x - x.mean()) / (x.std() + 1e-6))
    assert_array_equal(_mca(three, [4.0, 4.0, 4.0], eps=0.0).unit, 0.0)
    others = Batch.from_turns([[1]] * 4, agent=["a"] * 3 + ["b"], episode=[0, 1, 2, 2], outcome=[0.0] * 4)
    assert_array_equal(_mca(others, [*x, 9.0]).unit, [*_mca(three, x).unit, 0.0])


def test_episodes_of_other_prompts_count_unless_the_group_is_asked_for() -> None:
    assert_array_equal(_mca(_team(), baseline="group").unit, 0.0)  # one episode a prompt
    one = _team(group=[0] * 4)
    assert_array_equal(_mca(one, baseline="group").unit, _mca(one).unit)
    with pytest.raises(MissingColumn, match="'group' is missing for llm_mca with baseline='group'"):
        _mca(_team(group=None), baseline="group")


def test_a_discount_reaches_back_within_a_trajectory_only() -> None:
    got = _mca(_team(), np.eye(14)[3], gamma=0.5, baseline="none").unit
    assert_allclose(got, [0.125, 0.25, 0.5, 1.0, *[0.0] * 10])


def test_numbers_that_are_missing_are_zero_and_counted() -> None:
    holed = np.where(np.arange(14) == 3, N, RAW)
    credit = _mca(_team(), holed)
    assert_array_equal(credit.unit, _mca(_team(), np.where(np.arange(14) == 3, 0.0, RAW)).unit)
    assert_allclose(credit.diagnostics["missing"], 1 / 14)
    assert credit.diagnostics["fallback"] == 0.0
    assert not _mca(_team(), np.zeros(14)).token.any()  # a critic that sees nothing to credit is no empty answer


def test_an_empty_answer_falls_back_to_the_team_s_reward_and_says_so() -> None:
    credit = _mca(_team(outcome=[30.0, 30.0, 0.0, 0.0]), np.full(14, N), baseline="none", gamma=0.5)
    assert_allclose(credit.unit, [3.75, 7.5, 15, 30, 3.75, 7.5, 15, 30, *[0.0] * 6])  # no cap
    assert credit.diagnostics["fallback"] == credit.diagnostics["missing"] == credit.diagnostics["factor"] == 1.0
    assert _mca(_team(), np.full(14, N)).token.any()


ANSWER = """In Episode 0 agent a opened the door; a_credit = [7, 7, 7, 7] would be too much.
## Episode 0
a_credit = [0, 1, 4, 9]
b_credit: [1, none]
## Episode 1
**a_credit** = [0, 2, 0, 5, 6]
b_credit = [5, 5, 5]
b_credit = [-1, inf, 1.5]
ab_credit = [9, 9, 9]
"""


def test_an_answer_in_words_is_read_by_episode_and_whole_name() -> None:
    got = read_credits(ANSWER, _team())
    assert_array_equal(got, [0, 1, 4, 9, 1, N, N, N, 0, 2, 0, -1, N, 1.5])


def test_worked_parser_of_the_card() -> None:
    batch = Batch.from_turns([[1] * 4, [1] * 4], agent=["a", "b"], episode=[0, 0], outcome=[1.0, 1.0])
    got = read_credits("a_credit = [1, 2]", batch)
    assert_array_equal(got, [1, 2, N, N, N, N, N, N])
    credit = _mca(batch, got, baseline="none", gamma=0.0)
    assert_array_equal(credit.unit, [1, 2, 0, 0, 0, 0, 0, 0])
    assert_allclose(credit.diagnostics["missing"], 6 / 8)
    assert np.isnan(read_credits("I cannot say.", batch)).all()
    assert np.isnan(read_credits("Episode 3\na_credit = [1, 2]", batch)).all()
    assert np.isnan(read_credits("a_credit = []", batch)).all()
    spoken = read_credits("Episode 0: first thoughts\na_credit = [9]\nb_credit = [7]\nEpisode 0, final\na_credit = [3]\n", batch)
    assert (spoken[0], spoken[4]) == (3, 7)
    hyphen = Batch.from_turns([[1], [1]], agent=["y", "x-y"], episode=[0, 0], outcome=[1.0, 1.0])
    assert_array_equal(read_credits("y_credit = [9]\nx-y_credit = [1]", hyphen), [9, 1])
    twice = Batch.from_turns([[1], [1, 1]], agent=["x-y", "x-y"], episode=[0, 0], outcome=[1.0, 1.0])
    assert_array_equal(read_credits("y_credit = [9]\nx-y_credit = [1, 2, 3]", twice), [1, 2, 3])


class Positional:
    """Credits a turn by its place in what it was shown (a critic that the order of the prompt sways)."""

    provenance: Provenance = "model_judgement"

    def __init__(self) -> None:
        self.shown: list[list[Any]] = []

    def score(self, batch: Rollouts, unit: Axis, rng: np.random.Generator, *, rubric: Rubric | None = None) -> Asked:
        self.shown.append(batch.trajectory.to_list())
        values = np.minimum(np.arange(batch.count(unit)), 10).astype(float)
        values[0] = np.nan
        return Asked(values, Bill(judge_calls=99.0, scored=5.0))


def test_one_call_reads_the_batch_and_orders_are_averaged() -> None:
    credit = assign(_team(), "llm_mca", judge=FakeJudge(mute=(1,)), rng=0)
    assert isinstance(credit, Credit)
    assert credit.bill.judge_calls == 1
    assert_allclose(credit.diagnostics["missing"], 1 / 14)
    assert credit.evidence["credits"]["provenance"] == "model_judgement"
    assert assign(_team(), "llm_mca", judge=FakeJudge(), rng=0, per_call=1).bill.judge_calls == 2
    assert assign(_team(), "llm_mca", judge=FakeJudge(), rng=0, per_call=2).bill.judge_calls == 1
    critic, batch = Positional(), _team(trajectory=list("pqrs"))
    got = assign(batch, "llm_mca", judge=critic, rng=1, orders=3, baseline="none", gamma=0.0, cap_over="none")
    assert isinstance(got, Credit)
    assert got.bill == Bill(judge_calls=3.0, scored=15.0 + 3 * 28)  # it reads all tokens each time
    assert critic.shown[0] == list("pqrs")
    assert len({tuple(s) for s in critic.shown}) > 1
    length, start = {"p": 4, "q": 4, "r": 3, "s": 3}, {"p": 0, "q": 4, "r": 8, "s": 11}
    answers = np.full((3, 14), N)
    for k, shown in enumerate(critic.shown):
        place = 0
        for name in shown:
            for t in range(length[name]):
                answers[k, start[name] + t] = min(place, 10) if place else N
                place += 1
    assert_allclose(got.unit, np.nanmean(answers, axis=0))
    wrong: dict[str, Any]
    for wrong in ({"orders": 0}, {"per_call": 0}):
        with pytest.raises(OptionError, match="expected at least 1"):
            assign(_team(), "llm_mca", judge=FakeJudge(), rng=0, fit=False, learned=None, **wrong)


def test_bad_input_is_refused() -> None:
    with pytest.raises(OptionError, match=r"shape \(14, 2\), expected \(14,\)"):
        _mca(_team(), np.ones((14, 2)))
    wrong: dict[str, Any]
    for wrong in ({"cap": 0.0}, {"gamma": 1.5}):
        with pytest.raises(OptionError, match="from 0 to 1, and one above 0"):
            _mca(_team(), **wrong)
    with pytest.raises(BatchError, match=r"agent\[0\] is null: llm_mca"):
        _mca(_team(agent=[None, "b", "a", "b"]))
    with pytest.raises(MissingColumn, match="'reward' is missing for llm_mca"):
        _mca(_team(outcome=None))
    assert not RUBRIC.privileged
