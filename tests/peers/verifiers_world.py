"""verifiers' own Episode, Trace and MessageNode, and traces of them to credit.

``verifiers.v1`` itself imports harnesses, sandboxes and clients of model providers; the records want none of them, so
its package file is passed over and what it would need is stood in for. Everything run here is verifiers' own code.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import Any

from apportion.integrations.conformance.standins import standing_in

#: Imported by modules between the records and us, and used by none of what is run here.
UNUSED = ("mcp", "prime_tunnel", "prime_sandboxes", "anthropic", "tenacity", "tomli_w", "loguru", "math_verify", "gepa")


def records() -> Any:
    """The module ``verifiers.v1.episode`` of the installed verifiers."""
    if "verifiers.v1" not in sys.modules:
        found = importlib.util.find_spec("verifiers")
        assert found is not None
        assert found.submodule_search_locations is not None
        package = types.ModuleType("verifiers.v1")
        package.__path__ = [f"{found.submodule_search_locations[0]}/v1"]
        sys.modules["verifiers.v1"] = package
    with standing_in(UNUSED):
        return importlib.import_module("verifiers.v1.episode")


def episode(*traces: Any, group: str | None = "prompt", key: str | None = None, id_: str = "e") -> Any:
    task = {"type": "Task", "data": {"idx": 0, "prompt": "go"}, "key": key}
    made = {"id": id_, "task": task, "group": None if group is None else {"id": group}, "traces": list(traces), "ok": True}
    return records().WireEpisode.model_validate(made)


def trace(
    turns: list[list[int]], reward: float | None = 1.0, *, shown: list[list[int]] | None = None, name: str = "t", **more: Any
) -> dict[str, Any]:
    """A trace whose turn k writes the tokens turns[k] after seeing shown[k] (default: one token, 100 + k)."""
    shown = [[100 + k] for k in range(len(turns))] if shown is None else shown
    nodes: list[dict[str, Any]] = []

    def add(role: str, ids: list[int], mask: list[bool], **fields: Any) -> None:
        parent = len(nodes) - 1 if nodes else None
        message = {"role": role, "content": "x", **({"tool_call_id": "c"} if role == "tool" else {})}
        nodes.append({"parent": parent, "message": message, "token_ids": ids, "mask": mask, **fields})

    for k, (seen, wrote) in enumerate(zip(shown, turns, strict=True)):
        add("tool" if k else "user", seen, [False] * len(seen))
        add("assistant", [7, *wrote], [False] + [True] * len(wrote), sampled=True, logprobs=[-0.5] * len(wrote))
    agent = {"config": {}, "name": more.pop("agent", "agent"), "trainable": more.pop("trainable", True)}
    return {
        "id": name,
        "task": {"type": "Task", "data": {"idx": 0, "prompt": "go"}},
        "agent": agent,
        "nodes": nodes,
        "rewards": {} if reward is None else {"solved": {"score": reward}},
        "ok": more.pop("ok", True),
        **more,
    }
