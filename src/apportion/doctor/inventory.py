"""What a log holds, and which methods that can feed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..batch import Batch, what_it_is
from ..edges.facts import many
from ..edges.strips import bars
from ..feeds import Feed, feeds
from ..registry import get
from ..structure import Float, Int
from .tally import number, percent

#: Column -> how a command on a log is told where it is.
SWITCHES: Mapping[str, str] = {
    "reward": "--reward KEY",
    "group": "--group KEY",
    "state": "--state observation (or KEY)",
    "ids": "--tokenizer FOLDER",
}


@dataclass
class Inventory:
    """Sums over the batches of a log. Per trajectory only its reward and two sizes are kept (24 bytes)."""

    count: Counter[str] = field(default_factory=Counter)
    columns: Counter[str] = field(default_factory=Counter)
    agents: Counter[str] = field(default_factory=Counter)
    group_sizes: list[Int] = field(default_factory=list)
    turns: list[Int] = field(default_factory=list)
    tokens: list[Int] = field(default_factory=list)
    rewards: list[Float] = field(default_factory=list)
    filled: Counter[str] = field(default_factory=Counter)

    def add(self, batch: Batch) -> None:
        n = batch.n_trajectories
        self.count.update(
            trajectories=n,
            rows=batch.n_rows,
            turns=batch.n_turns,
            steps=batch.n_steps if batch.step_offsets is not None else 0,
            tokens=batch.n_tokens,
            policy_tokens=int(batch.action.sum()),
        )
        for name in (*batch.present, *(f"spans {s}" for s in batch.spans)):
            self.columns[name] += n
        if batch.group is not None:
            self.group_sizes.append(np.bincount(batch.within("trajectory", "group")))
        if batch.agent is not None and len(self.agents) < 100:
            self.agents.update(str(a) for a in batch.agent.to_list())
        self.turns.append(np.diff(batch.trajectory_turns))
        self.tokens.append(np.diff(batch.offsets("trajectory")))
        given = [name for name in ("outcome", "turn_reward", "token_reward") if getattr(batch, name) is not None]
        for name in given:
            values = getattr(batch, name)
            self.filled[name] += int(np.count_nonzero(values))
            self.filled[f"{name} of"] += values.size
        if given:
            self.rewards.append(batch.reward)

    @property
    def have(self) -> tuple[str, ...]:
        """Columns that every trajectory has."""
        return tuple(name for name, n in self.columns.items() if n == self.count["trajectories"])

    def to_plain(self) -> dict[str, Any]:
        """All figures as plain data."""
        plain: dict[str, Any] = dict(self.count)
        plain["groups"] = sum(g.size for g in self.group_sizes)
        for name in ("group_sizes", "turns", "tokens"):
            plain[f"{name}_each" if name != "group_sizes" else name] = _summary(getattr(self, name))
        plain["reward"] = self._reward()
        plain["columns"] = dict(sorted(self.columns.items()))
        plain["agents"] = dict(self.agents)
        return plain

    def _reward(self) -> dict[str, Any] | None:
        if not self.rewards:
            return None
        r = np.concatenate(self.rewards)
        where = {
            name: {"count": self.filled[f"{name} of"], "not_zero": self.filled[name]}
            for name in ("outcome", "turn_reward", "token_reward")
            if f"{name} of" in self.filled
        }
        counts, edges = np.histogram(r, bins=12)
        spread = {"low": float(r.min()), "mean": float(r.mean()), "high": float(r.max()), "sd": float(r.std())}
        histogram = {"counts": counts.tolist(), "edges": edges.tolist()}
        return {"where": where, **spread, "distinct": int(np.unique(r).size), "histogram": histogram}

    def facts(self) -> list[tuple[str, str]]:
        """The same as (label, text) lines."""
        c = self.count
        steps = f", {many(c['steps'], 'step')}" if c["steps"] else ""
        rows = f", {many(c['rows'], 'row')}" if c["rows"] != c["trajectories"] else ""
        facts = [("holds", f"{many(c['trajectories'], 'trajectory')}{rows}, {many(c['turns'], 'turn')}{steps}")]
        facts.append(("tokens", f"{c['tokens']:,}, {percent(c['policy_tokens'] / max(c['tokens'], 1))} written by the policy"))
        facts.append(("sizes", f"{_range(self.turns, 'turn')} and {_range(self.tokens, 'token')} a trajectory"))
        if self.group_sizes:
            n = sum(g.size for g in self.group_sizes)
            facts.append(("groups", f"{many(n, 'group')} of {_range(self.group_sizes, 'rollout')}"))
        else:
            facts.append(("groups", f"none: {what_it_is('group')} is not known"))
        facts += self._reward_facts()
        if self.agents:
            facts.append(("agents", ", ".join(f"{name} ({n:,})" for name, n in self.agents.most_common(6))))
        some = [f"{n} (in {percent(k / c['trajectories'])})" for n, k in self.columns.items() if n not in self.have]
        facts.append(("columns", ", ".join([*sorted(self.have), *some]) or "none"))
        return facts

    def _reward_facts(self) -> list[tuple[str, str]]:
        found = self._reward()
        if found is None:
            return [("reward", "none found")]
        r = np.concatenate(self.rewards)
        text = (
            f"{number(found['low'])} to {number(found['high'])}, mean {number(found['mean'])}, {many(found['distinct'], 'value')}"
        )
        facts = [("reward", f"{text}  [{bars(r)}]")]
        words = {"outcome": "trajectory", "turn_reward": "turn", "token_reward": "token"}
        for name, where in found["where"].items():
            share = percent(where["not_zero"] / max(where["count"], 1))
            facts.append(("", f"{name}: per {words[name]}, not 0 at {share} of them"))
        return facts


def inventory(batches: Iterable[Batch]) -> Inventory:
    """Look at every batch once."""
    found = Inventory()
    for batch in batches:
        found.add(batch)
    return found


def feeding(found: Inventory) -> list[dict[str, Any]]:
    """One line per method: can it run on this, and if not, what it lacks and how to give that."""
    have = set(found.have)
    lines = [_line(feed) for feed in feeds(have)]
    order = {"ready": 0, "can learn": 1, "lacks": 2}
    return sorted(lines, key=lambda line: (order[line["status"]], line["method"]))


def _line(feed: Feed) -> dict[str, Any]:
    spec = get(feed.method)
    status = "ready" if feed.ready else "can learn" if feed.learnable else "lacks"
    ways = [f"{name}: {SWITCHES.get(name, f'batch.with_columns({name}=...)')}" for name in feed.columns]
    if feed.evidence and not feed.learnable:
        ways += [f"{name}: {_ask(feed, name)}" for name in feed.evidence]
    if feed.learnable:
        ways = [f"{', '.join(feed.evidence)}: --fit learns it from the log"]
    lacks = [*feed.columns, *feed.evidence]
    return {
        "method": feed.method,
        "unit": spec.unit,
        "status": status,
        "lacks": lacks,
        "how": "; ".join(ways),
        "scope": spec.scope,
    }


def _ask(feed: Feed, name: str) -> str:
    ways = [f"ask a {feed.source} (ap.assign(..., {feed.source}=))"] if feed.source else [f"pass {name}="]
    return " or ".join([*ways, "--fit"] if feed.can_fit else ways)


def _summary(parts: list[Int]) -> dict[str, Any] | None:
    if not parts:
        return None
    sizes = np.concatenate(parts)
    return {"low": int(sizes.min()), "median": float(np.median(sizes)), "high": int(sizes.max())}


def _range(parts: list[Int], word: str) -> str:
    sizes = np.concatenate(parts)
    low, high = int(sizes.min()), int(sizes.max())
    return many(low, word) if low == high else f"{low:,} to {high:,} {word}s (median {np.median(sizes):,.0f})"
