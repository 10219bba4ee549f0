"""Chats: messages with tool calls, prompt and completion (TRL, verifiers), conversations (ShareGPT), verl's rollout dumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...edges.messages import ROLES, is_action
from ...errors import BatchError
from ..rollout import Notes, Rollout

#: Other names of a role, as they are found in data sets.
ALIASES: Mapping[str, str] = {
    "human": "user", "gpt": "assistant", "model": "assistant", "ai": "assistant", "bot": "assistant", "chatgpt": "assistant",
    "function": "tool", "ipython": "tool", "tool_response": "tool", "function_response": "tool", "observation": "tool",
    "environment": "tool", "function_call": "assistant",
}  # fmt: skip

#: Keys that hold a chat. Everything else of the record is facts.
CHATS = ("messages", "conversations", "conversation", "chat")


def fits(record: Any) -> bool:
    if isinstance(record, list):
        return bool(record) and isinstance(record[0], dict) and ("role" in record[0] or "from" in record[0])
    if not isinstance(record, dict):
        return False
    if any(isinstance(record.get(key), list) for key in CHATS):
        return True
    return ("prompt" in record and "completion" in record) or ("input" in record and "output" in record)


def rollouts(record: Any) -> list[Rollout]:
    """The one trajectory of a chat."""
    notes = Notes()
    raw, facts = _open(record, notes)
    messages = [_message(m, i, notes) for i, m in enumerate(raw)]
    if not any(is_action(m) for m in messages):
        raise BatchError("no assistant message: there is nothing to credit")
    check_tools(messages, notes)
    return [Rollout(facts, messages, notes=notes.all)]


def _open(record: Any, notes: Notes) -> tuple[Sequence[Any], dict[str, Any]]:
    """Messages of a record, and its other keys."""
    if isinstance(record, list):
        return record, {}
    for key in CHATS:
        if isinstance(record.get(key), list):
            return record[key], {k: v for k, v in record.items() if k != key}
    if "completion" in record:
        facts = {k: v for k, v in record.items() if k not in ("prompt", "completion")}
        return [*_context(record.get("prompt"), notes), *_side(record["completion"], "completion", "assistant")], facts
    if "output" in record:
        notes("each output in verl's dump is one turn: it has no mask, whatever tools wrote into it")
        facts = {k: v for k, v in record.items() if k not in ("input", "output")}
        return [*_side(record["input"], "input", "user"), *_side(record["output"], "output", "assistant")], _sessions(
            facts, notes
        )
    raise BatchError(f"no chat: expected one of the keys {', '.join(CHATS)}, 'prompt' and 'completion', or 'input' and 'output'")


def _context(prompt: Any, notes: Notes) -> list[Any]:
    """Messages of a prompt; an assistant's among them was not written in this rollout."""
    given = _side(prompt, "prompt", "user")
    if any(isinstance(m, dict) and _role(m) == "assistant" for m in given):
        notes("assistant messages in a prompt are context, not turns")
    return [{**m, "weight": 0} if isinstance(m, dict) and _role(m) == "assistant" else m for m in given]


def _role(message: Mapping[str, Any]) -> Any:
    role = message.get("role", message.get("from"))
    return ALIASES.get(role, role) if isinstance(role, str) else role


def _side(value: Any, key: str, role: str) -> list[Any]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list):
        return value
    raise BatchError(f"'{key}' is {type(value).__name__}: expected a text or a list of messages")


def _sessions(facts: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """verl's validation dump names rows <prompt>_<session>_<output>: the first part is the group."""
    parts: list[str] = facts["uid"].rsplit("_", 2) if isinstance(facts.get("uid"), str) else []
    if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
        notes("the uid in verl's dump is <prompt>_<session>_<output>: the prompt is the group, every output a trajectory")
        return {**facts, "uid": parts[0], "trajectory": facts["uid"]}
    return facts


def _message(message: Any, i: int, notes: Notes) -> Mapping[str, Any]:
    """A message in OpenAI's form."""
    if not isinstance(message, dict):
        raise BatchError(f"message {i} is {type(message).__name__}: expected an object with 'role' and 'content'")
    if "role" not in message and "from" not in message:
        raise BatchError(f"message {i} has no 'role'")
    given, role = message.get("role", message.get("from")), _role(message)
    if role not in ROLES:
        known = ", ".join((*ROLES, *ALIASES))
        raise BatchError(f"message {i}: role = {given!r}, expected one of {known}")
    if given != role:
        notes(f"role '{given}' is read as '{role}'")
    content = message.get("content", message.get("value"))
    if not (content is None or isinstance(content, (str, list))):
        raise BatchError(f"message {i}: content is {type(content).__name__}, expected a text, a list of parts or null")
    if message.get("tool_calls") and role != "assistant":
        raise BatchError(f"message {i}: a {role} message has tool_calls; only the assistant calls tools")
    if given == role and "value" not in message:
        return message
    return {**{k: v for k, v in message.items() if k not in ("from", "value")}, "role": role, "content": content}


def check_tools(messages: Sequence[Mapping[str, Any]], notes: Notes) -> None:
    """Note calls without results, results without calls and empty messages; none of them changes what is read."""
    open_calls: list[Any] = []
    asked = False
    for message in messages:
        role = message["role"]
        if role == "tool":
            _answer(message, open_calls, asked, notes)
            continue
        if open_calls:
            notes("a tool call has no result: its turn is kept, and nothing is shown for it")
            open_calls = []
        if role == "assistant":
            calls = message.get("tool_calls") or ()
            asked = asked or bool(calls)
            open_calls = [c.get("id") if isinstance(c, dict) else None for c in calls]
            if not calls and not message.get("content") and not message.get("reasoning_content"):
                notes("an assistant message is empty: a turn of its end mark alone")
    if open_calls:
        notes("the last tool call has no result: a final call, or a trajectory cut off")


def _answer(message: Mapping[str, Any], open_calls: list[Any], asked: bool, notes: Notes) -> None:
    name = message.get("tool_call_id")
    if name is not None and name in open_calls:
        open_calls.remove(name)
    elif open_calls and (name is None or None in open_calls):
        open_calls.pop(0)  # calls or results without ids answer in order
    elif asked:
        notes("a tool result answers no open call: it is kept as what was shown")
