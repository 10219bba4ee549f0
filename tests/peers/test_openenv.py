"""OpenEnv 0.3.0: its own rubrics, with our credit of their steps."""

from __future__ import annotations

import importlib
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openenv")

from apportion.errors import BatchError, OptionError, TrainerError
from apportion.integrations import openenv as plugin
from apportion.integrations.conformance.standins import standing_in
from apportion.integrations.method_table import page
from apportion.registry import methods
from tests.peers import pages

with standing_in(("fastmcp", "mcp")):  # its servers import them; a rubric does not
    rubrics = importlib.import_module("openenv.core.rubrics.trajectory")

CreditRubric: Any = plugin.CreditRubric


class Rubric(CreditRubric):  # type: ignore[misc]
    """The last observation says what the episode is worth, and every one where the agent is."""

    def score_trajectory(self, trajectory: Any) -> Any:
        return trajectory[-1][1].worth

    def state_of(self, observation: Any) -> Any:
        return observation.at

    def task_of(self, trajectory: Any) -> Any:
        return trajectory[0][1].task


def play(rubric: Any, places: list[Any], worth: Any, *, task: str = "t", done: bool = True) -> list[float]:
    rubric.reset()
    for k, at in enumerate(places):
        rubric(None, SimpleNamespace(at=at, worth=worth, task=task, done=done and k == len(places) - 1))
    found: list[float] = rubric.compute_step_rewards()
    return found


def test_the_example_runs_as_written_and_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    pages.check("openenv", pages.run_here("openenv", capsys), plugin.OPENENV)


def test_credit_is_the_advantage_over_the_episodes_before() -> None:
    rubric = Rubric(credit="rloo")
    assert isinstance(rubric, rubrics.TrajectoryRubric)
    assert play(rubric, ["a"], 1.0) == [0.0]  # nothing to compare with
    assert play(rubric, ["a", "b"], 0.0) == [-1.0, -1.0]
    assert play(rubric, ["a", "b", "c"], 2.0) == [1.5, 1.5, 1.5]
    assert rubric.group_step_rewards() == [[0.0], [-1.5, -1.5], [1.5, 1.5, 1.5]]


def test_states_part_steps_that_outcomes_do_not() -> None:
    rubric = Rubric(credit="pooled_td")
    play(rubric, ["good", "end"], 1.0)
    play(rubric, ["bad", "end"], 0.0)
    steps = play(rubric, ["good", "end"], 1.0)
    bad = rubric.group_step_rewards()[1]
    assert steps[0] > 0 > bad[0]
    assert steps[1] == pytest.approx(0.0)  # from "good" nothing was left to decide


def test_tasks_are_not_compared_with_one_another() -> None:
    rubric = Rubric(credit="rloo")
    play(rubric, ["a"], 1.0, task="x")
    assert play(rubric, ["a"], 0.0, task="y") == [0.0]
    assert play(rubric, ["a"], 0.0, task="x") == [-1.0]


def test_memory_is_bounded_shared_and_holds_finished_episodes_only() -> None:
    short = Rubric(credit="rloo", memory=1)
    for worth in (5.0, 1.0, 0.0):
        last = play(short, ["a"], worth)
    assert last == [-1.0]  # against the episode before, the first is forgotten
    shared: deque[Any] = deque(maxlen=8)
    one, other = (Rubric(credit="rloo", memory=shared) for _ in range(2))
    play(one, ["a"], 1.0)
    one.reset()
    assert play(other, ["a"], 0.0) == [-1.0]
    unfinished = Rubric(credit="rloo")
    play(unfinished, ["a"], 9.0, done=False)
    assert play(unfinished, ["a"], 0.0) == [0.0]


def test_an_unfinished_episode_is_credited_as_truncated() -> None:
    rubric = Rubric(credit="rloo")
    play(rubric, ["a"], 1.0)
    assert play(rubric, ["a"], 0.0, done=False) == [-1.0]
    assert rubric._rollout().truncated is True


def test_what_steps_earned_comes_on_top_of_the_score() -> None:
    class Paid(Rubric):
        def earned(self, action: Any, observation: Any) -> float:
            return 0.5 if observation.at == "coin" else 0.0

    rubric = Paid(credit="rloo")
    play(rubric, ["a"], 0.0)
    assert play(rubric, ["coin", "b"], 1.0) == [1.5, 1.5]


def test_no_step_no_credit() -> None:
    rubric = Rubric(credit="rloo")
    assert rubric.compute_step_rewards() == []
    assert rubric.group_step_rewards() == []


def test_openenvs_own_parts_go_on_working() -> None:
    rubric = Rubric(credit="rloo", intermediate_reward=0.25)
    seen = [rubric(None, SimpleNamespace(at="a", worth=1.0, task="t", done=d)) for d in (False, True)]
    assert seen == [0.25, 1.0]
    assert rubric.state_dict() == {"intermediate_reward": 0.25}
    assert len(rubric.trajectory) == 2


@pytest.mark.parametrize(
    ("places", "worth", "words"),
    [
        (["a"], float("nan"), "episode 1: score_trajectory gave nan"),
        (["a"], None, "episode 1: score_trajectory gave None"),
        ([["a"]], 1.0, "episode 1: a state key is a list"),
    ],
)
def test_bad_numbers_and_keys_are_one_error_that_names_the_episode(places: list[Any], worth: Any, words: str) -> None:
    rubric, other = (Rubric(credit="rloo", memory=shared) for shared in [deque[Any]()] * 2)
    play(other, ["b"], 0.0)
    other.reset()
    with pytest.raises(BatchError, match=words):
        play(rubric, places, worth)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"credit": "rloo", "credit_options": {"omega": 1}}, "rloo has no option 'omega'"),
        ({"credit": "vineppo"}, "no prefix_value"),
        ({"credit": "gae", "credit_options": {"fit": True}}, "go by token ids"),
        ({"credit": "sorl", "credit_options": {"fit": True}}, "go by token ids"),
        ({"credit": "rloo", "memory": -1}, "memory = -1"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_rubric_is_made(given: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Rubric(**given)


def test_methods_of_states_need_states() -> None:
    class Blind(CreditRubric):  # type: ignore[misc]
        def score_trajectory(self, trajectory: Any) -> float:
            return 0.0

    with pytest.raises(OptionError, match="write state_of"):
        Blind(credit="gigpo")
    with pytest.raises(OptionError, match="write earned"):
        Blind(credit="turn_level_reward")
    Blind(credit="rloo")


def test_the_mixin_stands_in_front_of_a_trajectory_rubric_or_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainerError, match="stands behind"):
        type("Behind", (rubrics.TrajectoryRubric, plugin.CreditMixin), {})
    with pytest.raises(TrainerError, match="is no TrajectoryRubric"):
        plugin.CreditMixin()
    monkeypatch.setattr("apportion.integrations.versions.version", lambda package: "0.4.1")
    with pytest.raises(TrainerError, match=r"openenv-core >= 0\.3\.0, < 0\.4, not with 0\.4\.1"):
        Rubric(credit="rloo")


def test_every_method_of_the_table_gives_finite_credit_of_every_step() -> None:
    table = page(plugin.OPENENV, "<!-- methods -->\n<!-- end of methods -->")
    fed = [spec for spec in methods() if f"| `{spec}` |" in table and "| yes |" in table.split(f"| `{spec}` |")[1].split("\n")[0]]
    assert {"rloo", "gigpo", "pooled_td"} <= set(fed)

    class Full(Rubric):
        def earned(self, action: Any, observation: Any) -> float:
            return 0.1 if observation.at == "b" else 0.0

    for method in fed:
        rubric = Full(credit=method)
        for places, worth in ((["a", "b"], 1.0), (["a"], 0.0), (["c", "b", "a"], 0.5)):
            assert np.isfinite(play(rubric, places, worth)).all(), method
