"""A family of tasks in one statement per method, with its interval (Agarwal et al. 2021, arXiv 2108.13264).

Two scores of a run of a method on a task, both 0 for "nothing" and 1 for a landmark:

- alignment: rho = <g, g*> / sqrt(|g|^2 |g*|^2) at the reference batch; 1 is the exact gradient, below 0 points downhill,
  0 an update that is nothing at all
- speed: RLOO's expected cost of the task over what the run spent to get to the goal, at the method's best setting; 1 is
  as cheap as RLOO, 0 a run that never got there, and ``CAP`` whatever was cheaper still. Where RLOO itself never got
  there its spending stands in for its cost, which makes every score a lower bound.

Tables are (seeds, tasks); a task on which a seed of the method is missing is left out. Intervals are over seeds within
each task, so they speak of these tasks and no others; the choice of the best setting is not in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from typing import Any

import numpy as np

from ..bench.aggregate import estimate, improvement, optimality_gap, overall_iqm, performance_profile
from ..bench.statistics import Float
from .gradient import REFERENCE, is_flat
from .learning import Cell, chosen_settings, expected_cost, seed_costs
from .numbers import store
from .read import Run

CAP = 10.0
#: What bounds each score, and how far it can fall short of 1.
BOUNDS: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "alignment": ((-1.0, 1.0), (0.0, 2.0)),
    "speed": ((0.0, CAP), (0.0, 1.0)),
}
#: Where performance profiles are read off: shares of the landmark.
PROFILE: Mapping[str, tuple[float, ...]] = {
    "alignment": tuple(i / 20 for i in range(20)),
    "speed": (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0, 9.9),
}


def aggregate_rows(run: Run, batch: int | None, *, count: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
    """One row per (family, score, method), best first within a family and score, oracles last. Keys:

    - ``family``, ``method``, ``oracle``; ``score``: "alignment" (at ``batch``) or "speed"
    - ``iqm``: interquartile mean over all runs of all tasks, ``{value, low, high}``
    - ``poi``: probability that a run beats one of RLOO on the same task (ties count half), ``{value, low, high}``
    - ``gap``: optimality gap, how far runs fall short of 1 on average, ``{value, low, high}``
    - ``profile``: ``[[tau, share of runs with a score above tau], ...]``, falling
    - ``tasks``: ids of the tasks it was measured on; ``of``: how many of the family were measured with anybody;
      ``runs``: seeds. Methods with other ``tasks`` are not measured on the same thing.
    - ``bound``: whether a task is among them whose RLOO never got there (scores are lower bounds)
    """
    rows: list[dict[str, Any]] = []
    families = dict.fromkeys(str(task.get("family", "")) for task in run.tasks.values())
    for score, (table, bounded) in {"alignment": (alignment_scores(run, batch), set()), "speed": _speed(run)}.items():
        for family in families:
            ids = [t for t, task in run.tasks.items() if str(task.get("family", "")) == family]
            measured = [t for t in ids if any((m, t) in table for m in run.methods())]
            here = [
                {"family": family, "score": score, "method": m, "oracle": run.is_oracle(m)}
                | _row(table, m, measured, score, bounded, count, seed)
                for m in run.methods()
                if any((m, t) in table for t in measured)
            ]
            rows += sorted(here, key=lambda r: (r["oracle"], -r["iqm"]["value"]))
    return rows


def _row(
    table: Mapping[tuple[str, str], Float], method: str, measured: list[str], score: str, bounded: set[str], count: int, seed: int
) -> dict[str, Any]:
    tasks = [t for t in measured if (method, t) in table]
    own = np.stack([table[method, t] for t in tasks], axis=1)
    shared = [t for t in tasks if (REFERENCE, t) in table]
    poi = _stored((float("nan"),) * 3)
    if shared:
        x, y = (np.stack([table[m, t] for t in shared], axis=1) for m in (method, REFERENCE))
        poi = _stored(improvement(x, y))
    at, (whole, short) = PROFILE[score], BOUNDS[score]
    return {
        "iqm": _stored(estimate(own, overall_iqm, count=count, seed=seed, within=whole)),
        "poi": poi,
        "gap": _stored(estimate(own, optimality_gap, count=count, seed=seed, within=short)),
        "profile": [[tau, store(share)] for tau, share in zip(at, performance_profile(own, np.array(at)), strict=True)],
        "tasks": tasks,
        "of": len(measured),
        "runs": int(own.shape[0]),
        "bound": bool(bounded & set(tasks)),
    }


def _stored(found: tuple[float, float, float]) -> dict[str, Any]:
    return dict(zip(("value", "low", "high"), map(store, found), strict=True))


def alignment_scores(run: Run, batch: int | None) -> dict[tuple[str, str], Float]:
    """rho of every seed at this batch, by (method, task); an update of length 0 scores 0."""
    found: dict[tuple[str, str], Float] = {}
    for (method, task, size, _), cell in run.values.get("gradient", {}).items():
        if size != batch or not {"inner", "norm2", "truth2"} <= set(cell) or is_flat(cell):
            continue
        length = np.sqrt(np.maximum(cell["norm2"] * cell["truth2"], 0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            rho = np.where(length > 0, np.clip(cell["inner"] / length, -1.0, 1.0), np.where(np.isnan(length), np.nan, 0.0))
        if not np.isnan(rho).any():
            found[method, task] = rho
    return found


def _speed(run: Run) -> tuple[dict[tuple[str, str], Float], set[str]]:
    """RLOO's cost over that of every seed, by (method, task), at each method's best setting; tasks with bounds only."""
    best = chosen_settings(run)
    found: dict[tuple[str, str], Float] = {}
    bounded: set[str] = set()
    for task in run.tasks:
        if (task, REFERENCE) not in best:
            continue
        base = best[task, REFERENCE][1]
        price = float(expected_cost(base))
        if not isfinite(price):
            price = float(np.nanmedian(base["cost"]))
            bounded.add(task)
        for (one, method), (_, cell) in best.items():
            scores = _capped(cell, price)
            if one == task and not np.isnan(scores).any():
                found[method, task] = scores
    return found, bounded


def _capped(cell: Cell, price: float) -> Float:
    costs = seed_costs(cell)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(costs == inf, 0.0, np.minimum(price / costs, CAP))
