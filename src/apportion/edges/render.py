"""Messages as plain text: the same message always gives the same text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .plain import plain

#: Ends every message. The policy writes it too, so that an empty message still has a policy token.
END = "<|end|>"


def header_of(message: Mapping[str, Any]) -> str:
    """What announces a message; never the policy's own tokens."""
    name = f" {message['name']}" if isinstance(message.get("name"), str) else ""
    return f"<|{message['role']}|>{name}\n"


def observed(message: Mapping[str, Any]) -> str:
    """The content of a message as text; parts other than text as JSON."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(_part(part) for part in content)


def written(message: Mapping[str, Any]) -> str:
    """What the policy wrote: reasoning, content and tool calls (as JSON with sorted keys)."""
    reasoning = message.get("reasoning_content")
    thought = f"<|think|>{reasoning}" if isinstance(reasoning, str) and reasoning else ""
    calls = "".join(f"<|call|>{_json(call)}" for call in message.get("tool_calls") or ())
    return thought + observed(message) + calls


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    return _json(part)


def _json(value: Any) -> str:
    return json.dumps(plain(value, "a message"), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
