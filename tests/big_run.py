"""A report the size of the standard suite's: every entrant on eleven tasks with two seeds, numbers made up.

Summing up so many rows takes a quarter of a minute, so only the learners are measured in full (:func:`write_big_run`), and
:func:`grown` gives everybody else the rows of one of them, with other digits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from apportion.bench import catalog

TASKS = (
    "bifurcation/horizon-10", "bifurcation/horizon-100", "reasoning/steps-30", "reasoning/mended", "agentic/echo-trap",
    "agentic/timeless", "team/two", "interaction/or", "interaction/xor", "classical/key-to-door", "witness/plus",
)  # fmt: skip
LEARNERS = ("exact", "rloo", "grpo", "gae", "gigpo", "tempo", "pooled_td", "vineppo", "carl", "hcapo")
GRADIENT = ("inner", "norm2", "truth2", "cross", "gain_best", "gain_kl", "between2", "within2", "useful2", "price")
IDENTIFIED = (
    "correlation", "sign", "fork_ap", "leak_routine", "leak_luck", "silent",
    "correlation:contrast", "correlation:leave_one_out", "correlation:shapley",
)  # fmt: skip
COST = ("generated", "scored", "env_steps", "judge_calls", "trained", "price")
LEARNT = ("reached", "cost", "updates", "final", "attainable", "start")


def write_big_run(folder: Path, seeds: int = 2) -> Path:
    """Every entrant there is on every task; where each stands depends on its place in the list alone."""
    folder.mkdir(parents=True)
    entrants, rng = catalog.entrants(), np.random.default_rng(0)
    columns: dict[str, list[object]] = {
        n: [] for n in ("method", "task", "seed", "measure", "metric", "batch", "lr", "value")
    }  # fmt: skip

    def add(method: str, task: str, measure: str, metrics: dict[str, float], batch: int = 0, lr: float = math.nan) -> None:
        for seed in range(seeds):
            for metric, value in metrics.items():
                given = (method, task, seed, measure, metric, batch, lr, value * rng.uniform(0.95, 1.05))
                for name, v in zip(columns, given, strict=True):
                    columns[name].append(v)

    for k, method in enumerate(entrants):
        for task in TASKS:
            if method not in LEARNERS:
                add(method, task, "cost", {"price": 10.0 + k})
                continue
            for batch in (64, 512):
                worth = 0.2 + 12 * ((k * 37) % 167) / 167
                noise = 400.0 / (batch * worth)
                made = dict(zip(GRADIENT, (2.0, 2.2 + 2 * noise, 2.0, 2.1, 0.01, 0.004, 0.1, 0.05, 1.0, 30 + k), strict=True))
                add(method, task, "gradient", made, batch)
            add(method, task, "identification", {n: 0.1 + 0.8 * ((k * 11 + i) % 100) / 100 for i, n in enumerate(IDENTIFIED)})
            add(method, task, "cost", {n: 10.0 * k + i for i, n in enumerate(COST)})
            if method in LEARNERS:
                add(
                    method,
                    task,
                    "learning",
                    dict(zip(LEARNT, (1.0, 1e5 / (1 + k % 9), 20, 0.9, 1.0, 0.3), strict=True)),
                    64,
                    0.15,
                )
    pq.write_table(pa.table(columns), folder / "results.parquet")
    tasks = [catalog.find(t) for t in TASKS]
    manifest = {
        "suite": "standard", "command": "apportion bench run --suite standard", "prices": {"generated": 1.0},
        "tasks": [
            {**t.describe(), "id": t.id, "family": t.family, "tags": list(t.tags), "horizon": t.horizon, "title": t.title}
            for t in tasks
        ],
        "entrants": [
            {"id": i, "title": e.title, "method": e.method, "oracle": e.oracle, "paid": e.paid, "ask": getattr(e, "ask", "")}
            for i, e in entrants.items()
        ],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest, default=str))
    return folder


def grown(run: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary with rows of every measure for every entrant: those that were not measured get a learner's, other digits."""
    ids = [e["id"] for e in json.loads((run / "manifest.json").read_text())["entrants"]]
    others = [m for m in ids if m not in LEARNERS]
    oracle = {m["id"]: m["oracle"] for m in summary["methods"]}
    rng = np.random.default_rng(1)

    def other(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: other(v) for k, v in value.items()}
        if isinstance(value, list):
            return [other(v) for v in value]
        return float(f"{value * rng.uniform(0.8, 1.2):.6g}") if isinstance(value, float) else value

    made = dict(summary)
    for measure in ("gradient", "identification", "cost", "aggregate"):
        known = [r for r in summary[measure] if r["method"] in LEARNERS]
        model = [r for r in known if r["method"] == "grpo"]
        copies = [{**other(r), "method": m} | ({"oracle": oracle[m]} if "oracle" in r else {}) for m in others for r in model]
        made[measure] = known + copies
    fair = [m for m in others if not oracle[m]]
    after = len(summary["ranking"])
    more = [{"rank": after + k, "method": m, "by": "gradient", "mean_rank": 50.0 + k, "tasks": 11} for k, m in enumerate(fair, 1)]
    return made | {"ranking": [*summary["ranking"], *more]}
