"""Random batches that satisfy any method: every column, every axis, shared prefixes, recurring states.

A :class:`Case` is a batch with the evidence a method asks for. Cases can be rearranged (order of
trajectories, layout of rows, names) without touching what happened, so that a check can ask whether
the credit follows.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apportion import Batch, Spans
from apportion.ids import Codes
from apportion.registry import Method
from apportion.words import Axis

Int = NDArray[np.int64]
SHAPES = (3, 2, 4)
#: evidence that lies in [0, 1]
SHARES = ("success_rate", "planning", "calls_parse", "format_ok", "answer_quality", "tools")
AXES: tuple[Axis, ...] = ("token", "step", "turn", "prefix", "step_prefix", "trajectory", "episode", "group")


@dataclass(frozen=True)
class Case:
    batch: Batch
    evidence: Mapping[str, NDArray[Any]]

    def with_columns(self, **columns: Any) -> Case:
        return Case(self.batch.with_columns(**columns), self.evidence)

    def with_evidence(self, **evidence: Any) -> Case:
        return Case(self.batch, {**self.evidence, **evidence})


def case(method: Method, seed: int, *, shapes: tuple[int, ...] = SHAPES, lonely: bool = False) -> Case:
    """A batch with groups of the given sizes (and a group of one), and evidence for ``method``."""
    batch = _cached(seed, shapes + (1,) * lonely)
    rng = np.random.default_rng(seed)
    return Case(batch, {name: evidence(name, axis, batch, rng, levels(method)) for name, axis in method.evidence.items()})


@functools.cache
def _cached(seed: int, shapes: tuple[int, ...]) -> Batch:
    return rollouts(np.random.default_rng(seed), shapes)


def levels(method: Method) -> tuple[float, ...]:
    """What a judge may answer with the method's own rubric; nothing where it has none."""
    rubric = getattr(sys.modules[method.function.__module__], "RUBRIC", None)
    return rubric.levels if rubric is not None else ()


def evidence(name: str, axis: Axis, batch: Batch, rng: np.random.Generator, levels: tuple[float, ...] = ()) -> NDArray[Any]:
    """Plausible evidence by its name: a column of the batch, log-probabilities, levels of a rubric, or scores."""
    if name in batch.columns() and getattr(batch, name) is not None:
        return np.array(getattr(batch, name))
    if levels:
        return rng.choice(levels, batch.count(axis))
    if name == "error_step":  # -1: none
        return np.floor(rng.random(batch.n_trajectories) * (np.bincount(batch.within("step", "trajectory")) + 1)) - 1
    values = rng.uniform(-1.0, 1.0, batch.count(axis))
    if name in SHARES:
        return np.abs(values)
    return -np.abs(values) if name.endswith("logp") else values


def rollouts(rng: np.random.Generator, shapes: tuple[int, ...]) -> Batch:
    """Grouped trajectories of 1 to 4 turns; some start like an earlier one of their group, then part."""
    built: list[dict[str, Any]] = []
    node = 0
    for group, size in enumerate(shapes):
        first = len(built)
        for k in range(size):
            turns: list[dict[str, Any]] = []
            if k and rng.random() < 0.7:
                relative = built[int(rng.integers(first, first + k))]["turns"]
                turns = list(relative[: int(rng.integers(0, len(relative)))])
            for _ in range(int(rng.integers(max(0, 1 - len(turns)), 4))):
                turns.append(_turn(rng, node, turns[-1]["node"] if turns else -1))
                node += 1
            built.append({"turns": turns, "group": group})
    turns_ = [t for b in built for t in b["turns"]]
    steps = [s for t in turns_ for s in t["steps"]]
    n, n_tokens = len(built), sum(t["length"] for t in turns_)
    ends = np.cumsum([len(b["turns"]) for b in built]) - 1
    state: list[Any] = []
    for b in built:
        state += [t["state"] for t in b["turns"]] + [f"end{int(rng.integers(2))}"]
    cut = rng.random(n) < 0.2
    tokens = {
        name: np.concatenate([t[name] for t in turns_]) for name in ("action", "ids", "logp", "ref_logp", "value", "entropy")
    }
    token_reward = np.where(tokens["action"], -0.01 * rng.random(n_tokens), 0.0)
    turn_reward = np.where(rng.random(len(turns_)) < 0.2, 0.25, 0.0)
    turn_reward[ends[0]] = 0.25  # never all zero, and never the sum of the outcomes
    return Batch.from_turns(
        [[t["length"] for t in b["turns"]] for b in built],
        steps=[[s for t in b["turns"] for s in t["steps"]] for b in built],
        trajectory=[f"t{i}" for i in range(n)],
        group=[f"g{b['group']}" for b in built],
        episode=[f"e{i}" for i in range(n)],
        agent=[("main", "worker")[i % 2] for i in range(n)],
        outcome=rng.integers(0, 2, n).astype(float),
        turn_reward=turn_reward,
        token_reward=token_reward,
        state=state,
        process=rng.uniform(-1, 1, len(steps)),
        node=[t["node"] for t in turns_],
        parent=[t["parent"] for t in turns_],
        text=[f"turn {t['node']}" for t in turns_],
        truncated=cut,
        bootstrap=np.where(cut, 0.5, 0.0),
        success=rng.random(n) < 0.5,
        limit=64,
        spans=_spans([t["action"] for t in turns_], [t["node"] % 3 == 0 for t in turns_], ends),
        **tokens,
    )


def _spans(action: list[Any], switch: list[bool], last: Int) -> dict[str, Spans]:
    """Options that begin where a turn switches; of its policy tokens one decides, one says the subgoal, if there are so many."""
    lengths = [len(a) for a in action]
    edge = np.concatenate(([0], np.cumsum(lengths)))
    opens = np.array(switch)
    opens[np.concatenate(([0], last[:-1] + 1))] = True
    begin = edge[:-1][opens]
    start: list[int] = []
    end: list[int] = []
    label: list[str] = []
    for at, mask in zip(edge[:-1].tolist(), action, strict=True):
        own = (at + np.flatnonzero(mask)).tolist()
        names = ("switch", "subgoal")[: max(len(own) - 1, 0)]
        start += own[: len(names) + 1]
        end += [t + 1 for t in own[: len(names)]] + [own[-1] + 1]
        label += [*names, "action"]
    table = Spans(np.array(start), np.array(end), tuple(label))
    return {"option": Spans(begin, np.append(begin[1:], edge[-1])), "part": table}


def _turn(rng: np.random.Generator, node: int, parent: int) -> dict[str, Any]:
    """One turn: observation tokens, then one or two steps of policy tokens, perhaps one observation more."""
    before, after = int(rng.integers(0, 3)), int(rng.integers(0, 2))
    steps = [int(rng.integers(1, 4)) for _ in range(int(rng.integers(1, 3)))]
    action = np.concatenate([np.zeros(before), np.ones(sum(steps)), np.zeros(after)]).astype(bool)
    steps[0] += before
    steps[-1] += after
    n = action.size
    logp, ref = -rng.exponential(1.0, n), -rng.exponential(1.0, n)
    return {
        "length": n,
        "steps": steps,
        "action": action,
        "node": node,
        "parent": parent,
        "state": None if rng.random() < 0.1 else f"s{int(rng.integers(4))}",
        "ids": rng.integers(0, 6, n),
        "logp": np.where(action, logp, 0.0),
        "ref_logp": np.where(action, ref, 0.0),
        "value": rng.normal(0.0, 0.5, n),
        "entropy": np.where(action, rng.random(n), 0.0),
    }


# --- rearranging ---------------------------------------------------------------------------------


def index(batch: Batch, axis: Axis, order: Int) -> Int:
    """Where the units of ``axis`` come from when trajectories are put in this order."""
    if axis in ("episode", "group"):  # numbered by first appearance
        whole = batch.within("trajectory", axis)[order]
        return whole[np.sort(np.unique(whole, return_index=True)[1])]
    owner = _owner(batch, "part") if axis == "segment" else batch.within(axis, "trajectory")
    return np.concatenate([np.flatnonzero(owner == i) for i in order])


def _owner(batch: Batch, table: str) -> Int:
    return batch.within("token", "trajectory")[batch.spans[table].start]


def _moved(batch: Batch, order: Int) -> dict[str, Spans]:
    """Span tables whose trajectories are put in this order."""
    old = batch.offsets("trajectory")
    new = np.concatenate(([0], np.cumsum(np.diff(old)[order])))[:-1]
    moved = {}
    for name, table in batch.spans.items():
        owner = _owner(batch, name)
        at = np.concatenate([np.flatnonzero(owner == i) for i in order])
        shift = np.concatenate([np.full(int((owner == i).sum()), new[j] - old[i]) for j, i in enumerate(order)])
        label = tuple(table.label[i] for i in at) if table.label else ()
        moved[name] = Spans(table.start[at] + shift, table.end[at] + shift, label)
    return moved


def reorder(given: Case, method: Method, order: Int) -> Case:
    """The same rollouts with their trajectories in another order."""
    batch = given.batch
    at = {axis: index(batch, axis, order) for axis in AXES}
    columns: dict[str, Any] = {}
    for name, meta in batch.columns().items():
        value = getattr(batch, name)
        if value is not None:
            columns[name] = _pick(value, at[meta["axis"]])
    for name in ("group", "episode"):
        value = getattr(batch, name)
        columns[name] = None if value is None else value.take(order)
    turn_lengths = np.diff(batch.turn_offsets)
    step_lengths = None if batch.step_offsets is None else np.diff(batch.step_offsets)
    owner, step_owner = batch.within("turn", "trajectory"), batch.within("step", "trajectory")
    moved = Batch.from_turns(
        [turn_lengths[owner == i].tolist() for i in order],
        steps=None if step_lengths is None else [step_lengths[step_owner == i].tolist() for i in order],
        action=batch.action[at["token"]],
        trajectory=[batch.trajectory.name(int(i)) for i in order],
        limit=batch.limit,
        spans=_moved(batch, order),
        **columns,
    )
    return Case(moved, {n: v[at[method.evidence[n]]] for n, v in given.evidence.items()})


def _pick(value: Any, at: Int) -> Any:
    if isinstance(value, Codes):
        return value.take(at)
    return tuple(value[i] for i in at) if isinstance(value, tuple) else value[at]


def row_per_turn(given: Case) -> Case:
    """The same rollouts, held by the trainer as one row per turn."""
    batch = given.batch
    columns: dict[str, Any] = {n: getattr(batch, n) for n in (*batch.columns(), "group", "episode", "step_offsets", "limit")}
    return Case(
        Batch(
            turn_offsets=batch.turn_offsets,
            row_turns=np.arange(batch.n_turns + 1),
            trajectory_rows=batch.trajectory_turns,
            action=batch.action,
            trajectory=batch.trajectory,
            spans=batch.spans,
            **columns,
        ),
        given.evidence,
    )


def renamed(given: Case) -> Case:
    """The same rollouts under other names, node numbers and token ids."""
    batch = given.batch
    columns: dict[str, Any] = {
        name: Codes(codes.codes, tuple(f"another {n}" for n in codes.names))
        for name in ("trajectory", "group", "episode", "state", "agent")
        if (codes := getattr(batch, name)) is not None
    }
    if batch.ids is not None:
        columns["ids"] = 1_000_003 - 7 * batch.ids
    if batch.node is not None and batch.parent is not None:
        columns["node"] = 500 - 3 * batch.node
        columns["parent"] = np.where(batch.parent < 0, -1, 500 - 3 * batch.parent)
    return given.with_columns(**columns)
