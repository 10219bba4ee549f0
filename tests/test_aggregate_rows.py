"""Families in one statement per method: the scores, the landmarks, and what is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.bench.statistics import Float
from apportion.report.aggregate import CAP, aggregate_rows
from apportion.report.read import Run, read_run

from .fake_run import write_run

Cells = dict[tuple[str, str, int, float], Mapping[str, Float]]


def made(gradient: Cells | None = None, learning: Cells | None = None, families: Mapping[str, str] | None = None) -> Run:
    both = {**(gradient or {}), **(learning or {})}
    tasks = {t: {"id": t, "family": (families or {}).get(t, "f")} for _, t, _, _ in both}
    methods = {m: {"id": m, "oracle": m == "exact"} for m, _, _, _ in both}
    n = len(next(iter(next(iter(both.values())).values())))
    return Run({}, tasks, methods, tuple(range(n)), {"gradient": gradient or {}, "learning": learning or {}}, None)


def update(*rho: float) -> dict[str, Float]:
    return {"inner": np.array(rho), "norm2": np.ones(len(rho)), "truth2": np.ones(len(rho))}


def trained(*costs: float, spent: float = 100.0) -> dict[str, Float]:
    """Costs to the goal; infinite where it was not reached, with what had been spent by then."""
    reached = np.isfinite(costs)
    return {
        "reached": reached.astype(float), "cost": np.where(reached, costs, spent), "final": np.ones(len(costs)),
        "start": np.zeros(len(costs)), "attainable": np.ones(len(costs)), "updates": np.ones(len(costs)),
    }  # fmt: skip


def row(rows: list[dict[str, Any]], method: str, family: str = "f") -> dict[str, Any]:
    [found] = [r for r in rows if (r["method"], r["family"]) == (method, family)]
    return found


def test_alignment_is_scored_against_the_exact_gradient() -> None:
    cells: Cells = {("rloo", "a", 512, 0.0): update(0.1, 0.2, 0.3, 0.4), ("m", "a", 512, 0.0): update(0.5, 0.6, 0.7, 0.8)}
    cells |= {("rloo", "b", 512, 0.0): update(0.2, 0.2, 0.2, 0.2), ("m", "a", 64, 0.0): update(-1, -1, -1, -1)}
    rows = aggregate_rows(made(cells), 512)
    m, base = row(rows, "m"), row(rows, "rloo")
    assert [r["method"] for r in rows] == ["m", "rloo"], "best first"
    assert m["iqm"]["value"] == pytest.approx(0.65)
    assert m["gap"]["value"] == pytest.approx(0.35)
    assert (m["tasks"], m["of"], m["runs"]) == (["a"], 2, 4)
    assert base["tasks"] == ["a", "b"]
    assert m["poi"]["value"] == 1.0, "every run of m beats every run of RLOO on the task both have"
    assert m["poi"]["low"] < 0.7
    assert base["poi"]["value"] == 0.5
    assert dict(map(tuple, m["profile"]))[0.6] == 0.5
    assert m["iqm"]["low"] < 0.65 < m["iqm"]["high"]


def test_an_update_that_is_nothing_scores_nothing_and_a_missing_seed_leaves_the_task_out() -> None:
    silent = {"inner": np.zeros(2), "norm2": np.array([0.0, 1.0]), "truth2": np.ones(2)}
    gone = update(0.5, math.nan)
    cells: Cells = {("m", "a", 64, 0.0): silent, ("k", "a", 64, 0.0): gone, ("k", "b", 64, 0.0): update(0.1, 0.1)}
    rows = aggregate_rows(made(cells), 64)
    assert row(rows, "m")["iqm"]["value"] == 0.0
    assert row(rows, "k")["tasks"] == ["b"]
    assert row(rows, "k")["poi"]["value"] is None, "without RLOO there is nobody to improve on"


def test_speed_is_scored_against_what_rloo_costs() -> None:
    inf = math.inf
    cells: Cells = {
        ("rloo", "a", 64, 0.1): trained(10, 30),
        ("m", "a", 64, 0.1): trained(5, inf),
        ("m", "a", 64, 0.2): trained(inf, inf),
    }
    cells |= {("quick", "a", 64, 0.1): trained(0.1, 0.1), ("exact", "a", 64, 0.1): trained(0.01, 0.01)}
    rows = aggregate_rows(made(learning=cells), None)
    assert [r["method"] for r in rows] == ["quick", "m", "rloo", "exact"], "oracles last, however good"
    assert row(rows, "m")["iqm"]["value"] == pytest.approx((20 / 5 + 0) / 2), "at its best setting; never is nothing"
    assert row(rows, "quick")["iqm"]["value"] == CAP
    assert row(rows, "rloo")["iqm"]["value"] == pytest.approx((20 / 10 + 20 / 30) / 2, rel=1e-4)
    assert row(rows, "m")["gap"]["value"] == pytest.approx(0.5)
    assert not row(rows, "m")["bound"]


def test_where_rloo_never_got_there_scores_are_bounds() -> None:
    inf = math.inf
    cells: Cells = {("rloo", "a", 64, 0.1): trained(inf, inf, spent=50.0), ("m", "a", 64, 0.1): trained(25, 25)}
    rows = aggregate_rows(made(learning=cells), None)
    assert row(rows, "m")["bound"]
    assert row(rows, "m")["iqm"]["value"] == pytest.approx(2.0)
    assert row(rows, "rloo")["iqm"]["value"] == 0.0


def test_families_stand_apart() -> None:
    cells: Cells = {("m", t, 64, 0.0): update(rho, rho) for t, rho in (("a", 0.1), ("b", 0.9))}
    rows = aggregate_rows(made(cells, families={"a": "f", "b": "g"}), 64)
    assert row(rows, "m", "f")["iqm"]["value"] == pytest.approx(0.1)
    assert row(rows, "m", "g")["iqm"]["value"] == pytest.approx(0.9)


def test_a_whole_run_holds_every_method_with_intervals_and_falling_profiles(tmp_path: Path) -> None:
    found = aggregate_rows(read_run(write_run(tmp_path / "run", seeds=4)), 512)
    assert {r["score"] for r in found} == {"alignment", "speed"}
    for one in found:
        shares = [share for _, share in one["profile"]]
        assert shares == sorted(shares, reverse=True)
        assert one["iqm"]["low"] <= one["iqm"]["value"] <= one["iqm"]["high"]
        assert 0 <= one["poi"]["low"] <= one["poi"]["value"] <= one["poi"]["high"] <= 1


def test_intervals_stay_where_scores_can_be() -> None:
    """Of two seeds Student's quantile reaches far: no alignment is above 1, no speed below 0, no gap below 0."""
    cells: Cells = {("rloo", "a", 512, 0.0): update(0.1, 0.2), ("m", "a", 512, 0.0): update(0.8, 0.99)}
    m = row(aggregate_rows(made(cells), 512), "m")
    assert m["iqm"]["high"] == 1.0
    assert m["gap"]["low"] == 0.0
    runs: Cells = {("rloo", "a", 64, 0.1): trained(10.0, 30.0), ("m", "a", 64, 0.1): trained(10.0, 100.0)}
    m = row(aggregate_rows(made(learning=runs), 512), "m")
    assert m["iqm"]["low"] == 0.0
    assert m["gap"]["high"] == 1.0
