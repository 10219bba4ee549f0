"""verifiers 0.4: Episode and Trace records. A trace is a graph of messages with tokens; a sampled node is a turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import BatchError
from ..rollout import Message, Notes, Rollout, Tokens, int_list, logp_list, mask_list

#: Stop conditions of a trace that was cut off (``Trace.is_truncated``).
_CUT = ("max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens", "compaction_failed")


def fits(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    nodes = record.get("nodes")
    return isinstance(record.get("traces"), list) or (isinstance(nodes, list) and "agent" in record)


def rollouts(record: Mapping[str, Any]) -> list[Rollout]:
    """A trajectory per trace that trains the policy and has a sampled message."""
    if "traces" not in record:
        return _trace(record, {})
    shared = {"episode": record.get("id"), "group": (record.get("group") or {}).get("id")}
    step = ((record.get("run") or {}).get("work") or {}).get("step")
    if step is not None:
        shared["step"] = step
    return [made for trace in record["traces"] for made in _trace(trace, shared)]


def _trace(trace: Any, shared: Mapping[str, Any]) -> list[Rollout]:
    notes = Notes()
    if not isinstance(trace, dict) or not isinstance(trace.get("nodes"), list):
        raise BatchError("a trace without 'nodes': expected a list of message nodes")
    nodes = trace["nodes"]
    agent = trace.get("agent") or {}
    for k, node in enumerate(nodes):
        parent = node.get("parent") if isinstance(node, dict) else None
        if not isinstance(node, dict) or not isinstance(node.get("message"), dict):
            raise BatchError(f"nodes[{k}]: expected an object with a 'message'")
        if parent is not None and not 0 <= parent < k:
            raise BatchError(f"nodes[{k}].parent = {parent}: expected an earlier node")
    if agent.get("trainable") is False or not any(n.get("sampled") for n in nodes):
        return []
    if any((n.get("parent", -1) if n.get("parent") is not None else -1) != k - 1 for k, n in enumerate(nodes)):
        notes("a trace branches (compaction, subagents): its turns are taken in the order they were made, each once")
    messages: list[Message] = []
    for k, node in enumerate(nodes):
        message = dict(node["message"])
        if message.get("role") not in ("system", "developer", "user", "assistant", "tool"):
            raise BatchError(f"nodes[{k}]: role = {message.get('role')!r}, expected system, user, assistant or tool")
        if message["role"] == "assistant" and not node.get("sampled"):
            message["weight"] = 0
        if node.get("sampled") and message["role"] != "assistant":
            raise BatchError(f"nodes[{k}] was sampled but is a {message['role']} message")
        messages.append(message)
    facts = {k: v for k, v in {**_facts(trace, agent, notes), **_identity(trace, shared)}.items() if v is not None}
    return [Rollout(facts, messages, _tokens(nodes, notes), notes.all, str(trace.get("id", "")))]


def _facts(trace: Mapping[str, Any], agent: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    calls = [c for c in trace.get("calls") or () if not c.get("error")]
    cut = trace.get("stop_condition") in _CUT or bool(calls and calls[-1].get("finish_reason") == "length")
    models = {c.get("model") for c in calls} - {None}
    found = {**(trace.get("info") or {}), **{f"metrics.{k}": v for k, v in (trace.get("metrics") or {}).items()}}
    found |= {"rewards": trace.get("rewards") or {}, "agent": agent.get("name"), "truncated": cut}
    found["reward"] = _reward(trace.get("rewards") or {}, notes)
    return found | {"model": min(models) if len(models) == 1 else None}


def _identity(trace: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    task = trace.get("task") or {}
    key = task.get("key") or task.get("hash")
    step = shared.get("step")
    return {**shared, "trajectory": trace.get("id"), "task_id": f"step {step}: {key}" if key and step is not None else key}


def _reward(rewards: Mapping[str, Any], notes: Notes) -> float | None:
    """The weighted sum of the named rewards; None where none was scored."""
    scored = {n: r for n, r in rewards.items() if r is not None}
    if len(scored) < len(rewards) and scored:
        notes("a reward that was not scored counts nothing beside the others")
    total = 0.0
    for name, r in scored.items():
        score, weight = (r.get("score"), r.get("weight", 1.0)) if isinstance(r, dict) else (r, 1.0)
        if not isinstance(score, (int, float)) or not isinstance(weight, (int, float)):
            raise BatchError(f"rewards[{name!r}] = {r!r}: expected a score and a weight")
        total += score * weight
    return total if scored else None


def _tokens(nodes: Sequence[Mapping[str, Any]], notes: Notes) -> list[Tokens] | None:
    """Tokens per turn: those of the nodes since the last sampled one, and its own. What follows the last joins it."""
    if not all(n.get("token_ids") for n in nodes if n.get("sampled")):
        return None
    turns: list[list[int]] = [[]]
    for k, node in enumerate(nodes):
        turns[-1].append(k)
        if node.get("sampled"):
            turns.append([])
    rest = turns.pop()
    turns[-1] += rest
    with_logp = all(n.get("logprobs") for n in nodes if n.get("sampled"))
    if not with_logp and any(n.get("logprobs") for n in nodes):
        notes("log-probabilities are missing at some turns: none are read")
    return [_turn(part, nodes, with_logp) for part in turns]


def _turn(part: Sequence[int], nodes: Sequence[Mapping[str, Any]], with_logp: bool) -> Tokens:
    ids, action, logp = [], [], []
    for k in part:
        node = nodes[k]
        own = int_list(f"nodes[{k}].token_ids", node.get("token_ids") or [])
        mask = mask_list(f"nodes[{k}].mask", node.get("mask") or [0] * own.size, own.size)
        if node.get("sampled") and not mask.any():
            raise BatchError(f"nodes[{k}] was sampled, but its mask has no token of the policy")
        if mask.any() and not node.get("sampled"):
            raise BatchError(f"nodes[{k}] was not sampled, but its mask claims tokens of the policy")
        values = np.zeros(own.size)
        if with_logp and node.get("sampled"):
            values[mask] = logp_list(f"nodes[{k}].logprobs", node["logprobs"], int(mask.sum()))
        ids.append(own)
        action.append(mask)
        logp.append(values)
    return Tokens(np.concatenate(ids), np.concatenate(action), np.concatenate(logp) if with_logp else None)
