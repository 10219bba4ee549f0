"""What a run's rows are turned into, against known answers."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from apportion.errors import BenchError
from apportion.report import leaderboard_table, sentence, summarise
from apportion.report.terminal import shown_methods

from .fake_run import TASKS, Rows, write_rows, write_run

SEEDS = 6
#: id -> (oracle, paid)
KINDS = {"vineppo": (False, True), "exact": (True, False)} | dict.fromkeys(("rloo", "grpo", "gigpo", "tempo"), (False, False))


def make(folder: Path, rows: Rows, horizon: int = 100) -> Path:
    """A run folder of one task holding just these rows."""
    write_rows(folder, rows)
    tasks = [{"id": "t", "family": "f", "tags": [], "horizon": horizon, "title": "T"}]
    used = {r[0] for r in rows}
    entrants = [{"id": m, "title": m.upper(), "oracle": o, "paid": p} for m, (o, p) in KINDS.items() if m in used]
    (folder / "manifest.json").write_text(json.dumps({"suite": "s", "tasks": tasks, "entrants": entrants, "prices": {}}))
    return folder


def gradient(method: str, batch: int, values: Mapping[str, Any]) -> Rows:
    """Rows of one gradient cell; a metric is a number or one per seed."""
    rows: Rows = []
    for name, value in values.items():
        for seed, v in enumerate(np.broadcast_to(np.asarray(value, dtype=np.float64), SEEDS)):
            rows.append((method, "t", seed, "gradient", name, batch, math.nan, float(v)))
    return rows


def noisy(method: str, batch: int, nsr: float, price: float = 1.0) -> Rows:
    """An unbiased update with this noise-to-signal ratio, |g*|^2 = 2."""
    found = {"inner": 2.0, "norm2": 2.0 * (1 + nsr), "truth2": 2.0, "cross": 2.0, "replicates": 4.0, "price": price}
    return gradient(method, batch, found)


def learning(method: str, costs: list[float], *, batch: int = 64, lr: float = 1.0, spent: float = 1e6) -> Rows:
    """Rows of one learning setting: infinite costs were not reached after ``spent``."""
    rows: Rows = []
    for seed, cost in enumerate(costs):
        reached = math.isfinite(cost)
        found = {"reached": float(reached), "cost": cost if reached else spent, "updates": 10.0}
        found |= {"final": 0.9 if reached else 0.5, "attainable": 1.0, "start": 0.4}
        rows += [(method, "t", seed, "learning", k, batch, lr, v) for k, v in found.items()]
    return rows


def find(found: Mapping[str, Any], measure: str, method: str, **more: Any) -> dict[str, Any]:
    return next(r for r in found[measure] if r["method"] == method and all(r[k] == v for k, v in more.items()))


def test_sample_and_net_multiplier_of_known_noise(tmp_path: Path) -> None:
    rows = [r for b in (64, 512) for r in noisy("rloo", b, 6400 / b, price=3.0)]
    rows += noisy("vineppo", 64, 10.0, price=30.0) + noisy("vineppo", 512, 10.0, price=30.0)
    found = summarise(make(tmp_path, rows))
    small, large = (find(found, "gradient", "vineppo", batch=b) for b in (64, 512))
    assert small["nsr"]["value"] == pytest.approx(10.0)
    assert small["multiplier"]["value"] == pytest.approx(10.0)
    assert small["net"]["value"] == pytest.approx(1.0)
    # Noise that does not shrink with the batch is worth less and less: RLOO at 640 would do.
    assert large["multiplier"]["value"] == pytest.approx(640 / 512)
    assert find(found, "gradient", "rloo", batch=64)["multiplier"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_exact_gradient_is_worth_infinitely_many_trajectories(tmp_path: Path) -> None:
    found = summarise(make(tmp_path, noisy("rloo", 64, 100.0) + noisy("exact", 64, 0.0)))
    assert find(found, "gradient", "exact")["multiplier"]["value"] == "inf"


def test_alignment_pools_over_seeds_before_the_ratio(tmp_path: Path) -> None:
    inner, norm2 = np.array([1.0, 3, 1, 3, 1, 3]), np.array([8.0, 8, 12, 12, 10, 10])
    rows = gradient("grpo", 64, {"inner": inner, "norm2": norm2, "truth2": 2.0, "price": 1.0}) + noisy("rloo", 64, 1.0)
    found = find(summarise(make(tmp_path, rows)), "gradient", "grpo")
    assert found["rho"]["value"] == pytest.approx(2.0 / math.sqrt(10.0 * 2.0), abs=1e-6)
    assert found["rho"]["low"] < found["rho"]["value"] < found["rho"]["high"]


@pytest.mark.parametrize(
    ("inner", "verdict"),
    [
        ([1.0, 1.2, 0.9, 1.1, 1.0, 1.0], "aligned"),
        ([-1.0, -1.2, -0.9, -1.1, -1, -1], "pushes the wrong way"),
        ([1.0, -1.0, 2.0, -2.0, 0.5, -0.5], "undetermined"),
    ],
)
def test_a_multiplier_is_given_only_where_the_direction_is_sure(tmp_path: Path, inner: list[float], verdict: str) -> None:
    rows = gradient("grpo", 64, {"inner": inner, "norm2": 9.0, "truth2": 2.0, "price": 1.0}) + noisy("rloo", 64, 1.0)
    found = find(summarise(make(tmp_path, rows)), "gradient", "grpo")
    assert found["verdict"] == verdict
    assert (found["multiplier"]["value"] is not None) == (verdict == "aligned")


def test_one_seed_is_undetermined(tmp_path: Path) -> None:
    rows = [r for r in noisy("rloo", 64, 1.0) + noisy("grpo", 64, 1.0) if r[2] == 0]
    assert find(summarise(make(tmp_path, rows)), "gradient", "grpo")["verdict"] == "undetermined"


def test_bias_comes_from_pairs_and_may_be_below_zero(tmp_path: Path) -> None:
    rows = noisy("rloo", 64, 1.0)
    rows += gradient(
        "grpo",
        64,
        {
            "inner": 4.0,
            "norm2": 50.0,
            "truth2": 2.0,
            "cross": 8.2,
            "price": 1.0,
            "between2": 0.16,
            "within2": 0.0,
            "useful2": 8.0,
        },
    )
    rows += gradient("vineppo", 64, {"inner": 2.0, "norm2": 50.0, "truth2": 2.0, "cross": 1.9, "price": 1.0})
    found = summarise(make(tmp_path, rows))
    twice = find(found, "gradient", "grpo")  # 2 g* and something across: far from g*, yet nearly its direction
    assert twice["bias"]["value"] == pytest.approx((8.2 - 8.0 + 2.0) / 2.0)
    assert twice["bias_rescaled"]["value"] == pytest.approx(8.2 * 2.0 / 16.0 - 1.0)
    assert twice["between2"]["value"] == pytest.approx(0.02)
    assert find(found, "gradient", "vineppo")["bias"]["value"] == pytest.approx(-0.05)
    assert find(found, "gradient", "vineppo")["between2"]["value"] is None


def test_setting_is_the_one_with_the_lowest_expected_cost_failures_included(tmp_path: Path) -> None:
    rows = learning("rloo", [100.0] * SEEDS)
    rows += learning("grpo", [10.0, 10.0, 10.0, math.inf, math.inf, math.inf], lr=3.0, spent=100.0)  # quick, or never
    rows += learning("grpo", [50.0, 52.0, 54.0, 46.0, 48.0, math.inf], lr=1.0, spent=100.0)
    found = find(summarise(make(tmp_path, rows)), "learning", "grpo")
    assert (found["lr"], found["settings"], found["seeds"]) == (1.0, 2, SEEDS)
    assert found["cost"]["value"] == pytest.approx((250 + 100) / 5)
    assert found["speedup"]["value"] == pytest.approx(100 / 70, abs=1e-4)
    assert found["reached"] == pytest.approx(5 / 6, abs=1e-5)


def test_never_bounds_the_speed_up_by_what_was_spent(tmp_path: Path) -> None:
    never = [math.inf] * SEEDS
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    slow = summarise(make(tmp_path / "a", learning("rloo", never, spent=5000.0) + learning("grpo", [100.0] * SEEDS)))
    row = find(slow, "learning", "grpo")
    assert (row["speedup"]["value"], row["at_least"], row["at_most"]) == ("inf", 50.0, None)
    bad = summarise(make(tmp_path / "b", learning("rloo", [100.0] * SEEDS) + learning("grpo", never, spent=400.0)))
    row = find(bad, "learning", "grpo")
    assert (row["cost"]["value"], row["spent"], row["at_least"], row["at_most"]) == ("inf", 400.0, None, 0.25)


def test_ranking_follows_learning_where_it_parts_from_the_gradient(tmp_path: Path) -> None:
    rows = noisy("rloo", 512, 100.0) + noisy("grpo", 512, 1.0) + noisy("vineppo", 512, 50.0) + noisy("exact", 512, 0.01)
    rows += learning("rloo", [100.0] * SEEDS) + learning("vineppo", [20.0] * SEEDS) + learning("exact", [1.0] * SEEDS)
    found = summarise(make(tmp_path, rows))
    assert [(r["method"], r["by"]) for r in found["ranking"]] == [
        ("vineppo", "learning"),
        ("rloo", "learning"),
        ("grpo", "gradient"),
    ]
    roles = {m["id"]: m["role"] for m in found["methods"]}
    assert roles == {"rloo": "reference", "grpo": "other", "vineppo": "paid", "exact": "exact"}


SENTENCES = {
    "at 1/5 of RLOO's cost": ([100.0] * SEEDS, [20.0] * SEEDS),
    "at 0.8 of RLOO's cost": ([100.0] * SEEDS, [80.0] * SEEDS),
    "RLOO had not reached it after 5.00k, 50 times as much": ([math.inf] * SEEDS, [100.0] * SEEDS),
    "no method that was trained reaches 80 % of the attainable return at clearly less": (
        [100.0] * SEEDS,
        [50.0, 150, 90, 110, 120, 95],
    ),
    "only RLOO reached 80 %": ([100.0] * SEEDS, [math.inf] * SEEDS),
    "no method reached 80 % of the attainable return in most of its runs; RLOO had spent 5.00k": (
        [math.inf] * SEEDS,
        [math.inf] * SEEDS,
    ),
}


@pytest.mark.parametrize("expected", SENTENCES)
def test_sentence_claims_what_was_measured_and_no_more(tmp_path: Path, expected: str) -> None:
    rloo, grpo = SENTENCES[expected]
    rows = learning("rloo", rloo, spent=5000.0) + learning("grpo", grpo, spent=5000.0) + learning("exact", [1.0] * SEEDS)
    found = summarise(make(tmp_path, rows))
    assert found["sentence"].startswith("At 100 turns, ")
    assert expected in found["sentence"]
    assert "EXACT" not in found["sentence"]
    assert sentence(found) == found["sentence"]


def test_sentence_without_learning_says_so(tmp_path: Path) -> None:
    assert "learning was not measured" in summarise(make(tmp_path, noisy("rloo", 64, 1.0)))["sentence"]


def test_agreement_is_the_rank_correlation_of_speed_and_net_multiplier(tmp_path: Path) -> None:
    rows = noisy("rloo", 512, 100.0) + noisy("grpo", 512, 25.0) + noisy("vineppo", 512, 50.0) + noisy("exact", 512, 0.01)
    rows += learning("rloo", [100.0] * SEEDS) + learning("grpo", [200.0] * SEEDS) + learning("vineppo", [20.0] * SEEDS)
    rows += learning("exact", [1.0] * SEEDS)
    few = summarise(make(tmp_path, rows))["agreement"]
    assert few["per_task"] == [{"task": "t", "spearman": None, "methods": 3}], "three methods say nothing"
    (tmp_path / "more").mkdir()
    rows += noisy("gigpo", 512, 10.0) + noisy("tempo", 512, 5.0)
    rows += learning("gigpo", [50.0] * SEEDS) + learning("tempo", [10.0] * SEEDS)
    found = summarise(make(tmp_path / "more", rows))["agreement"]  # speeds: 2, 1, 4, 3, 5; multipliers: 1, 3, 2, 4, 5
    assert found["per_task"] == [{"task": "t", "spearman": 0.5, "methods": 5}]


def test_summary_is_json_without_nan_and_the_same_every_time(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", seeds=3)
    first = json.dumps(summarise(run), allow_nan=False)
    assert first == json.dumps(summarise(run), allow_nan=False)


def test_headline_is_the_longest_task_of_the_series_with_most_horizons(tmp_path: Path) -> None:
    found = summarise(write_run(tmp_path / "run", seeds=3))
    assert found["headline"]["task"] == "forks-500"
    assert [t["id"] for t in found["tasks"] if t["series"] == found["headline"]["series"]] == [
        t for t, (_, tags, _) in TASKS.items() if "recoverable" in tags
    ]


def test_short_names_stay_distinct(tmp_path: Path) -> None:
    names = {m["id"]: m["name"] for m in summarise(write_run(tmp_path / "run", seeds=2))["methods"]}
    assert (names["vineppo"], names["pure"], names["pure-judge80"]) == ("VinePPO", "PURE", "PURE judge80")
    assert len(set(names.values())) == len(names)


def test_leaderboard_fits_100_columns_and_keeps_oracles_apart(tmp_path: Path) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(leaderboard_table(summarise(write_run(tmp_path / "run", seeds=4))))
    lines = console.export_text().rstrip("\n").split("\n")
    assert max(map(len, lines)) <= 100
    heading = next(line for line in lines if "method" in line and "evidence" in line)
    assert heading.split()[-4:] == ["×", "net", "×", "corr"]
    rows = [line for line in lines if " free " in line or " paid " in line or " oracle " in line]
    assert "…" not in "".join(rows)
    kinds = [next(k for k in ("free", "paid", "oracle") if f" {k} " in line) for line in rows]
    assert kinds.count("oracle") == 2
    assert kinds[-2:] == ["oracle", "oracle"]
    assert any("never" in line for line in rows)
    assert any("wrong way" in line for line in rows)


def test_of_very_many_methods_the_terminal_shows_the_best_and_rloo(tmp_path: Path) -> None:
    summary = summarise(write_run(tmp_path / "run", seeds=2))
    model = next(m for m in summary["methods"] if m["id"] == "grpo")
    many = [{**model, "id": f"m{k}"} for k in range(60)] + [m for m in summary["methods"] if m["id"] in ("rloo", "exact")]
    kept = [m["id"] for m in shown_methods(many)]
    assert kept == [*(f"m{k}" for k in range(24)), "rloo", "exact"]
    assert shown_methods(summary["methods"]) == summary["methods"]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(leaderboard_table({**summary, "methods": many}))
    assert "36 more methods are in the report" in " ".join(console.export_text().split())


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no results\.parquet"):
        summarise(tmp_path)
    make(tmp_path, noisy("rloo", 64, 1.0))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"entrants": []}))
    with pytest.raises(BenchError, match="does not define 'rloo'"):
        summarise(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BenchError, match="not readable as JSON"):
        summarise(tmp_path)
    (tmp_path / "results.parquet").write_bytes(b"PAR1")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BenchError, match="not readable as Parquet"):
        summarise(tmp_path)


def test_where_the_exact_gradient_is_rounding_nothing_is_compared_with_it(tmp_path: Path) -> None:
    flat = {"inner": 1e-27, "norm2": 1e-3, "truth2": 3e-27, "price": 1.0}
    found = summarise(make(tmp_path, gradient("rloo", 64, flat) + gradient("grpo", 64, flat) + learning("rloo", [5.0] * SEEDS)))
    assert found["gradient"] == []
    assert [r for r in found["aggregate"] if r["score"] == "alignment"] == []


def test_a_goal_that_stands_before_training_tells_nothing_of_learning(tmp_path: Path) -> None:
    rows = learning("rloo", [0.0] * SEEDS) + learning("grpo", [0.0] * SEEDS) + noisy("rloo", 64, 1.0) + noisy("grpo", 64, 1.0)
    found = summarise(make(tmp_path, rows))
    assert found["learning"] == []
    assert {r["by"] for r in found["ranking"]} == {"gradient"}
