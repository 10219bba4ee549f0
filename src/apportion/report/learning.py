"""Learning from a run's rows: total cost to 80 % of the attainable return, at each method's best setting.

Every method has the same grid of learning rates and batch sizes. Its setting on a task is the one
with the lowest expected cost over *all* seeds; intervals are then over seeds at that setting, so they
do not carry the uncertainty of the choice. The expected cost is that of trying again until a run
succeeds: all that was spent, failures included, over the number of runs that reached the target
(the expected running time of black-box optimisation; Hansen et al. 2009).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, isnan, nan
from typing import Any

import numpy as np

from ..bench.statistics import Float, Int, iqm, resample_index
from .collapse import collapse_row
from .gradient import REFERENCE
from .numbers import NOTHING, estimate, load, store
from .read import Run

Cell = Mapping[str, Float]


def learning_rows(run: Run, index: Int) -> list[dict[str, Any]]:
    """One row per (task, method) at its best (batch, lr); ``collapse`` is over all its settings (see :func:`collapse_row`)."""
    cells = _grids(run)
    rows = []
    for task in run.tasks:
        chosen = {m: _best(cells[task, m]) for m in run.methods() if (task, m) in cells}
        base = cells[task, REFERENCE][chosen[REFERENCE]] if REFERENCE in chosen else None
        for method, setting in chosen.items():
            row: dict[str, Any] = {"task": task, "method": method, "batch": setting[0], "lr": setting[1]}
            row |= {"settings": len(cells[task, method]), "collapse": collapse_row(cells[task, method].values())}
            row |= _row(cells[task, method][setting], base, method, index)
            rows.append(row)
        _add_bounds(rows, task)
    return rows


def _grids(run: Run) -> dict[tuple[str, str], dict[tuple[int, float], Cell]]:
    """What was measured of each (task, method), by (batch, lr); where the goal stood before any update nothing was learnt."""
    cells: dict[tuple[str, str], dict[tuple[int, float], Cell]] = {}
    for (method, task, batch, lr), cell in run.values.get("learning", {}).items():
        if "reached" in cell and not np.isnan(cell["reached"]).all() and np.nanmax(cell["cost"]) > 0:
            cells.setdefault((task, method), {})[batch, lr] = cell
    return cells


def chosen_settings(run: Run) -> dict[tuple[str, str], tuple[tuple[int, float], Cell]]:
    """The best (batch, lr) of each (task, method), and what was measured there."""
    return {key: (best, grid[best]) for key, grid in _grids(run).items() for best in (_best(grid),)}


def seed_costs(cell: Cell) -> Float:
    """Cost to 80 % of each seed: infinite where not reached, NaN where not run."""
    return np.where(np.isnan(cell["reached"]), nan, np.where(cell["reached"] > 0.5, cell["cost"], inf))


def _best(settings: Mapping[tuple[int, float], Cell]) -> tuple[int, float]:
    """Lowest expected cost; where none ever reached, the one that returned most."""

    def key(setting: tuple[int, float]) -> tuple[float, float, float, int, float]:
        cell = settings[setting]
        cost = float(expected_cost(cell))
        return (inf if isnan(cost) else cost, -_mean(cell, "reached"), -_mean(cell, "final"), *setting)

    return min(settings, key=key)


def _mean(cell: Cell, name: str) -> float:
    column = cell.get(name)
    return -inf if column is None or np.isnan(column).all() else float(np.nanmean(column))


def expected_cost(cell: Cell, index: Int | slice = slice(None)) -> Float:
    """Total spent over number of successes, along the last axis of ``index``; inf without any."""
    ran = ~np.isnan(cell["reached"])
    spent = np.where(ran, cell["cost"], 0.0)[index].sum(axis=-1)
    wins = (np.where(ran, cell["reached"], 0.0) > 0.5)[index].sum(axis=-1)
    expected: Float = np.where(wins > 0, spent / np.maximum(wins, 1), np.where(ran[index].any(axis=-1), inf, nan))
    return expected


def _row(cell: Cell, base: Cell | None, method: str, index: Int) -> dict[str, Any]:
    costs = seed_costs(cell)
    known = ~np.isnan(costs)
    reached = costs[known] < inf
    middle, samples = float(expected_cost(cell)), expected_cost(cell, index)
    spent = cell["cost"][known & (costs == inf)]
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = (cell["final"] - cell["start"]) / (cell["attainable"] - cell["start"])
    own = resample_index(int(known.sum()), len(index))
    row: dict[str, Any] = {
        "cost": estimate(middle, samples, int(known.sum()), log=True),
        "reached": store(float(reached.mean())) if reached.size else None,
        "seeds": int(known.sum()),
        "spent": store(float(np.median(spent))) if spent.size else None,
        "updates": store(float(np.nanmedian(cell["updates"]))) if known.any() else None,
        "gain": estimate(float(iqm(gain[known])), iqm(gain[known][own]), int(known.sum())),
        "speedup": dict(NOTHING),
    }
    if method == REFERENCE:
        row["speedup"] = {"value": 1.0, "low": 1.0, "high": 1.0}
    elif base is not None:
        with np.errstate(invalid="ignore"):  # never against never says nothing: NaN
            row["speedup"] = estimate(
                float(expected_cost(base)) / middle, expected_cost(base, index) / samples, _both(cell, base), log=True
            )
    return row


def _both(cell: Cell, base: Cell) -> int:
    """Seeds that both were trained on."""
    return int((~np.isnan(cell["reached"]) & ~np.isnan(base["reached"])).sum())


def _add_bounds(rows: list[dict[str, Any]], task: str) -> None:
    """What the speed-up is bounded by where one side never reached, from what that side had spent by then.

    ``at_least``: RLOO never did, so the speed-up is at least its spending over the method's cost.
    ``at_most``: the method never did, so it is at most RLOO's cost over the method's spending.
    """
    here = [r for r in rows if r["task"] == task]
    base = next((r for r in here if r["method"] == REFERENCE), None)
    for row in here:
        row |= {"at_least": None, "at_most": None}
        if base is None or row is base:
            continue
        own, other = load(row["cost"]["value"]), load(base["cost"]["value"])
        if other == inf and isfinite(own) and base["spent"] is not None:
            row["at_least"] = store(load(base["spent"]) / own)
        if own == inf and isfinite(other) and row["spent"] is not None:
            row["at_most"] = store(other / load(row["spent"]))


def order_key(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Better first: lower cost, then reached more often, then gained more."""
    cost, reached, gain = load(row["cost"]["value"]), load(row["reached"]), load(row["gain"]["value"])
    return (
        inf if isnan(cost) else cost,
        -(0.0 if isnan(reached) else reached),
        -(-inf if isnan(gain) else gain),
    )
