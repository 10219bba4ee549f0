"""Rankings by two halves of the seeds: known truth, pairs that flip, a small real run, the command."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from apportion.bench.cells import run_cell
from apportion.bench.records import Cell
from apportion.bench.settings import Gradient, Settings
from apportion.bench.statistics import Float
from apportion.cli import main
from apportion.errors import BenchError
from apportion.report.read import Run
from apportion.report.stability import half_splits, separated, stability

from .fake_run import write_run


def made(values: Mapping[tuple[str, str], Float], oracle: tuple[str, ...] = ()) -> Run:
    """A run in which the sign agreement of (method, task) is known."""
    methods = {m: {"id": m, "oracle": m in oracle} for m, _ in values}
    tasks = {t: {"id": t} for _, t in values}
    n = len(next(iter(values.values())))
    cells = {(m, t, 0, 0.0): {"sign": v} for (m, t), v in values.items()}
    return Run({}, tasks, methods, tuple(range(n)), {"identification": cells}, None)


def test_splits_are_halves_and_each_is_taken_once() -> None:
    assert half_splits(4).tolist() == [[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]
    assert len(half_splits(8)) == 35
    assert half_splits(3).sum(axis=1).tolist() == [1, 1, 1]
    many = half_splits(20, 50, seed=1)
    assert many.shape == (50, 20)
    assert set(many.sum(axis=1)) == {10}
    assert (half_splits(20, 50, seed=1) == many).all()


def test_methods_that_differ_keep_their_order() -> None:
    """Five methods a standard deviation apart, twenty seeds: nearly all separated, and both halves agree on those."""
    rng = np.random.default_rng(0)
    run = made({(f"m{k}", t): k + rng.normal(size=20) for k in range(5) for t in ("a", "b")})
    [row] = stability(run, None)["rows"]
    assert (row["measure"], row["tasks"], row["methods"], row["pairs"]) == ("sign agreement", 2, 5, 20)
    assert row["separated"] >= 18
    assert row["tau"]["value"] >= 0.9
    assert row["replicated"] >= 0.95


def test_methods_that_are_alike_are_not_separated() -> None:
    rng = np.random.default_rng(1)
    run = made({(f"m{k}", "a"): rng.normal(size=12) for k in range(20)})
    [row] = stability(run, None)["rows"]
    assert row["separated"] <= 0.12 * row["pairs"], "one in twenty by chance, and pairs share methods"
    assert row["replicated"] is not None
    assert row["replicated"] < 0.9, "what one half finds by chance the other does not"


def test_a_pair_that_rests_on_half_of_its_seeds_is_named() -> None:
    base = np.zeros(8)
    run = made({("good", "a"): np.array([4.0, 4, 4, 4, 0, -0.1, -0.1, -0.1]), ("base", "a"): base})
    found = stability(run, None)
    assert found["splits"] == 35
    assert found["flips"] == [
        {"measure": "sign agreement", "task": "a", "better": "good", "worse": "base", "share": pytest.approx(1 / 35, rel=1e-4)}
    ]
    assert found["rows"][0]["tau"]["value"] == pytest.approx(33 / 35, rel=1e-4)


def test_separation_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    apart = rng.normal(0.6, 1.0, size=(400, 6))
    t = apart.mean(axis=1) / apart.std(axis=1, ddof=1) * math.sqrt(6)
    assert (separated(apart) == (np.abs(t) > 2.5706)).all()
    assert 0.1 < separated(apart).mean() < 0.5
    assert separated(np.array([[0.0, 0.0], [1.0, 1.0]])).tolist() == [False, True]
    shared = rng.normal(size=(1, 6)) * 100
    paired = made({("x", "a"): shared[0] + np.arange(6) * 0.01 + 1, ("y", "a"): shared[0]})
    assert stability(paired, None)["rows"][0]["separated"] == 1, "what seeds share is no noise of the difference"


def test_oracles_are_not_ranked_and_missing_seeds_leave_their_task_out() -> None:
    one = np.array([1.0, 2.0, 3.0, 4.0])
    run = made(
        {
            ("a", "t"): one,
            ("b", "t"): one + 5,
            ("truth", "t"): one + 50,
            ("a", "u"): one,
            ("b", "u"): np.array([1.0, math.nan, 1, 1]),
        },
        oracle=("truth",),
    )
    [row] = stability(run, None)["rows"]
    assert (row["methods"], row["pairs"], row["separated"]) == (2, 1, 1)


def test_halves_of_a_real_run_agree() -> None:
    """A few seconds of the benchmark: who is told apart on six seeds is put in the same order by three of them."""
    settings = Settings(gradient=Gradient(batch_sizes=(64,), replicates=(4,)))
    methods, task, seeds = ("rloo", "grpo", "tempo", "pooled_td", "gigpo"), "bifurcation/horizon-10", range(6)
    cells: dict[tuple[str, str, int, float], dict[str, Float]] = {}
    for method in methods:
        for seed in seeds:
            for row in run_cell(Cell(method, task, seed, "gradient"), settings):
                cells.setdefault((method, task, 64, 0.0), {}).setdefault(row.metric, np.full(6, math.nan))[seed] = row.value
    run = Run({}, {task: {"id": task}}, {m: {"id": m} for m in methods}, tuple(seeds), {"gradient": cells}, None)
    [row] = stability(run, 64)["rows"]
    assert (row["measure"], row["pairs"]) == ("alignment", 10)
    assert row["separated"] >= 4, "pooled_td stands apart from the four others"
    assert row["tau"]["value"] >= 0.9


def test_the_command_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run", seeds=8)
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "stability", str(folder)])
    shown = capsys.readouterr().out
    assert "learning speed" in shown
    assert "…" not in shown
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "stability", str(folder), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [r["measure"] for r in found["rows"]][:2] == ["learning speed", "alignment"]
    assert all(r["tau"]["value"] >= 0.9 for r in found["rows"][:2])
    assert found["rows"][0]["separated"] > 50


def test_one_seed_has_no_halves(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="two halves need at least two seeds"):
        stability(made({("a", "t"): np.ones(1)}), None)
