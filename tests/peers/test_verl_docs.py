"""docs/verl.md and its examples: they run as written, and the table is the one the code makes."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("verl")

DOCS = Path(__file__).parents[2] / "docs"


def test_the_quickstart_runs_and_shows_what_the_page_shows() -> None:
    script = DOCS / "examples" / "verl_quickstart.py"
    assert len(script.read_text().splitlines()) < 30
    env = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (DOCS / "verl.md").read_text()
    assert script.read_text().strip() in (DOCS / "verl.md").read_text()


def test_the_agent_loop_on_the_page_is_the_one_tested_here() -> None:
    assert (DOCS / "examples" / "verl" / "state_tool_agent.py").read_text().strip() in (DOCS / "verl.md").read_text()


def agent_loop(script: list[tuple[list[int], str | None]], limit: int) -> Any:
    """verl's ToolAgentLoop, extended by the example, with a model that follows a script and a tool that pays 0.5."""
    spec = importlib.util.spec_from_file_location("state_tool_agent", DOCS / "examples" / "verl" / "state_tool_agent.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from verl.experimental.agent_loop.tool_parser import FunctionCall
    from verl.tools.schemas import ToolResponse
    from verl.workers.rollout.replica import TokenOutput

    left = list(script)

    class Loop(module.StateToolAgentLoop):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.rollout_config = SimpleNamespace(full_determinism=False)
            self.max_user_turns = self.max_assistant_turns = None
            self.max_parallel_calls, self.response_length, self.prompt_length = 1, limit, 8
            self.tools: dict[str, Any] = {}
            self.tool_schemas: list[Any] = []
            self.tool_parser = SimpleNamespace(stop_token_ids=[], extract_tool_calls=self.extract)
            self.server_manager = SimpleNamespace(generate=self.generate)

        async def generate(self, **_: Any) -> TokenOutput:
            return TokenOutput(token_ids=left[0][0], extra_fields={"min_global_steps": 3, "max_global_steps": 3})

        async def extract(self, *_: Any) -> tuple[str, list[FunctionCall]]:
            tool = left.pop(0)[1]
            return "", [] if tool is None else [FunctionCall(name="look", arguments="{}", tool_call_id=None)]

        async def process_multi_modal_info(self, messages: Any) -> dict[str, Any]:
            return {}

        def _get_mm_processor_kwargs(self, audios: Any) -> None:
            return None

        def _assert_mm_supported(self, _: bool) -> None:
            return None

        def build_sglang_video_payload(self, *_: Any) -> None:
            return None

        async def ct_build_initial_tokens(self, *_: Any, **__: Any) -> list[int]:
            return [1, 2]

        async def ct_merge_assistant_token(self, tokens: Any, new: Any, mask: Any, logp: Any, **_: Any) -> Any:
            return SimpleNamespace(token_ids=tokens + new), mask + [1] * len(new), None

        async def ct_merge_context_msg(self, old: Any, new: Any, tokens: Any, mask: Any, *_: Any, **__: Any) -> Any:
            return SimpleNamespace(token_ids=[*tokens, 9, 9]), [*mask, 0, 0], None

        async def _call_tool(self, *_: Any) -> Any:
            return ToolResponse(text=f"room {len(left)}"), 0.5, {}

    return Loop()


def test_the_agent_loop_hands_over_states_turns_and_tool_rewards() -> None:
    loop = agent_loop([([11, 12], "look"), ([13], "look"), ([14, 15, 16], None)], limit=50)
    output = asyncio.run(loop.run({}, raw_prompt=[{"role": "user", "content": "find the key"}]))
    assert output.response_mask == [1, 1, 0, 0, 1, 0, 0, 1, 1, 1]
    assert output.extra_fields["apportion"] == {
        "state": ["find the key", "room 2", "room 1"],
        "turn_lengths": [2, 1, 3],
        "turn_reward": [0.5, 0.5, 0.0],
    }
    assert output.extra_fields["min_global_steps"] == 3  # verl's own note is not disturbed
    assert "noted" not in output.extra_fields


def test_a_response_cut_at_the_limit_is_handed_over_as_it_is() -> None:
    loop = agent_loop([([11, 12], "look"), ([13, 14, 15], None)], limit=6)
    output = asyncio.run(loop.run({}, raw_prompt=[{"role": "user", "content": "find the key"}]))
    assert output.response_mask == [1, 1, 0, 0, 1, 1]
    assert output.extra_fields["apportion"]["turn_lengths"] == [2, 2]
