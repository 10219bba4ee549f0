"""verifiers records: a sampled node is a turn, its tokens are those of the graph; rewards are named and weighted."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from apportion.errors import BatchError
from apportion.logs import open_log

from .test_logs_chat import lines, said


def node(parent: int | None, role: str, content: str, ids: list[int], own: int = 0, **more: Any) -> dict[str, Any]:
    mask = [False] * (len(ids) - own) + [True] * own
    sampled = {"sampled": True, "logprobs": [-0.25] * own} if own else {}
    return {"parent": parent, "message": {"role": role, "content": content}, "token_ids": ids, "mask": mask, **sampled, **more}


TRACE: dict[str, Any] = {
    "version": 1,
    "id": "t",
    "task": {"type": "T", "data": {}, "key": "key"},
    "agent": {"name": "solver", "trainable": True},
    "nodes": [
        node(None, "user", "Find the key.", [1, 2]),
        node(0, "assistant", "I look.", [3, 4, 5], 2),
        node(1, "tool", "A box.", [6]),
        node(2, "assistant", "I open it.", [7, 8], 1),
        node(3, "tool", "Empty.", [9]),
    ],
    "calls": [{"node": 1, "model": "m", "finish_reason": "tool_calls"}, {"node": 3, "model": "m", "finish_reason": "length"}],
    "rewards": {"right": {"score": 1.0, "weight": 2.0}, "short": {"score": 0.5, "weight": 1.0}},
    "metrics": {"length": 3.0},
}


def episode(**more: Any) -> dict[str, Any]:
    return {"id": "e", "task": {}, "group": {"id": "g"}, "ok": True, "traces": [deepcopy(TRACE)], **more}


def test_a_sampled_node_is_a_turn_with_the_graphs_tokens(tmp_path: Path) -> None:
    log = open_log(lines(tmp_path / "a", episode()))
    assert log.format == "verifiers"
    batch = log.batch()
    assert batch.need("ids").tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert batch.turn_offsets.tolist() == [0, 5, 9]
    assert batch.action.tolist() == [False, False, False, True, True, False, False, True, False]
    assert batch.need("logp").tolist() == [0, 0, 0, -0.25, -0.25, 0, 0, -0.25, 0]
    assert batch.need("outcome").tolist() == [2.5]
    assert batch.need("state").to_list() == ["Find the key.", "A box.", "Empty."]
    assert batch.need("agent").to_list() == ["solver"]
    assert batch.need("truncated").tolist() == [True]
    assert batch.group is not None
    assert batch.episode is not None
    assert (batch.trajectory.to_list(), batch.group.to_list(), batch.episode.to_list()) == (["t"], ["g"], ["e"])


def test_one_of_several_rewards_may_be_chosen(tmp_path: Path) -> None:
    path = lines(tmp_path / "a", episode())
    assert open_log(path, reward="rewards.right.score").batch().need("outcome").tolist() == [1.0]
    assert open_log(path, reward="metrics.length").batch().need("outcome").tolist() == [3.0]


def test_a_trace_may_stand_alone_and_its_task_is_then_the_group(tmp_path: Path) -> None:
    log = open_log(lines(tmp_path / "a", TRACE, {**TRACE, "id": "u"}))
    assert (log.trajectories, log.groups) == (2, 1)
    assert said(log, "'task_id'")


def test_agents_of_an_episode_are_trajectories_and_only_those_that_train(tmp_path: Path) -> None:
    second = {**deepcopy(TRACE), "id": "u", "agent": {"name": "critic", "trainable": True}}
    judge = {**deepcopy(TRACE), "id": "v", "agent": {"name": "judge", "trainable": False}}
    batch = open_log(lines(tmp_path / "a", episode(traces=[TRACE, judge, second]))).batch()
    assert batch.trajectory.to_list() == ["t", "u"]
    assert batch.need("agent").to_list() == ["solver", "critic"]
    assert batch.within("trajectory", "episode").tolist() == [0, 0]


def test_episodes_that_failed_before_a_turn_are_left_out_and_counted(tmp_path: Path) -> None:
    log = open_log(lines(tmp_path / "a", episode(), episode(traces=[])))
    assert log.trajectories == 1
    assert "1 records hold no trajectory" in said(log, "left out")
    with pytest.raises(BatchError, match=r"b, line 1: no trajectory in it or after it"):
        open_log(lines(tmp_path / "b", episode(traces=[])))


def test_a_trace_that_branches_has_each_turn_once(tmp_path: Path) -> None:
    trace = deepcopy(TRACE)
    trace["nodes"] += [node(0, "assistant", "Other.", [3, 10], 1)]
    log = open_log(lines(tmp_path / "a", trace))
    assert log.batch().n_turns == 3
    assert log.batch().action.sum() == 4
    assert said(log, "A trace branches")


def test_messages_put_into_an_assistants_mouth_are_context(tmp_path: Path) -> None:
    trace = deepcopy(TRACE)
    trace["nodes"][1] = node(0, "assistant", "As told.", [3, 4, 5])
    batch = open_log(lines(tmp_path / "a", trace)).batch()
    assert (batch.n_turns, batch.action.sum()) == (1, 1)


def test_without_tokens_the_text_is_read(tmp_path: Path) -> None:
    trace = deepcopy(TRACE)
    for n in trace["nodes"]:
        n.update(token_ids=[], mask=[], logprobs=[])
    log = open_log(lines(tmp_path / "a", trace))
    assert log.batch().need("text")[0] == "user: Find the key.\nassistant: I look."
    assert said(log, "Text is cut into words")


def test_rewards_that_were_not_scored_are_missing_not_zero(tmp_path: Path) -> None:
    unscored = {**deepcopy(TRACE), "id": "u", "rewards": {"right": None}}
    path = lines(tmp_path / "a", TRACE, unscored)
    with pytest.raises(BatchError, match="a, line 2: no reward"):
        open_log(path)
    assert open_log(path, unscored="drop").batch().trajectory.to_list() == ["t"]
    partly = {**deepcopy(TRACE), "rewards": {"right": None, "short": {"score": 0.5, "weight": 1.0}}}
    log = open_log(lines(tmp_path / "b", partly))
    assert log.batch().need("outcome").tolist() == [0.5]
    assert said(log, "not scored")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: n[1].update(mask=[False, True]), r"nodes\[1\].mask has 2 entries, but there are 3 tokens"),
        (lambda n: n[1].update(mask=[False, True, 2]), r"nodes\[1\].mask: a mask holds 0 and 1 only"),
        (lambda n: n[1].update(mask=[False] * 3), r"nodes\[1\] was sampled, but its mask has no token"),
        (lambda n: n[2].update(mask=[True]), r"nodes\[2\] was not sampled, but its mask claims"),
        (lambda n: n[1].update(logprobs=[-0.5, float("nan")]), r"nodes\[1\].logprobs\[1\] = nan"),
        (lambda n: n[1].update(logprobs=[-0.5, 0.5]), r"nodes\[1\].logprobs\[1\] = 0.5: expected a finite log-probability"),
        (lambda n: n[1].update(logprobs=[-0.5]), r"nodes\[1\].logprobs has 1 entries"),
        (lambda n: n[1].update(parent=4), r"nodes\[1\].parent = 4"),
        (lambda n: n[2]["message"].update(role="critic"), r"nodes\[2\]: role = 'critic'"),
        (lambda n: n[2].update(sampled=True), r"nodes\[2\] was sampled but is a tool message"),
        (lambda n: n[2].pop("message"), r"nodes\[2\]: expected an object with a 'message'"),
    ],
)
def test_a_broken_node_is_named_with_its_line(tmp_path: Path, change: Any, message: str) -> None:
    trace = {**deepcopy(TRACE), "id": "u"}
    change(trace["nodes"])
    with pytest.raises(BatchError, match=f"a, line 2: {message}"):
        open_log(lines(tmp_path / "a", TRACE, trace))
