"""Learning curves: what is recorded while a method trains, the bands made of it, and what is said of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from apportion.bench.curve import curve_rows as record
from apportion.bench.curve import read_curve, shares
from apportion.bench.estimate import seconds
from apportion.bench.knobs import entrant
from apportion.bench.learning import train
from apportion.bench.records import Cell
from apportion.bench.settings import Learning, Settings
from apportion.bench.suites import SUITES
from apportion.bench.tasks import find
from apportion.report import write_report
from apportion.report.curves import curve_rows, curve_table, curves_text, mean_band
from apportion.report.read import read_run
from apportion.report.summary import summarise

from .fake_run import Rows, write_rows, write_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TASK = "bifurcation/horizon-10"
#: Two-sided 95 % point of Student's t with two degrees of freedom, from a table.
T2 = 4.302653


def test_a_curve_holds_the_policy_that_was_had_by_then() -> None:
    found = record([0.0, 10.0, 25.0], [0.1, 0.2, 0.3], 20.0, 4)
    assert found == {"budget": 20.0, "return:0": 0.1, "return:0.25": 0.1, "return:0.5": 0.2, "return:0.75": 0.2, "return:1": 0.2}
    assert [share for share, _ in read_curve(found)] == shares(4) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert record([0.0], [0.1], 20.0, 0) == {}


def test_sums_of_prices_that_round_are_within_the_budget() -> None:
    costs = np.cumsum([0.0] + [0.1] * 3).tolist()
    assert costs[-1] > 0.3  # by a rounding error
    assert record(costs, [0.1, 0.2, 0.3, 0.4], 0.3, 1)["return:1"] == 0.4


def trained(points: int, method: str = "exact", updates: int = 30) -> dict[str, float]:
    task = find(TASK)
    settings = Settings(learning=Learning(curve=points))
    return train(Cell(method, TASK, 0, "learning"), task, entrant(method), settings, 64, 0.2, updates * 64 * 110.0)


def test_with_a_curve_training_goes_on_and_tells_the_same_cost() -> None:
    """The target is passed after some updates; what it cost is not changed by going on."""
    short, long = trained(0), trained(10)
    assert {k: short[k] for k in ("reached", "cost", "updates", "start")} == {
        k: long[k] for k in ("reached", "cost", "updates", "start")
    }
    assert (short["reached"], long["budget"]) == (1.0, 30 * 64 * 110.0)
    assert short["cost"] < 0.9 * long["budget"]
    assert "budget" not in short
    goal = 0.8 * long["attainable"]
    for share, name in read_curve(long):
        assert (long[name] >= goal) == (share * long["budget"] >= long["cost"])
    assert long["return:0"] == long["start"]
    assert long["return:1"] == long["final"] > short["final"]


def test_a_run_that_never_arrives_has_spent_everything() -> None:
    found = trained(4, "rloo", updates=3)
    assert (found["reached"], found["updates"]) == (0.0, 3.0)
    assert found["cost"] == found["budget"]


def test_settings_without_curves_are_written_as_before() -> None:
    """Results contributed before there were curves share a board with those made today."""
    assert "curve" not in Settings().model_dump(mode="json")["learning"]
    with_curve = Settings(learning=Learning(curve=5))
    assert with_curve.model_dump(mode="json")["learning"]["curve"] == 5
    assert Settings.model_validate(with_curve.model_dump(mode="json")) == with_curve
    assert Settings.model_validate(Settings().model_dump(mode="json")) == Settings()


def test_a_run_with_a_curve_is_expected_to_spend_its_budget() -> None:
    cell = Cell("rloo", TASK, 0, "learning")
    assert seconds(cell, trained_settings(5)) == pytest.approx(2.5 * seconds(cell, trained_settings(0)))


def trained_settings(points: int) -> Settings:
    return Settings(learning=Learning(curve=points))


def test_the_training_suite_compares_at_equal_cost() -> None:
    suite = SUITES["train"]
    assert suite.methods is not None
    assert {"rloo", "grpo", "exact"} < set(suite.methods)
    assert len(suite.methods) == 5
    assert (suite.seeds, suite.tasks) == (3, ("neural/tiny/turns-12",))
    assert suite.settings.learning.curve > 0
    assert find("tiny/turns-12").horizon == 12
    assert [m for m in suite.methods if entrant(m).oracle] == ["exact"]


# from results to what is shown


def curve_run(folder: Path, returns: Mapping[str, Sequence[Sequence[float]]], oracle: Sequence[str] = ("exact",)) -> Path:
    """A run of one task: method -> a curve of every seed, in thirds of a budget of 300."""

    folder.mkdir(parents=True, exist_ok=True)
    rows: Rows = []
    for method, lines in returns.items():
        for seed, line in enumerate(lines):
            found = {f"return:{i / (len(line) - 1):.6g}": v for i, v in enumerate(line)} | {
                "reached": float(max(line) >= 0.72), "cost": 200.0, "updates": 20.0, "final": line[-1], "start": line[0],
                "attainable": 0.8, "budget": 300.0,
            }  # fmt: skip
            rows += [(method, "own/task", seed, "learning", k, 64, 0.1, v) for k, v in found.items()]
    write_rows(folder, rows)
    manifest = {
        "suite": "own", "command": "", "versions": {}, "prices": {}, "settings": {"learning": {"target": 0.9}},
        "tasks": [{"id": "own/task", "family": "own", "tags": [], "horizon": 12, "title": "own"}],
        "entrants": [{"id": m, "title": m.upper(), "oracle": m in oracle, "paid": False, "method": m} for m in returns],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


FLAT = {
    "rloo": [[0.3, 0.30, 0.34, 0.40], [0.3, 0.32, 0.36, 0.50], [0.3, 0.31, 0.38, 0.60]],
    "up": [[0.3, 0.40, 0.50, 0.51], [0.3, 0.42, 0.50, 0.60], [0.3, 0.44, 0.50, 0.71]],  # + 0.11, 0.10, 0.11
    "down": [[0.3, 0.30, 0.30, 0.30], [0.3, 0.30, 0.30, 0.41], [0.3, 0.30, 0.30, 0.50]],  # - 0.10, 0.09, 0.10
    "same": [[0.3, 0.30, 0.30, 0.50], [0.3, 0.30, 0.30, 0.40], [0.3, 0.30, 0.30, 0.61]],
    "exact": [[0.3, 0.60, 0.70, 0.78], [0.3, 0.60, 0.70, 0.79], [0.3, 0.60, 0.70, 0.80]],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return curve_run(tmp_path_factory.mktemp("curves") / "run", FLAT)


def test_bands_are_students_over_seeds(run: Path) -> None:
    rows = {r["method"]: r for r in curve_rows(read_run(run))}
    row = rows["up"]
    assert row["shares"] == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-5)
    assert (row["budget"], row["start"], row["attainable"], row["goal"]) == pytest.approx((300, 0.3, 0.8, 0.72))
    assert row["value"] == pytest.approx([0.3, 0.42, 0.5, 0.606667], abs=1e-5)
    half = T2 * 0.02 / math.sqrt(3)
    assert (row["low"][1], row["high"][1]) == pytest.approx((0.42 - half, 0.42 + half), abs=1e-5)
    assert (row["low"][0], row["high"][0]) == (0.3, 0.3)
    assert row["seeds"] == FLAT["up"]
    assert row["final"] == {"value": row["value"][-1], "low": row["low"][-1], "high": row["high"][-1]}
    assert row["whole"]["value"] == pytest.approx(np.mean(FLAT["up"]), abs=1e-5)


def test_the_difference_to_rloo_is_paired_by_seed(run: Path) -> None:
    """Ends overlap widely (0.37 to 0.86 against 0.25 to 0.75), yet every seed ends a tenth higher."""
    rows = {r["method"]: r for r in curve_rows(read_run(run))}
    assert rows["up"]["low"][-1] < rows["rloo"]["value"][-1]
    differences = np.array([0.11, 0.10, 0.11])
    half = T2 * differences.std(ddof=1) / math.sqrt(3)
    ahead = rows["up"]["ahead"]
    assert (ahead["value"], ahead["low"], ahead["high"]) == pytest.approx(
        (differences.mean(), differences.mean() - half, differences.mean() + half), abs=1e-5
    )
    assert rows["rloo"]["ahead"] is None


def test_what_is_said_follows_from_the_paired_intervals(run: Path) -> None:
    [said] = curves_text(summarise(run, resamples=50))
    assert said == (
        "Learning curves on own/task, 3 seeds, 300 price units each: at the end EXACT and UP above RLOO; DOWN below it; "
        "SAME not told apart from it."
    )


def test_one_seed_has_no_band_and_proves_nothing(tmp_path: Path) -> None:
    folder = curve_run(tmp_path / "one", {m: lines[:1] for m, lines in FLAT.items()})
    [said] = curves_text(summarise(folder, resamples=50))
    assert said.endswith("at the end EXACT, UP, SAME and DOWN not told apart from RLOO.")
    assert all(r["low"] == [None] * 4 for r in curve_rows(read_run(folder)))


def test_a_seed_that_is_not_there_yet_is_left_out() -> None:
    assert mean_band(np.array([0.2, math.nan, 0.4]))["value"] == pytest.approx(0.3)
    assert mean_band(np.array([math.nan]))["value"] is None
    assert mean_band(np.array([0.1, 0.9]), within=(0.0, 1.0)) == {"value": 0.5, "low": 0.0, "high": 1.0}


def test_the_terminal_has_costs_and_returns_with_intervals_in_80_columns(run: Path) -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    console.print(curve_table(summarise(run, resamples=50), "own/task"))
    text = console.export_text()
    lines = text.splitlines()
    at = {word: i for i, line in enumerate(lines) for word in line.split()[:1]}
    assert at["EXACT"] < at["UP"] < at["RLOO"] < at["DOWN"], "by the return at the end"
    assert "0.607" in lines[at["UP"]]
    assert "0.107" in lines[at["UP"]]
    assert "to" in lines[at["UP"] + 1]
    assert "0.800 attainable" in text
    assert "…" not in text


def test_runs_without_curves_have_none(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "old", seeds=2, lens=False)
    assert summarise(folder, resamples=50)["curves"] == []
    page = write_report(folder, tmp_path / "old.html").read_text("utf-8")
    assert 'data-figure="curves"' not in page


def test_the_report_draws_a_panel_a_method(run: Path, tmp_path: Path, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: complaints.append(str(e)))
    page.goto(write_report(run, tmp_path / "report.html").as_uri() + "#/learning")
    svg = page.locator('[data-figure="curves"] svg[role="img"]')
    label = svg.get_attribute("aria-label") or ""
    assert all(name in label for name in ("UP", "DOWN", "SAME", "EXACT (oracle)", "own/task"))
    texts = svg.locator("text").all_text_contents()
    assert {"UP", "DOWN", "SAME", "EXACT (oracle)"} <= set(texts)
    # areas: a band of RLOO and one of its own in every panel; the band at the start is a point
    assert svg.locator('[aria-label="area"] path').count() == 8
    table = page.locator('[data-figure="curve-table"] tbody tr')
    assert "0.607" in (page.locator('[data-figure="curve-table"]').text_content() or "")
    assert table.count() >= 5
    page.fill("#filter-text", "down")
    svg.locator("text", has_text="SAME").wait_for(state="detached")
    assert svg.locator('[aria-label="area"] path').count() == 2
    assert complaints == []
    page.close()
