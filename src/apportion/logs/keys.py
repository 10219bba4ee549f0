"""Which key of a record means what: rewards, groups, names; found over a whole log before anything is built."""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from ..errors import BatchError
from .rollout import Rollout

#: Field -> keys it goes by, in the order they are tried.
CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "outcome": ("outcome", "reward", "score", "rewards", "scores", "total_reward", "final_reward", "episode_reward", "return"),
    "turn_reward": ("turn_reward", "turn_rewards", "step_rewards", "turn_scores", "tool_rewards", "rewards"),
    "group": ("group", "group_id", "uid", "task_id", "problem_id", "example_id", "prompt_id"),
    "trajectory": ("trajectory", "trajectory_id", "rollout_id"),
    "episode": ("episode", "episode_id"),
    "agent": ("agent", "agent_name", "agent_id"),
    "truncated": ("truncated", "is_truncated", "finish_reason", "stop_reason"),
    "bootstrap": ("bootstrap",),
    "success": ("success", "solved", "resolved", "is_correct", "passed", "correct"),
    "state": ("state", "states", "state_keys"),
}
_HASHED = ("group", "trajectory", "episode")
_CUT = ("length", "max_tokens", "max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens", "compaction_failed")


def lookup(facts: Mapping[str, Any], key: str) -> Any:
    """The value of a key; ``a.b`` reaches into objects. None where it is not there."""
    if key in facts:
        return facts[key]
    value: Any = facts
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def value_of(name: str, raw: Any, rollout: Rollout) -> Any:
    """What a raw value says as this field; None where it cannot be that."""
    if raw is None:
        return None
    if name in ("outcome", "bootstrap"):
        return number(raw)
    if name == "turn_reward":
        return numbers(raw, rollout.n_turns)
    if name in ("truncated", "success"):
        return flag(name, raw)
    if name == "state":
        return states(raw, rollout.n_turns)
    if name == "agent" and isinstance(raw, dict):
        raw = raw.get("name")
    return raw if isinstance(raw, (str, int)) and not isinstance(raw, bool) else None


def number(raw: Any) -> float | None:
    """A number, or the weighted sum of named rewards: {name: number} or {name: {score, weight}}."""
    if isinstance(raw, (bool, int, float)):
        return float(raw)
    if isinstance(raw, dict) and raw:
        if isinstance(raw.get("reward"), (bool, int, float)):
            return float(raw["reward"])
        parts = [_weighted(v) for v in raw.values()]
        return None if any(p is None for p in parts) else float(sum(p for p in parts if p is not None))
    return None


def _weighted(raw: Any) -> float | None:
    if isinstance(raw, dict):
        score, weight = raw.get("score"), raw.get("weight", 1.0)
        return None if score is None else float(score) * float(weight)
    return float(raw) if isinstance(raw, (bool, int, float)) else None


def numbers(raw: Any, n: int) -> list[float] | None:
    fits = isinstance(raw, list) and len(raw) == n and all(isinstance(v, (bool, int, float)) for v in raw)
    return [float(v) for v in raw] if fits else None


def flag(name: str, raw: Any) -> bool | None:
    if isinstance(raw, (bool, int, float)) and raw in (0, 1):
        return bool(raw)
    return raw in _CUT if name == "truncated" and isinstance(raw, str) else None


def states(raw: Any, n: int) -> list[Any] | None:
    """One key per turn and one after the last (null if not given)."""
    if not isinstance(raw, list) or len(raw) not in (n, n + 1):
        return None
    keys = [k if k is None or isinstance(k, (str, int, float)) else json.dumps(k, sort_keys=True) for k in raw]
    return keys if len(keys) > n else [*keys, None]


def prompt_of(rollout: Rollout) -> Any:
    """What was asked first, with the training step if there is one: the same prompt comes again in a later step."""
    text = next((m.get("content") for m in rollout.messages or () if m["role"] == "user"), None)
    if text is None:
        return None
    asked = text if isinstance(text, str) else json.dumps(text, sort_keys=True)
    step = lookup(rollout.facts, "step")
    return f"step {step}: {asked}" if isinstance(step, int) else asked


def short(name: Any) -> Any:
    """A name as it is; a long text as its beginning and a hash, because it is repeated in every table."""
    if not isinstance(name, str) or len(name) <= 80:
        return name
    return f"{name[:60]}… {blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=6).hexdigest()}"


def hashed(name: Any) -> int:
    """64 bits that stand for a name."""
    text = json.dumps(name, sort_keys=True).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


@dataclass
class Found:
    """How often one key was there, who lacked it first, and per trajectory a hash of what it said (0: nothing)."""

    count: int = 0
    lacking: str | None = None
    hashes: array[int] = field(default_factory=lambda: array("Q"))


@dataclass
class Tally:
    """What the trajectories of a log have, key by key; ``given``: field -> the only key that may be it."""

    given: Mapping[str, str]
    n: int = 0
    found: dict[tuple[str, str], Found] = field(default_factory=dict)
    numeric: dict[str, int] = field(default_factory=dict)
    summed: Counter[tuple[str, str]] = field(default_factory=Counter)
    prompts: array[int] = field(default_factory=lambda: array("Q"))
    first: str | None = None

    def add(self, rollout: Rollout, where: str) -> None:
        """Count one trajectory."""
        if self.first is None:
            self.first = where
            self.numeric = {k: 0 for k, v in rollout.facts.items() if isinstance(v, (int, float))}
        values: dict[tuple[str, str], Any] = {}
        for name, keys in CANDIDATES.items():
            for key in (self.given[name],) if name in self.given else keys:
                if key not in rollout.facts and name not in self.given and (name, key) not in self.found:
                    continue  # the usual case, many times a trajectory
                value = self._add(name, key, rollout, where)
                if value is not None:
                    values[name, key] = value
        for key in self.numeric:
            self.numeric[key] += isinstance(rollout.facts.get(key), (int, float))
        outcomes = [(k, v) for (n, k), v in values.items() if n == "outcome"]
        for turn, parts in ((k, v) for (n, k), v in values.items() if n == "turn_reward"):
            self.summed.update((k, turn) for k, v in outcomes if math.isclose(v, sum(parts), rel_tol=1e-6, abs_tol=1e-9))
        asked = prompt_of(rollout)
        self.prompts.append(0 if asked is None else hashed(asked))
        self.n += 1

    def _add(self, name: str, key: str, rollout: Rollout, where: str) -> Any:
        raw = combined(rollout.facts, key) if name == "outcome" else lookup(rollout.facts, key)
        got = self.found.get((name, key))
        if raw is None and got is None:
            return None
        value = value_of(name, raw, rollout)
        if got is None:
            if value is None:
                return None
            got = self.found[name, key] = Found(lacking=self.first if self.n else None)
            got.hashes.extend([0] * self.n)
        if value is None:
            got.lacking = got.lacking or where
        else:
            _finite(name, key, value)
            got.count += 1
        got.hashes.append(0 if value is None else hashed(value) if name in _HASHED else 1)
        return value


def combined(facts: Mapping[str, Any], key: str) -> Any:
    """Several keys with commas between them are added up."""
    if "," not in key:
        return lookup(facts, key)
    parts = [number(lookup(facts, part.strip())) for part in key.split(",")]
    return None if any(p is None for p in parts) else sum(p for p in parts if p is not None)


def _finite(name: str, key: str, value: Any) -> None:
    if name in ("outcome", "bootstrap", "turn_reward"):
        for v in value if isinstance(value, list) else (value,):
            if not math.isfinite(v):
                raise BatchError(f"'{key}' = {v}: expected a finite number")
