"""Learning curves of a run: return against what was spent, with bands over seeds, and who ends where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, isnan, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bench.curve import read_curve
from ..bench.statistics import Float, student_quantile
from .gradient import REFERENCE
from .learning import chosen_settings
from .numbers import Estimate, load, short, store, value_of
from .read import Run

if TYPE_CHECKING:
    from rich.table import Table

Row = dict[str, Any]


def curve_rows(run: Run) -> list[Row]:
    """One row for each (task, method) that has a curve, at its best (batch, lr), in the order of the run.

    shares: of ``budget``, the price units that every method had. value, low, high: the mean return over seeds at each
    share with its pointwise 95 % band; seeds: the curve of every seed. start, goal, attainable: returns of the task.
    final: return once the budget is spent; ahead: the same less RLOO's, paired by seed; whole: mean return on the way.
    """
    made: list[Row] = []
    chosen = chosen_settings(run)
    for task in run.tasks:
        base = _seeds(chosen, task, REFERENCE)
        for method in run.methods():
            seeds = _seeds(chosen, task, method)
            if seeds is None:
                continue
            (batch, lr), cell = chosen[task, method]
            bands = [mean_band(at, within=(0.0, 1.0)) for at in seeds.T]
            made.append(
                {
                    "task": task, "method": method, "batch": batch, "lr": lr, "shares": [s for s, _ in read_curve(cell)],
                    "budget": store(_one(cell["budget"])), "start": store(_one(cell["start"])),
                    "attainable": store(_one(cell["attainable"])), "goal": store(_target(run) * _one(cell["attainable"])),
                    "value": [b["value"] for b in bands], "low": [b["low"] for b in bands], "high": [b["high"] for b in bands],
                    "seeds": [[store(v) for v in line] for line in seeds],
                    "final": bands[-1], "whole": mean_band(seeds.mean(axis=1), within=(0.0, 1.0)),
                    "ahead": _ahead(seeds, base) if method != REFERENCE else None,
                }
            )  # fmt: skip
    return made


def mean_band(values: Float, within: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
    """The mean of the known ``values`` (one a seed) with its interval: mean +- t(n - 1) SD / sqrt(n), SD with n - 1.

    Student's 95 %; none of one seed. within: what bounds the mean by its definition.
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return {"value": None, "low": None, "high": None}
    middle = float(known.mean())
    if known.size < 2:
        return {"value": store(middle), "low": None, "high": None}
    half = student_quantile(known.size - 1.0) * float(known.std(ddof=1)) / sqrt(known.size)
    return {"value": store(middle), "low": store(max(middle - half, within[0])), "high": store(min(middle + half, within[1]))}


def curves_text(summary: Mapping[str, Any]) -> list[str]:
    """A sentence for each task: who surely ends above RLOO, who below, and who is not told apart."""
    names = {m["id"]: m["name"] for m in summary["methods"]}
    said = []
    for task in dict.fromkeys(r["task"] for r in summary.get("curves", ())):
        rows = _best_first(summary, task)
        others = [r for r in rows if r["ahead"] is not None]
        above = [r for r in others if load(r["ahead"]["low"]) > 0]
        below = [r for r in others if load(r["ahead"]["high"]) < 0]
        rest = [r for r in others if r not in above and r not in below]
        parts = [
            f"{_names(found, names)} {words}"
            for found, words in ((above, "above RLOO"), (below, "below it" if above else "below RLOO"))
            if found
        ]
        if rest:
            parts.append(f"{_names(rest, names)} not told apart from {'it' if parts else 'RLOO'}")
        count = len(rows[0]["seeds"])
        budget = short(load(rows[0]["budget"]))
        ends = "; ".join(parts) or "nobody to compare with RLOO"
        said.append(f"Learning curves on {task}, {count} seeds, {budget} price units each: at the end {ends}.")
    return said


def curve_table(summary: Mapping[str, Any], task: str) -> Table:
    """Methods on ``task`` by the return they end with: cost to the goal, final return, less RLOO's, with intervals."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    rows = _best_first(summary, task)
    learned = {r["method"]: r for r in summary["learning"] if r["task"] == task}
    methods = {m["id"]: m for m in summary["methods"]}
    first = rows[0]
    table = Table(
        title=f"Learning curves · {escape(task)} · {short(load(first['budget']))} price units each",
        caption=f"return {load(first['start']):.3f} at the start, {load(first['attainable']):.3f} attainable by exact ascent; "
        f"cost: to {summary['goal']} of that; 95 % intervals over {len(first['seeds'])} seeds; rate: their best of the grid",
        box=box.SIMPLE_HEAD, title_style="bold", caption_justify="left", pad_edge=False,
    )  # fmt: skip
    table.add_column("method", no_wrap=True, overflow="ellipsis", max_width=18)
    for name in ("rate", "cost", "reached", "final return", "less RLOO's"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        at = learned.get(row["method"])
        m = methods[row["method"]]
        reached = "–" if at is None or at["reached"] is None else f"{load(at['reached']):.0%}"
        table.add_row(
            escape(m["name"]) + ("\noracle" if m["oracle"] else ""), f"{row['lr']:g}", _interval(at and at["cost"], short),
            reached, _interval(row["final"]), _interval(row["ahead"]), style="dim" if m["oracle"] else None,
        )  # fmt: skip
    return table


def _best_first(summary: Mapping[str, Any], task: str) -> list[Row]:
    return sorted((r for r in summary["curves"] if r["task"] == task), key=lambda r: -value_of(r, "final"))


def _interval(found: Mapping[str, Any] | None, said: Callable[[float], str] = "{:.3f}".format) -> str:
    """A value, and its interval on a line below."""
    if found is None or found["value"] is None:
        return "–"
    value, low, high = (load(found[end]) for end in ("value", "low", "high"))
    return said(value) + (f"\n{said(low)} to {said(high)}" if isfinite(value) and not isnan(low) else "")


def _seeds(chosen: Mapping[tuple[str, str], Any], task: str, method: str) -> Float | None:
    """The curve of each seed, (seeds, points); None where there is none."""
    if (task, method) not in chosen:
        return None
    _, cell = chosen[task, method]
    names = [name for _, name in read_curve(cell)]
    return np.stack([cell[name] for name in names], axis=1) if names else None


def _ahead(seeds: Float, base: Float | None) -> Estimate | None:
    return None if base is None else mean_band(seeds[:, -1] - base[:, -1], within=(-1.0, 1.0))


def _one(values: Float) -> float:
    """A number that is the same for all seeds, some of which may be missing."""
    return float(np.nanmax(values))


def _target(run: Run) -> float:
    return float(((run.manifest.get("settings") or {}).get("learning") or {}).get("target", 0.8))


def _names(rows: Sequence[Row], names: Mapping[str, str]) -> str:
    listed = [names[r["method"]] for r in rows]
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
