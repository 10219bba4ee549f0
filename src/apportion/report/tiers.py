"""Do methods rank alike whether a table acts or a network? Rank correlations between the tiers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, isnan, nan
from typing import Any

import numpy as np

from ..bench.statistics import kendall, spearman
from .numbers import digits, load, store
from .read import Run

#: Methods below which a rank correlation says nothing.
FEWEST = 5
COMPARED = ("alignment", "learning")


def tier_rows(run: Run, found: Mapping[str, Any]) -> dict[str, Any]:
    """Spearman's and Kendall's rank correlation over methods, for each neural task whose tabular twin was run as well.

    alignment: of rho at the reference batch size; learning: of speed (1 / cost, never reached last). Oracles are
    left out, and what has no twin (a method that asks the model, a setting that was not measured). Not given below
    ``FEWEST`` methods, nor where all are equal. ``mean`` is taken over the pairs of tasks that have a value.
    """
    pairs = []
    for id_, task in run.tasks.items():
        twin = str(task.get("twin"))
        if task.get("tier") != "neural" or twin not in run.tasks:
            continue
        row: dict[str, Any] = {"neural": id_, "tabular": twin}
        for name in COMPARED:
            here, there = (_values(run, found, name, t) for t in (id_, twin))
            both = sorted(here.keys() & there.keys())
            a, b = (np.array([values[m] for m in both]) for values in (here, there))
            enough = len(both) >= FEWEST
            row[name] = {
                "spearman": store(spearman(a, b) if enough else nan),
                "kendall": store(kendall(a, b) if enough else nan),
                "methods": both,
            }
        pairs.append(row)
    means = {name: {c: _mean([p[name][c] for p in pairs]) for c in ("spearman", "kendall")} for name in COMPARED}
    return {"pairs": pairs, "fewest": FEWEST, "mean": means}


def _values(run: Run, found: Mapping[str, Any], name: str, task: str) -> dict[str, float]:
    """What methods are ranked by on a task, more is better; oracles and what is undefined left out."""
    fair = [r for r in found["gradient" if name == "alignment" else "learning"] if not run.is_oracle(r["method"])]
    if name == "alignment":
        rows = [r for r in fair if r["task"] == task and r["batch"] == found["reference_batch"]]
        values = {r["method"]: load(r["rho"]["value"]) for r in rows}
    else:
        costs = {r["method"]: load(r["cost"]["value"]) for r in fair if r["task"] == task}
        values = {m: 0.0 if cost == inf else 1.0 / cost if cost > 0 else nan for m, cost in costs.items()}
    return {m: value for m, value in values.items() if not isnan(value)}


def _mean(values: list[Any]) -> Any:
    known = [v for v in values if v is not None and isfinite(v)]
    return store(float(np.mean(known))) if known else None


def tier_text(summary: Mapping[str, Any]) -> str:
    """The correlations in a few sentences; empty where no neural task has its twin in the run."""
    tiers = summary["tiers"]
    if not tiers["pairs"]:
        return ""
    parts = []
    for name, what in (("alignment", "alignment with the exact gradient"), ("learning", "learning speed")):
        each = [
            f"{digits(p[name]['spearman'])} / {digits(p[name]['kendall'])} on {p['tabular']} ({len(p[name]['methods'])} methods)"
            for p in tiers["pairs"]
            if p[name]["spearman"] is not None
        ]
        if each:
            parts.append(f"by {what}: {', '.join(each)}")
    if not parts:
        return f"Tiers: a rank correlation needs {tiers['fewest']} methods measured in both; this run has fewer."
    return "Do tiers rank methods alike? Spearman / Kendall between tabular and neural policy, " + "; ".join(parts) + "."
