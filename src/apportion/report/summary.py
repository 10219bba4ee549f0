"""What a run says, as one JSON-able dict; the leaderboard as a table; the run in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf, isfinite, isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bench.statistics import ranks, resample_index, spearman
from .aggregate import aggregate_rows
from .breakeven import breakeven_rows
from .claim import sentence
from .curves import curve_rows
from .gradient import REFERENCE, gradient_rows
from .learning import learning_rows, order_key
from .numbers import load, store, value_of
from .pool import mean_estimate, resample_weights, seed_mean
from .read import Run, read_run, reference_batch
from .sections import section_rows
from .terminal import leaderboard_table
from .tiers import tier_rows

if TYPE_CHECKING:
    Row = dict[str, Any]

__all__ = ["leaderboard_table", "sentence", "summarise"]

IDENTIFICATION = ("correlation", "sign", "fork_ap", "leak_routine", "leak_luck")
COST = ("generated", "scored", "env_steps", "judge_calls", "trained")


def summarise(run_dir: str | Path, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Everything the report and the terminal show, computed once from a run folder.

    Numbers are finite floats, ``"inf"`` (never) or ``None`` (undefined, not measured); an estimate
    is ``{value, low, high}`` with a 95 % interval over seeds (bootstrap standard error, Student's quantile). Keys:

    - ``run``: suite, seeds, command, versions, prices, settings, cells (planned), missing, resamples
    - ``tasks``: the manifest's definitions, each with its ``series`` (tasks that differ in horizon)
    - ``goal``: the share of the attainable return that counts as learnt, as text
    - ``methods``: id, title, name (short), oracle, paid, and ``role``: reference, free, paid, exact or other
    - ``batches``, ``reference_batch``: batch sizes of the gradient rows, and the one tables show
    - ``gradient``: per task, method and batch; see :func:`report.gradient.gradient_rows`
    - ``learning``: per task and method at its best setting; see :func:`report.learning.learning_rows`
    - ``curves``: return against what was spent, per task and method; see :func:`report.curves.curve_rows`
    - ``identification``, ``cost``: per task and method, means over seeds
    - ``agreement``: Spearman correlation of learning speed and net multiplier, per task and mean
    - ``tiers``: rank correlation between neural tasks and their tabular twins; see :func:`report.tiers.tier_rows`
    - ``breakeven``: net multipliers along a knob of the evidence; see :func:`report.breakeven.breakeven_rows`
    - ``aggregate``: per family, score and method; see :func:`report.aggregate.aggregate_rows`
    - ``ranking``: methods without oracles, best first: by learning, then those measured by gradient only
    - ``headline``: the series and task the leaderboard and the sentence speak of
    - ``sentence``: the measured sentence
    - one key for each of :data:`report.sections.SECTIONS`
    """
    run = read_run(run_dir)
    index = resample_index(len(run.seeds), resamples, seed)
    weights = resample_weights(index)
    batches = run.batches()
    reference = reference_batch(run)
    found: dict[str, Any] = {
        "run": {k: run.manifest.get(k) for k in ("suite", "command", "versions", "prices", "settings", "cells")}
        | {"seeds": list(run.seeds), "resamples": resamples, "missing": len(run.manifest.get("missing") or [])},
        "goal": _goal(run),
        "tasks": _tasks(run),
        "batches": list(batches),
        "reference_batch": reference,
        "gradient": gradient_rows(run, index),
        "learning": learning_rows(run, index),
        "curves": curve_rows(run),
        "identification": [
            {"task": t, "method": m} | {name: mean_estimate(cell, name, weights) for name in (*IDENTIFICATION, *_more(cell))}
            for t, m, cell in _plain(run, "identification")
        ],
        "cost": [
            {"task": t, "method": m} | {name: store(seed_mean(cell, name)) for name in (*COST, "price")}
            for t, m, cell in _plain(run, "cost")
        ],
    }
    found["ranking"] = _ranking(run, found)
    found["headline"] = _headline(found)
    found["methods"] = _methods(run, found)
    found["agreement"] = _agreement(run, found)
    found["tiers"] = tier_rows(run, found)
    found["breakeven"] = breakeven_rows(found["gradient"], reference)
    found["aggregate"] = aggregate_rows(run, reference, count=resamples, seed=seed)
    found["sentence"] = sentence(found)
    return found | section_rows(run, found)


def _more(cell: Mapping[str, Any]) -> list[str]:
    """Figures that only some tasks have: correlation with other estimands, and how often a method is silent."""
    return sorted(name for name in cell if name.startswith("correlation:") or name == "silent")


def _plain(run: Run, measure: str) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    cells = run.values.get(measure, {})
    for task in run.tasks:
        for method in run.methods():
            if (method, task, 0, 0.0) in cells:
                yield task, method, cells[method, task, 0, 0.0]


def _goal(run: Run) -> str:
    settings = run.manifest.get("settings") or {}
    return f"{100 * float((settings.get('learning') or {}).get('target', 0.8)):g} %"


def _tasks(run: Run) -> list[Row]:
    """Tasks with their series: same family and tags where that leaves several horizons, else same family."""
    tasks = [dict(d) for d in run.tasks.values()]

    def full(task: Row) -> str:
        return " · ".join([str(task.get("family", "")), *sorted(map(str, task.get("tags") or []))])

    def horizons(name: str) -> int:
        return len({t.get("horizon") for t in tasks if full(t) == name})

    for task in tasks:
        family = [t for t in tasks if t.get("family") == task.get("family")]
        several = any(horizons(full(t)) > 1 for t in family)
        task["series"] = full(task) if several else str(task.get("family", ""))
    return sorted(tasks, key=lambda t: (t["series"], t.get("horizon") or 0, t["id"]))


def _ranking(run: Run, found: Mapping[str, Any]) -> list[Row]:
    """Mean rank over tasks: by learning where it was measured, then by net multiplier."""
    fair = [m for m in run.methods() if not run.is_oracle(m)]
    learned = _mean_ranks([r for r in found["learning"] if r["method"] in fair], order_key)
    measured = [r for r in found["gradient"] if r["method"] in fair and r["batch"] == found["reference_batch"]]
    pushed = _mean_ranks(measured, lambda r: (-_worth(r),))
    order = sorted(learned, key=lambda m: (learned[m][0], m))
    order += sorted((m for m in pushed if m not in learned), key=lambda m: (pushed[m][0], m))
    rows = []
    for place, method in enumerate(order, 1):
        by, (mean, tasks) = ("learning", learned[method]) if method in learned else ("gradient", pushed[method])
        rows.append({"rank": place, "method": method, "by": by, "mean_rank": store(mean), "tasks": tasks})
    return rows


def _worth(row: Mapping[str, Any]) -> float:
    """Net multiplier for ordering: undetermined counts as nothing, the wrong way as worse than nothing."""
    if row["verdict"] == "pushes the wrong way":
        return -1.0
    net = value_of(row, "net")
    return 0.0 if isnan(net) else net


def _mean_ranks(rows: list[Row], key: Any) -> dict[str, tuple[float, int]]:
    places: dict[str, list[float]] = {}
    for task in dict.fromkeys(r["task"] for r in rows):
        here = [r for r in rows if r["task"] == task]
        distinct = sorted({key(r) for r in here})
        for row, rank in zip(here, ranks(np.array([distinct.index(key(r)) for r in here], dtype=np.float64)), strict=True):
            places.setdefault(row["method"], []).append(float(rank))
    return {m: (float(np.mean(p)), len(p)) for m, p in places.items()}


def _headline(found: Mapping[str, Any]) -> Row:
    """The series with most horizons at which learning was measured (else the gradient), and its longest task."""
    for measure in ("learning", "gradient"):
        used = {r["task"] for r in found[measure]}
        tasks = [t for t in found["tasks"] if t["id"] in used]
        if tasks:
            spread = {s: {t.get("horizon") for t in tasks if t["series"] == s} for s in (t["series"] for t in tasks)}
            series = max(spread, key=lambda s: (len(spread[s]), max(h or 0 for h in spread[s])))
            longest = max((t for t in tasks if t["series"] == series), key=lambda t: t.get("horizon") or 0)
            return {"series": series, "task": longest["id"], "horizon": longest.get("horizon"), "measure": measure}
    first = found["tasks"][0]
    return {"series": first["series"], "task": first["id"], "horizon": first.get("horizon"), "measure": None}


def _methods(run: Run, found: Mapping[str, Any]) -> list[Row]:
    """Methods in leaderboard order, oracles last, with the role each plays in the headline figure."""
    order = [r["method"] for r in found["ranking"]]
    order += [m for m in run.methods() if m not in order and not run.is_oracle(m)]
    oracles = sorted((m for m in run.methods() if run.is_oracle(m)), key=lambda m: m != "exact")
    learned = {r["method"] for r in found["learning"]} or set(order)
    rivals = [m for m in order if m != REFERENCE and m in learned]
    free = next((m for m in rivals if not run.is_paid(m)), None)
    paid = next((m for m in rivals if run.is_paid(m)), None)
    shown = [m for m in oracles if m in learned] or oracles
    exact = next(iter(shown), None)
    names = run.names()
    roles = {REFERENCE: "reference", free: "free", paid: "paid", exact: "exact"}
    return [
        {
            "id": m,
            "title": run.title(m),
            "name": names[m],
            "oracle": run.is_oracle(m),
            "paid": run.is_paid(m),
            "role": roles.get(m, "other"),
        }
        for m in (*order, *oracles)
    ]


#: Methods below which a rank correlation between learning and gradient says nothing.
FEWEST = 5


def _agreement(run: Run, found: Mapping[str, Any]) -> Row:
    """Spearman correlation of learning speed (1 / cost) and net multiplier over methods, task by task.

    +1: the fast proxy orders methods as learning does. Oracles and undetermined gradients are left
    out; never reached ties last. Not given below ``FEWEST`` methods.
    """
    net = {
        (r["task"], r["method"]): r
        for r in found["gradient"]
        if r["batch"] == found["reference_batch"] and r["verdict"] != "undetermined"
    }
    per = []
    for task in dict.fromkeys(r["task"] for r in found["learning"]):
        pairs = [
            (load(r["cost"]["value"]), _worth(net[task, r["method"]]))
            for r in found["learning"]
            if r["task"] == task and (task, r["method"]) in net and not run.is_oracle(r["method"])
        ]
        pairs = [p for p in pairs if not isnan(p[0])]
        speed = np.array([0.0 if p[0] == inf else 1.0 / p[0] for p in pairs])
        value = spearman(speed, np.array([p[1] for p in pairs])) if len(pairs) >= FEWEST else nan
        per.append({"task": task, "spearman": store(value), "methods": len(pairs)})
    known = [p["spearman"] for p in per if p["spearman"] is not None and isfinite(p["spearman"])]
    return {"per_task": per, "fewest": FEWEST, "mean": store(float(np.mean(known))) if known else None}
