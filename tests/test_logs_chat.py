"""Chats as they lie in logs: their shapes, roles and tool calls, and what is refused at which line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apportion.edges.messages import to_messages
from apportion.errors import BatchError
from apportion.logs import Log, open_log

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
ASK = {"role": "user", "content": "Find the key."}
LOOK = {"role": "assistant", "content": None, "tool_calls": [CALL]}
SEEN = {"role": "tool", "tool_call_id": "c1", "content": "The box is empty."}
SAY = {"role": "assistant", "content": "It is gone."}
CHAT = [ASK, LOOK, SEEN, SAY]


def lines(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def said(log: Log, part: str) -> str:
    """The one sentence that holds ``part``."""
    (found,) = [s for s in log.assumed if part in s]
    return found


def test_messages_become_turns_with_rewards_groups_and_states(tmp_path: Path) -> None:
    log = open_log(lines(tmp_path / "a", {"messages": CHAT, "reward": 1}, {"messages": [ASK, SAY], "reward": 0.25}))
    assert (log.format, log.trajectories, log.groups) == ("chat", 2, 1)
    batch = log.batch()
    assert batch.trajectory_turns.tolist() == [0, 2, 3]
    assert batch.need("outcome").tolist() == [1.0, 0.25]
    assert batch.need("state").to_list() == ["Find the key.", "The box is empty.", None, "Find the key.", None]
    assert batch.group is not None
    assert batch.group.to_list() == ["Find the key."] * 2
    assert batch.trajectory.to_list() == [1, 2]
    assert "first user message" in said(log, "No key names the group")
    assert "'observation'" in said(log, "States")
    assert "words" in said(log, "Text is cut")


@pytest.mark.parametrize(
    "record",
    [
        CHAT,
        {"messages": CHAT},
        {"prompt": [ASK], "completion": [LOOK, SEEN, SAY]},
        {"conversations": [{"from": "human", "value": "Find the key."}, LOOK, SEEN, {"from": "gpt", "value": "It is gone."}]},
    ],
)
def test_every_shape_of_a_chat_is_the_same_chat(tmp_path: Path, record: Any) -> None:
    expected = open_log(lines(tmp_path / "plain", {"messages": CHAT})).batch()
    assert open_log(lines(tmp_path / "a", record)).batch().same(expected)


def test_prompt_and_completion_may_be_texts_and_examples_in_a_prompt_are_no_turns(tmp_path: Path) -> None:
    batch = open_log(lines(tmp_path / "a", {"prompt": "Find the key.", "completion": "It is gone.", "reward": 1.0})).batch()
    assert batch.need("text") == ("user: Find the key.\nassistant: It is gone.",)
    log = open_log(lines(tmp_path / "b", {"prompt": [ASK, SAY, ASK], "completion": [SAY]}))
    assert log.batch().n_turns == 1
    assert "(in 1 of 1 trajectories)" in said(log, "context, not turns")


def test_a_prompt_of_another_training_step_is_another_group(tmp_path: Path) -> None:
    rows = [{"input": "q", "output": f"a{i}", "score": 1.0, "step": i // 2} for i in range(4)]
    log = open_log(lines(tmp_path / "a", *rows))
    assert log.batch().within("trajectory", "group").tolist() == [0, 0, 1, 1]
    assert "is one turn" in said(log, "Each output in verl's dump")


def test_verls_validation_ids_name_prompt_session_and_output(tmp_path: Path) -> None:
    rows = [{"input": "q", "output": "a", "score": 1.0, "uid": f"p{i // 2}_{i % 2}_0"} for i in range(4)]
    batch = open_log(lines(tmp_path / "a", *rows)).batch()
    assert batch.group is not None
    assert batch.group.to_list() == ["p0", "p0", "p1", "p1"]
    assert batch.trajectory.to_list() == ["p0_0_0", "p0_1_0", "p1_0_0", "p1_1_0"]


def test_other_names_of_roles_are_read_and_said(tmp_path: Path) -> None:
    log = open_log(lines(tmp_path / "a", [ASK, LOOK, {"role": "function", "name": "look", "content": "Empty."}, SAY]))
    assert "tool: Empty." in log.batch().need("text")[1]
    assert said(log, "'function'") == "Role 'function' is read as 'tool' (in 1 of 1 trajectories)."


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([ASK, {"role": "critic", "content": "x"}, SAY], "message 1: role = 'critic', expected one of system,"),
        ([ASK], "no assistant message"),
        ([ASK, {"content": "x"}], "message 1 has no 'role'"),
        ([ASK, "x"], "message 1 is str"),
        ([{**ASK, "tool_calls": [CALL]}, SAY], "message 0: a user message has tool_calls"),
        ([ASK, {"role": "assistant", "content": 3}], "message 1: content is int"),
        ({"prompt": 3, "completion": "x"}, "'prompt' is int"),
    ],
)
def test_a_broken_chat_is_named_by_its_line(tmp_path: Path, record: Any, message: str) -> None:
    path = lines(tmp_path / "a.jsonl", CHAT, record)
    with pytest.raises(BatchError) as caught:
        open_log(path)
    assert str(caught.value).startswith(f"{path}, line 2: {message}")


@pytest.mark.parametrize(
    ("chat", "note"),
    [
        ([ASK, LOOK, SAY], "a tool call has no result"),
        ([ASK, LOOK], "the last tool call has no result"),
        ([ASK, {**LOOK, "tool_calls": [CALL, {**CALL, "id": "c2"}]}, SEEN, SAY], "a tool call has no result"),
        ([ASK, LOOK, SEEN, SEEN, SAY], "a tool result answers no open call"),
        ([ASK, LOOK, {**SEEN, "tool_call_id": "c9"}, SAY], "a tool result answers no open call"),
        ([ASK, {"role": "assistant", "content": ""}, SAY], "an assistant message is empty"),
    ],
)
def test_tool_calls_and_results_that_do_not_match_are_kept_and_counted(tmp_path: Path, chat: Any, note: str) -> None:
    log = open_log(lines(tmp_path / "a", CHAT, chat))
    assert "(in 1 of 2 trajectories)" in said(log, f"{note[0].upper()}{note[1:]}")
    assert log.batch().n_turns == 2 + sum(m["role"] == "assistant" for m in chat)


@pytest.mark.parametrize("chat", [CHAT, [ASK, SEEN, SAY], [ASK, {**LOOK, "tool_calls": [{"function": {}}]}, SEEN, SAY]])
def test_results_in_order_and_calls_written_in_text_are_no_news(tmp_path: Path, chat: Any) -> None:
    assert not [s for s in open_log(lines(tmp_path / "a", chat)).assumed if "tool" in s]


def test_chats_are_kept_for_those_who_ask(tmp_path: Path) -> None:
    path = lines(tmp_path / "a", CHAT)
    assert to_messages(open_log(path, keep_messages=True).batch()) == [CHAT]
    assert "messages" not in open_log(path).batch().meta
