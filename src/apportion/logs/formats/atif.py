"""ATIF, the Agent Trajectory Interchange Format (Harbor): steps of system, user and agent; subagents inside.

The format has no reward and no group. They are looked for in ``extra`` (ours lie under
``extra["apportion"]``) of the document and, per turn, of its steps; in a folder of Harbor trials also
in what lies beside the document (``result.json``, ``verifier/reward.txt``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...edges.messages import is_action
from ...errors import BatchError
from ..rollout import Message, Notes, Rollout, Tokens, int_list, logp_list
from .chat import check_tools

_ROLES = {"system": "system", "user": "user", "agent": "assistant"}

#: What was read from the files beside a document; see ``logs.beside``.
TRIAL = "@trial"


def fits(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("steps"), list):
        return False
    return str(record.get("schema_version", "")).startswith("ATIF") or isinstance(record.get("agent"), dict)


def rollouts(record: Mapping[str, Any]) -> list[Rollout]:
    """The trajectory of a document, then those of its subagents (one episode)."""
    shared = _facts(record, record.get(TRIAL) or {})
    run = record.get("session_id") or record.get("trajectory_id")
    if run and "episode" not in shared:
        shared["episode"] = run
    found = [_rollout(record, shared, "")]
    subagents = record.get("subagent_trajectories") or ()
    own = ("turn_reward", "state", "trajectory", "trajectory_id")
    for k, sub in enumerate(subagents):
        if not isinstance(sub, dict) or not sub.get("trajectory_id"):
            raise BatchError(f"subagent_trajectories[{k}]: expected a trajectory with a 'trajectory_id'")
        inherited = {n: v for n, v in shared.items() if n not in own}
        facts = {**inherited, **_facts(sub, {})}
        if "reward" in inherited and facts["reward"] == inherited["reward"]:
            facts["@inherited"] = True
        found.append(_rollout(sub, facts, str(sub["trajectory_id"])))
    return found


def _facts(record: Mapping[str, Any], trial: Mapping[str, Any]) -> dict[str, Any]:
    extra = record.get("extra") or {}
    ours: Mapping[str, Any] = extra["apportion"] if isinstance(extra.get("apportion"), dict) else {}
    agent = record.get("agent") or {}
    base = {"agent": agent.get("name"), "model": agent.get("model_name"), "trajectory_id": record.get("trajectory_id")}
    return {**{k: v for k, v in base.items() if v is not None}, **extra, **trial, **ours}


def _rollout(record: Mapping[str, Any], facts: dict[str, Any], label: str) -> Rollout:
    notes, messages, acts = Notes(), [], []
    if facts.pop("@inherited", False):
        notes("a subagent's trajectory has the reward of its episode")
    if record.get("continued_trajectory_ref"):
        notes("a trajectory goes on in another file: its parts are trajectories of their own")
    steps = record.get("steps")
    if not isinstance(steps, list) or not steps:
        raise BatchError("'steps' is empty: expected at least one step")
    for i, step in enumerate(steps):
        if not isinstance(step, dict) or step.get("source") not in _ROLES:
            got = step.get("source") if isinstance(step, dict) else type(step).__name__
            raise BatchError(f"steps[{i}]: source = {got!r}, expected one of {', '.join(_ROLES)}")
        if step.get("step_id", i + 1) != i + 1:
            raise BatchError(f"steps[{i}].step_id = {step['step_id']}: expected {i + 1}, steps are numbered from 1")
        messages.append(_message(step, i, notes))
        if is_action(messages[-1]):
            acts.append(step)
        messages += _results(step, i, notes)
    if not acts:
        raise BatchError("no step of the agent: there is nothing to credit")
    check_tools(messages, notes)
    facts = {**_per_turn(acts), **facts}
    return Rollout(facts, messages, _tokens(acts, notes), notes.all, label)


def _message(step: Mapping[str, Any], i: int, notes: Notes) -> Message:
    role = _ROLES[step["source"]]
    message: dict[str, Any] = {"role": role, "content": step.get("message")}
    if not isinstance(message["content"], (str, list, type(None))):
        raise BatchError(f"steps[{i}].message is {type(message['content']).__name__}: expected a text or a list of parts")
    if role != "assistant":
        return message
    if step.get("reasoning_content"):
        message["reasoning_content"] = step["reasoning_content"]
    if step.get("tool_calls"):
        message["tool_calls"] = [_call(call, i) for call in step["tool_calls"]]
    if step.get("is_copied_context"):
        notes("steps copied from another trajectory are context, not turns")
        message["weight"] = 0
    elif step.get("llm_call_count") == 0:
        notes("agent steps that no model wrote are context, not turns")
        message["weight"] = 0
    return message


def _call(call: Any, i: int) -> dict[str, Any]:
    if not isinstance(call, dict) or "function_name" not in call:
        raise BatchError(f"steps[{i}].tool_calls: expected objects with 'tool_call_id', 'function_name' and 'arguments'")
    function = {"name": call["function_name"], "arguments": json.dumps(call.get("arguments"), sort_keys=True, ensure_ascii=False)}
    return {"id": call.get("tool_call_id"), "type": "function", "function": function}


def _results(step: Mapping[str, Any], i: int, notes: Notes) -> list[Message]:
    results = (step.get("observation") or {}).get("results") or ()
    messages: list[Message] = []
    for result in results:
        if not isinstance(result, dict):
            raise BatchError(f"steps[{i}].observation.results: expected objects, got {type(result).__name__}")
        if any(ref.get("trajectory_path") for ref in result.get("subagent_trajectory_ref") or ()):
            notes("a subagent's trajectory lies in another file and is not read with its parent")
        message = {"role": "tool", "content": result.get("content")}
        call = result.get("source_call_id")
        messages.append({**message, "tool_call_id": call} if call is not None else message)
    return messages


def _per_turn(acts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rewards and states that every step of the agent carries in its ``extra``."""
    extras = [{**(s.get("extra") or {}), **((s.get("extra") or {}).get("apportion") or {})} for s in acts]
    found = {}
    for name, key in (("turn_reward", "reward"), ("state", "state")):
        if all(e.get(key) is not None for e in extras):
            found[name] = [e[key] for e in extras]
    return found


def _tokens(acts: Sequence[Mapping[str, Any]], notes: Notes) -> list[Tokens] | None:
    """Tokens per turn, where every turn has the ids of its completion; prompts are cut to what is new in them."""
    metrics = [s.get("metrics") or {} for s in acts]
    if not all(m.get("completion_token_ids") for m in metrics):
        return None
    with_logp = all(m.get("logprobs") is not None for m in metrics)
    turns, seen = [], np.zeros(0, dtype=np.int64)
    for step, m in zip(acts, metrics, strict=True):
        where = f"step {step.get('step_id')}"
        own = int_list(f"{where}: completion_token_ids", m["completion_token_ids"])
        new = np.zeros(0, dtype=np.int64)
        if m.get("prompt_token_ids"):
            prompt = int_list(f"{where}: prompt_token_ids", m["prompt_token_ids"])
            new = prompt[_common(seen, prompt) :]
            if _common(seen, prompt) < seen.size:
                notes("a prompt does not go on where the last turn ended (cut or tokenised again): what is new in it is shown")
            seen = np.concatenate([prompt, own])
        else:
            notes("prompts have no token ids: the tokens between turns are missing")
        action = np.repeat([False, True], [new.size, own.size])
        logp = None
        if with_logp:
            logp = np.zeros(action.size)
            logp[action] = logp_list(f"{where}: logprobs", m["logprobs"], own.size)
        turns.append(Tokens(np.concatenate([new, own]), action, logp))
    return turns


def _common(a: Any, b: Any) -> int:
    """Length of the common beginning."""
    n = min(a.size, b.size)
    differ = a[:n] != b[:n]
    return int(np.argmax(differ)) if differ.any() else n
