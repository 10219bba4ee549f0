"""The data file of method selection from run folders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BenchError
from .. import manifest as manifests
from ..oracle import expected_return
from ..statistics import Float
from ..store import MANIFEST, RESULTS
from ..tabular import Task
from ..tasks import find
from ..world import roll
from .grid import FIT, HELD_OUT
from .measured import BILL, FORMAT, GRADIENT, LEARNING, Setting

DIGITS = 5


def collect(folders: Sequence[Path]) -> dict[str, Any]:
    """The JSON form of :class:`~apportion.bench.selection.measured.Measured`, from runs of the grid.

    Raises ``BenchError`` where runs differ in group size, prices, seeds or protocol, share a task, or lack one of the grid.
    """
    runs = [_Run(folder) for folder in folders]
    if not runs:
        raise BenchError("no run folder was given: expected those of the suites selection, selection-held-out and selection-long")
    for what in ("group", "prices", "seeds", "protocol"):
        values = [getattr(run, what) for run in runs]
        if any(v != values[0] for v in values):
            raise BenchError(f"{folders[0]} and {folders[1]} differ in {what}: their numbers do not belong together")
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    hashes: dict[str, str] = {}
    for run in runs:
        if both := sorted(set(hashes) & set(run.tasks)):
            raise BenchError(f"{run.folder}: task '{both[0]}' is in another run too: give each once")
        hashes |= run.tasks
        for key, parts in run.rows.items():
            rows.setdefault(key, {}).update(parts)
    if lost := [t for t in (*FIT, *HELD_OUT) if t not in hashes]:
        raise BenchError(f"no run has {', '.join(lost)}: expected the whole grid")
    settings = [asdict(setting(t, "held-out" if t in HELD_OUT else "fit", hashes[t])) for t in (*FIT, *HELD_OUT)]
    order = {t: i for i, t in enumerate((*FIT, *HELD_OUT))}
    return {
        "format": FORMAT,
        "about": {
            "protocol": runs[0].protocol,
            "code": sorted({run.code for run in runs}),
            "versions": runs[0].versions,
            "missing": sorted(cell for run in runs for cell in run.missing),
        },
        "group": runs[0].group,
        "seeds": len(runs[0].seeds),
        "prices": runs[0].prices,
        "entrants": sorted({e for _, e in rows}),
        "settings": settings,
        "rows": [[t, e, rows[t, e]] for t, e in sorted(rows, key=lambda k: (order.get(k[0], len(order)), k[1]))],
    }


class _Run:
    """What is taken of a run folder."""

    def __init__(self, folder: Path) -> None:
        found = manifests.read(folder / MANIFEST)
        if found is None or not (folder / RESULTS).is_file():
            raise BenchError(f"{folder}: no finished run here; expected a folder made by 'apportion bench run --out'")
        manifest: Mapping[str, Any] = found
        self.folder = folder
        self.protocol, self.code, self.versions = manifest["protocol"], manifest["code"], manifest["versions"]
        self.group, self.prices = manifest["settings"]["group"], manifest["prices"]
        self.seeds = tuple(manifest["seeds"])
        self.missing = list(manifest["missing"])  # cells that failed: not measured, and said so
        self.tasks = {t["id"]: t["sha256"] for t in manifest["tasks"]}
        self.rows = _rows(_values(folder / RESULTS, self.seeds), manifest["settings"]["learning"]["target"])


def _values(path: Path, seeds: Sequence[int]) -> dict[tuple[str, str, str, int, float], dict[str, Float]]:
    """(method, task, measure, batch, learning rate) -> metric -> one value per seed."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    at = {seed: i for i, seed in enumerate(seeds)}
    found: dict[tuple[str, str, str, int, float], dict[str, Float]] = {}
    table = pq.read_table(path).to_pydict()
    names = ("method", "task", "measure", "batch", "lr", "metric", "seed", "value")
    for method, task, measure, batch, lr, metric, seed, value in zip(*(table[n] for n in names), strict=True):
        rate = 0.0 if math.isnan(lr) else float(lr)  # nothing but training has one, and NaN is no key: it differs from itself
        cell = found.setdefault((method, task, measure, int(batch), rate), {})
        cell.setdefault(metric, np.full(len(at), np.nan))[at[seed]] = value
    return found


def way(metrics: Mapping[str, Float], target: float) -> Float:
    """Share of the way from where training began to the target, per seed: 1 where it got there, 0 where it fell back."""
    goal = target * metrics["attainable"] - metrics["start"]
    gained = metrics["final"] - metrics["start"]
    share: Float = np.where(metrics["reached"] > 0.5, 1.0, np.clip(gained / np.where(goal > 0, goal, np.nan), 0.0, 1.0))
    return share


def _rows(
    values: Mapping[tuple[str, str, str, int, float], Mapping[str, Float]], target: float
) -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for (method, task, measure, batch, lr), metrics in values.items():
        parts = found.setdefault((task, method), {})
        if measure == "learning":
            known = {**metrics, "way": way(metrics, target)}
            parts.setdefault("learning", {})[f"{lr:g}"] = {n: _short(known[n]) for n in LEARNING}
        elif measure == "gradient":
            parts.setdefault("gradient", {})[str(batch)] = {n: _short(metrics[n]) for n in GRADIENT}
        elif measure == "cost":
            parts["bill"] = [_digits(float(np.nanmean(metrics[n]))) for n in BILL]
    return found


def _short(values: Float) -> list[float | None]:
    return [_digits(float(v)) for v in values]


def _digits(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.{DIGITS}g}")


def setting(id_: str, split: str, sha256: str) -> Setting:
    """A task as a selector sees it, computed from its arrays and its starting policy."""
    task = find(id_)
    if task.describe()["sha256"] != sha256:
        raise BenchError(f"task '{id_}' is not what it was when the run was made: run it again")
    P, T, S = task.context.shape
    hidden = task.shown is not None or any(np.unique(task.observation[p, t]).size < S for p in range(P) for t in range(T))
    return Setting(
        id_, task.layout, task.horizon, int(task.words.shape[1]), task.agents, bool(hidden), round(repeat(task), 3),
        round(float(expected_return(task, task.start_theta)), 3), split, sha256,
    )  # fmt: skip


def repeat(task: Task, group: int = 8) -> float:
    """Share of the states of a group, after the first, that more than one of its rollouts meets; in one answer none."""
    if task.layout == "steps":
        return 0.0
    rollouts = roll(task, task.start_theta, task.prompts, group, np.random.default_rng(0))
    met: dict[tuple[int, int], set[int]] = {}
    for i, (prompt, states) in enumerate(zip(rollouts.prompt, rollouts.states, strict=True)):
        for t in range(1, task.horizon):
            met.setdefault((int(rollouts.group[i]), int(task.observation[prompt, t, states[t]])), set()).add(i)
    return float(np.mean([len(who) > 1 for who in met.values()])) if met else 0.0
