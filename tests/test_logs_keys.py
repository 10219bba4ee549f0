"""Which key means what: found over the whole log, said in a sentence, and open to being told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.errors import BatchError, OptionError
from apportion.logs import open_log

from .test_logs_chat import ASK, CHAT, LOOK, SAY, lines, said


def rows(**columns: list[Any]) -> list[dict[str, Any]]:
    """Records of the same two-turn chat with these keys; None leaves a key out."""
    n = len(next(iter(columns.values())))
    return [{"messages": CHAT, **{k: v[i] for k, v in columns.items() if v[i] is not None}} for i in range(n)]


@pytest.mark.parametrize("key", ["reward", "outcome", "score", "rewards", "total_reward"])
def test_rewards_go_by_many_names(tmp_path: Path, key: str) -> None:
    log = open_log(lines(tmp_path / "a", *rows(**{key: [1, 0.5]})))
    assert log.batch().need("outcome").tolist() == [1.0, 0.5]
    assert said(log, "outcome reward") == f"The outcome reward is the key '{key}'."


def test_named_rewards_are_weighed_and_added(tmp_path: Path) -> None:
    named = [
        {"right": {"score": 1.0, "weight": 2.0}, "short": {"score": 0.5, "weight": -0.5}},
        {"right": {"score": 0.0}, "short": 1},
    ]
    path = lines(tmp_path / "a", *rows(rewards=named))
    assert open_log(path).batch().need("outcome").tolist() == [1.75, 1.0]
    assert open_log(path, reward="rewards.right.score").batch().need("outcome").tolist() == [1.0, 0.0]


def test_the_reward_may_be_named_or_added_up(tmp_path: Path) -> None:
    path = lines(tmp_path / "a", *rows(reward=[0, 0], judge=[1, 0.5], format=[0.25, 0.25]))
    assert open_log(path, reward="judge").batch().need("outcome").tolist() == [1.0, 0.5]
    assert open_log(path, reward="judge, format").batch().need("outcome").tolist() == [1.25, 0.75]


def test_without_a_reward_the_numbers_that_could_be_one_are_named(tmp_path: Path) -> None:
    log = open_log(lines(tmp_path / "a", *rows(judge=[1, 0.5], length=[3, 4], note=["x", "y"])))
    assert log.batch().outcome is None
    assert "Numbers in every record: judge, length; choose" in said(log, "No outcome reward")


@pytest.mark.parametrize(
    ("rewards", "line"), [([1, None, 0], 2), ([None, 1, 0], 1), ([1, 0, "high"], 3), ([1, 0, 0, None, None], 4)]
)
def test_a_reward_that_some_lack_is_an_error_at_the_first_of_them(tmp_path: Path, rewards: list[Any], line: int) -> None:
    path = lines(tmp_path / "a", *rows(reward=rewards))
    lack = sum(not isinstance(r, int) for r in rewards)
    with pytest.raises(
        BatchError, match=rf"a, line {line}: no reward under the key 'reward'.*{lack} of {len(rewards)} lack it.*unscored='drop'"
    ):
        open_log(path)
    log = open_log(path, unscored="drop")
    assert log.trajectories == log.batch().n_trajectories == len(rewards) - lack
    assert log.batch().need("outcome").tolist() == [r for r in rewards if isinstance(r, int)]
    assert log.batch().trajectory.to_list() == [i + 1 for i, r in enumerate(rewards) if isinstance(r, int)]
    assert f"{lack} of {len(rewards)}" in said(log, "left out")


def test_a_reward_that_is_no_number_is_refused_at_its_line(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="a, line 2: 'reward' = nan: expected a finite number"):
        open_log(lines(tmp_path / "a", *rows(reward=[1.0, float("nan")])))


@pytest.mark.parametrize("key", ["group", "group_id", "uid", "task_id", "problem_id", "example_id", "prompt_id"])
def test_groups_go_by_many_names_and_may_lie_scattered(tmp_path: Path, key: str) -> None:
    log = open_log(lines(tmp_path / "a", *rows(**{key: ["p", "q", "p", 7]})))
    assert log.groups == 3
    assert log.batch().within("trajectory", "group").tolist() == [0, 1, 0, 2]
    assert said(log, "of one group") == f"Rollouts with the same '{key}' are of one group."


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        (["p", "p", "q"], "Groups hold 1 to 2 trajectories; 1 of 2 hold one trajectory, which has nobody to be compared with."),
        (["p", "p", "q", "q", "q"], "Groups hold 2 to 3 trajectories."),
        (["p", "q"], "Groups hold 1 to 1 trajectories; 2 of 2 hold one trajectory, which has nobody to be compared with."),
        (["p", "p", "q", "q"], None),
    ],
)
def test_groups_of_different_sizes_are_read_and_said(tmp_path: Path, groups: list[str], sentence: str | None) -> None:
    log = open_log(lines(tmp_path / "a", *rows(uid=groups)))
    assert log.batch().n_trajectories == len(groups)
    assert [s for s in log.assumed if s.startswith("Groups hold")] == ([sentence] if sentence else [])


def test_a_group_key_that_some_lack_gives_way_to_the_next_and_then_to_the_prompt(tmp_path: Path) -> None:
    path = lines(tmp_path / "a", *rows(group=["p", None], task_id=["s", "t"]))
    assert open_log(path).batch().within("trajectory", "group").tolist() == [0, 1]
    path = lines(tmp_path / "b", *rows(group=["p", None], reward=[1, 0]))
    assert open_log(path).groups == 1
    with pytest.raises(BatchError, match=r"b, line 2: no group under the key 'group'"):
        open_log(path, group="group")


def test_an_own_key_is_used_or_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "a", *rows(info=[{"seed": 1}, {"seed": 2}]))
    assert open_log(path, group="info.seed").groups == 2
    with pytest.raises(BatchError, match=r"a, line 1: no usable group under the key 'nonsense'"):
        open_log(path, group="nonsense")
    with pytest.raises(OptionError, match=r"no option 'groups'; did you mean group\?"):
        open_log(path, groups="x")
    with pytest.raises(OptionError, match="unscored = 'keep'"):
        open_log(path, unscored="keep")  # type: ignore[arg-type]


def test_long_prompts_make_short_names_of_groups(tmp_path: Path) -> None:
    long = {"role": "user", "content": "x" * 500}
    batch = open_log(lines(tmp_path / "a", [long, SAY], [{**long, "content": "x" * 501}, SAY], [long, SAY])).batch()
    assert batch.group is not None
    assert batch.group.codes.tolist() == [0, 1, 0]
    assert all(len(name) < 80 for name in batch.group.names)


def test_rewards_per_turn_are_not_counted_twice(tmp_path: Path) -> None:
    summed = open_log(lines(tmp_path / "a", *rows(reward=[1.0, 0.75], turn_rewards=[[0.25, 0.75], [0.5, 0.25]])))
    assert summed.batch().outcome is None
    assert summed.batch().need("turn_reward").tolist() == [0.25, 0.75, 0.5, 0.25]
    assert summed.batch().reward.tolist() == [1.0, 0.75]
    assert "is the sum of" in said(summed, "each reward is counted once")
    besides = open_log(lines(tmp_path / "b", *rows(reward=[1.0, 0.75], turn_rewards=[[0.25, 0.5], [0.5, 0.25]])))
    assert besides.batch().reward.tolist() == [1.75, 1.5]
    assert "besides" in said(besides, "both together")
    # a piece in which they happen to be equal has the same total as in the whole log
    assert [b.reward.tolist() for b in besides.batches("trajectory", 1)] == [[1.75], [1.5]]


def test_turn_rewards_of_another_length_are_not_rewards_per_turn(tmp_path: Path) -> None:
    log = open_log(lines(tmp_path / "a", *rows(turn_rewards=[[1.0, 0.0], [1.0]])))
    assert log.batch().turn_reward is None
    assert "not used" in said(log, "'turn_rewards'")
    with pytest.raises(BatchError, match="a, line 2: no usable turn_reward"):
        open_log(lines(tmp_path / "a", *rows(turn_rewards=[[1.0, 0.0], [1.0]])), turn_reward="turn_rewards")


def test_cut_off_solved_agents_and_episodes_are_found(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {
        "finish_reason": ["stop", "length"], "success": [True, 0], "agent": [{"name": "planner"}, "worker"],
        "episode_id": ["e", "e"], "trajectory_id": ["x", "y"], "bootstrap": [0, 0.5],
    }  # fmt: skip
    batch = open_log(lines(tmp_path / "a", *rows(**columns))).batch()
    assert batch.need("truncated").tolist() == [False, True]
    assert batch.need("success").tolist() == [True, False]
    assert batch.need("agent").to_list() == ["planner", "worker"]
    assert batch.need("bootstrap").tolist() == [0.0, 0.5]
    assert batch.episode is not None
    assert batch.episode.to_list() == ["e", "e"]
    assert batch.trajectory.to_list() == ["x", "y"]


def test_names_that_repeat_do_not_name_trajectories(tmp_path: Path) -> None:
    log = open_log(lines(tmp_path / "a", *rows(trajectory_id=["x", "x"])))
    assert log.batch().trajectory.to_list() == [1, 2]
    assert "not used" in said(log, "'trajectory_id'")


def test_an_episode_over_several_groups_is_no_episode(tmp_path: Path) -> None:
    log = open_log(lines(tmp_path / "a", *rows(episode=["e", "e"], group=["p", "q"])))
    assert log.batch().episode is None
    assert "spans groups" in said(log, "'episode'")


def test_states_may_be_shown_keyed_or_left_out(tmp_path: Path) -> None:
    path = lines(tmp_path / "a", *rows(where=[["hall", "box"], ["hall", {"at": 1}, "end"]], reward=[1, 0]))
    keys = open_log(path, state="where").batch().need("state").to_list()
    assert keys == ["hall", "box", None, "hall", '{"at": 1}', "end"]
    assert open_log(path, state="none").batch().state is None
    with pytest.raises(BatchError, match="no usable state under the key 'nowhere'"):
        open_log(path, state="nowhere")


def test_a_tokenizer_may_be_given(tmp_path: Path) -> None:
    path = lines(tmp_path / "a", [ASK, SAY])
    log = open_log(path, tokenizer=lambda text: [len(text)])
    assert log.batch().need("ids").tolist() == [len("<|user|>\n"), 13 + 7, len("<|assistant|>\n"), 11 + 7]
    assert said(log, "tokenizer that was given")
    with pytest.raises(OptionError, match="expected a folder"):
        open_log(path, tokenizer=str(tmp_path / "none"))


def test_what_is_said_counts_every_trajectory_once(tmp_path: Path) -> None:
    log = open_log(lines(tmp_path / "a", [ASK, LOOK, SAY, LOOK, SAY], CHAT, [ASK, LOOK, SAY]))
    assert "(in 2 of 3 trajectories)" in said(log, "A tool call has no result")
    assert np.array_equal(np.diff(log.batch().trajectory_turns), [4, 2, 2])


def test_log_probabilities_that_only_some_have_are_not_read(tmp_path: Path) -> None:
    row = {"completion_ids": [1, 2], "completion_mask": [1, 1], "reward": 1.0}
    log = open_log(lines(tmp_path / "a", {**row, "logprobs": [-0.5, -0.5]}, row))
    assert log.batch().logp is None
    assert "Only 1 of 2" in said(log, "log-probabilities")
