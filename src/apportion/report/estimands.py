"""Each method against the estimand it claims, beside the advantage: "the credit of a choice" means several things."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any

import numpy as np

from ..bench.estimands import OTHERS
from ..bench.statistics import resample_index
from ..errors import ApportionError
from .numbers import Estimate, digits, load, store
from .pool import mean_estimate, resample_weights, seed_mean
from .read import Float, Run

#: Estimands that correlate with the advantage less than this (by exact credit) part from it on a task.
PARTS = 0.95

Row = dict[str, Any]
Cell = Mapping[str, Float]


def estimands_rows(run: Run, found: Mapping[str, Any]) -> dict[str, Any]:
    """``tasks``: how far estimands part there; ``methods``: one row a method and task. Empty without identification rows.

    tasks: per task ``with``, the correlation of each other estimand with the advantage over pairs of choices that differ
    in it (that of exact credit, which is the advantage; null where exact credit was not run), and ``part``: whether one of
    them is below ``PARTS``. Those that part most come first; tasks without a second estimand are left out.
    methods: claims (the estimand of the method's card; "none" where it claims none of these, null without a card), ``own``
    and ``advantage`` (correlation of the credit with each, estimates over seeds), ``gap`` (own less advantage, paired by
    seed), ``best`` (the estimand it resembles most) and ``surely`` (whether it does so in 95 % of resamples of seeds).
    """
    weights = resample_weights(resample_index(len(run.seeds), int(found["run"]["resamples"]), 0))
    cells = {(m, t): cell for (m, t, _, _), cell in run.values.get("identification", {}).items()}
    tasks = [_task(t, cells) for t in run.tasks]
    tasks = sorted((t for t in tasks if t["with"]), key=lambda t: (not t["part"], _least(t), t["task"]))
    claims = {m: claimed(run, m) for m in run.methods()}
    rows = [
        {"task": t["task"], "method": m, "claims": claims[m], **_scores(cells[m, t["task"]], claims[m], weights)}
        for t in tasks
        for m in run.methods()
        if (m, t["task"]) in cells
    ]
    return {"tasks": tasks, "methods": rows} if rows else {}


def estimands_text(summary: Mapping[str, Any]) -> list[str]:
    """Where estimands part, and whether methods resemble what they claim."""
    found = summary["estimands"]
    oracle = {m["id"] for m in summary["methods"] if m["oracle"]}
    names = {m["id"]: m["name"] for m in summary["methods"]}
    said = []
    apart = [t for t in found["tasks"] if t["part"]]
    if apart:
        each = "; ".join(f"{t['task']} ({_words(_farthest(t))} {digits(load(t['with'][_farthest(t)]))})" for t in apart[:4])
        more = f" and {len(apart) - 4} more" if len(apart) > 4 else ""
        said.append(f"Estimands part on {each}{more}: the figure is the correlation with the advantage.")
    parting = {t["task"] for t in apart}
    rows = [r for r in found["methods"] if r["task"] in parting and r["method"] not in oracle and r["gap"]["value"] is not None]
    if rows:
        closer, farther = ([r for r in rows if _sure(r["gap"]) == way] for way in (1, -1))
        said.append(
            f"Of {len(rows)} pairs of a method and such a task in which the method claims another estimand than the advantage, "
            f"its credit surely resembles its own more in {len(closer)}{_example(closer, names)} and the advantage more in "
            f"{len(farther)}{_example(farther, names)}; in {len(rows) - len(closer) - len(farther)} nothing is sure."
        )
    return said


def claimed(run: Run, method: str) -> str | None:
    """The estimand of the method's card: of exact credit the advantage itself, of a method without a card None."""
    from ..survey.card import estimand_of

    id_ = str(run.entrants[method].get("method") or method)
    if id_ == "exact":
        return "advantage"
    try:
        return str(estimand_of(id_))
    except (ApportionError, LookupError):
        return None


def _task(task: str, cells: Mapping[tuple[str, str], Cell]) -> Row:
    there = {name for (_, t), cell in cells.items() if t == task for name in OTHERS if _known(cell, name)}
    exact = cells.get(("exact", task))
    agreement = {name: store(seed_mean(exact, _metric(name))) for name in OTHERS if name in there}
    return {"task": task, "with": agreement, "part": any(v is not None and load(v) < PARTS for v in agreement.values())}


def _scores(cell: Cell, claims: str | None, weights: Float) -> dict[str, Any]:
    advantage = mean_estimate(cell, "correlation", weights)
    known = [name for name in ("advantage", *OTHERS) if _known(cell, name)]
    nothing: Estimate = {"value": None, "low": None, "high": None}
    own, gap = dict(nothing), dict(nothing)
    if claims in known:
        own = mean_estimate({"correlation": cell[_metric(claims)]}, "correlation", weights)
    if claims in known and claims != "advantage":
        gap = mean_estimate({"gap": cell[_metric(claims)] - cell["correlation"]}, "gap", weights)
    best = max(known, key=lambda name: seed_mean(cell, _metric(name)), default=None)
    rivals = [mean_estimate({"d": cell[_metric(best)] - cell[_metric(n)]}, "d", weights) for n in known if best and n != best]
    return {
        "own": own, "advantage": advantage, "gap": gap, "best": best,
        "surely": bool(rivals) and all(_sure(d) == 1 for d in rivals),
    }  # fmt: skip


def _known(cell: Cell, name: str) -> bool:
    return _metric(name) in cell and not bool(np.isnan(cell[_metric(name)]).all())


def _metric(name: str) -> str:
    return "correlation" if name == "advantage" else f"correlation:{name}"


def _sure(gap: Mapping[str, Any]) -> int:
    """1: surely above 0, -1: surely below, 0: neither."""
    low, high = load(gap["low"]), load(gap["high"])
    return 1 if low > 0 else -1 if high < 0 else 0


def _farthest(task: Mapping[str, Any]) -> str:
    known = {name: load(v) for name, v in task["with"].items() if v is not None}
    return str(min(known, key=lambda name: known[name]))


def _least(task: Mapping[str, Any]) -> float:
    values = [load(v) for v in task["with"].values() if v is not None]
    return min((v for v in values if not isnan(v)), default=2.0)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _example(rows: list[Row], names: Mapping[str, str]) -> str:
    """The clearest of them."""
    if not rows:
        return ""
    row = max(rows, key=lambda r: abs(load(r["gap"]["value"])))
    return f" ({names[row['method']]} on {row['task']}: {_words(row['claims'])} {digits(load(row['own']['value']))}, " + (
        f"advantage {digits(load(row['advantage']['value']))})"
    )
