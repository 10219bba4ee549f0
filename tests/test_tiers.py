"""Rank correlation between tiers, and what is said where the neural tier cannot run."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.bench import suites
from apportion.bench.statistics import kendall
from apportion.errors import BenchError
from apportion.report import write_report
from apportion.report.summary import summarise
from apportion.report.tiers import tier_text
from tests.fake_run import write_rows

ORDER = ("rloo", "a", "b", "c", "d", "e")


def test_kendall_counts_pairs_and_takes_ties_out() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert kendall(x, x) == 1.0
    assert kendall(x, -x) == -1.0
    assert kendall(x, np.array([2.0, 1.0, 3.0, 4.0])) == pytest.approx(4 / 6)
    # tau-b by hand: 4 pairs agree, none part, one tie in each of the two: 4 / sqrt(5 * 5)
    assert kendall(np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 3.0])) == pytest.approx(4 / 5)
    assert kendall(np.array([1.0, np.inf, np.inf]), np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / np.sqrt(6))
    assert np.isnan(kendall(np.ones(4), x))
    assert np.isnan(kendall(x[:2], x[:2]))
    with pytest.raises(ValueError, match="NaN"):
        kendall(np.array([np.nan, 1.0, 2.0]), x[:3])
    with pytest.raises(ValueError, match="3 values, b has 4"):
        kendall(x[:3], x)


def run_folder(folder: Path, there: dict[str, float], here: dict[str, float]) -> Path:
    """A run of one task and its neural twin, with the given alignment of every method in each."""
    folder.mkdir(parents=True)
    rows: list[tuple[str, str, int, str, str, int, float, float]] = []
    for task, rho in (("tiny/turns", there), ("neural/tiny/turns", here)):
        for method, value in rho.items():
            for seed in range(3):
                found = {"inner": value, "norm2": 1.0, "truth2": 1.0, "cross": 1.0, "price": 1.0, "replicates": 2.0}
                rows += [(method, task, seed, "gradient", name, 512, float("nan"), v) for name, v in found.items()]
                found = {"reached": 1.0, "cost": 1.0 / value, "updates": 1.0, "final": 1.0, "attainable": 1.0, "start": 0.0}
                rows += [(method, task, seed, "learning", name, 128, 0.1, v) for name, v in found.items()]
    write_rows(folder, rows)
    known = {"family": "tiny", "horizon": 6, "tags": [], "title": "tiny"}
    tasks: list[dict[str, Any]] = [
        {"id": "tiny/turns", **known},
        {"id": "neural/tiny/turns", "tier": "neural", "twin": "tiny/turns", **known, "family": "neural/tiny"},
    ]
    entrants = [
        {"id": m, "title": m, "method": m, "oracle": m == "truth", "paid": False, "options": {}} for m in {**there, **here}
    ]
    manifest = {"format": 1, "suite": "neural", "seeds": [0, 1, 2], "tasks": tasks, "entrants": entrants, "prices": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_tiers_are_compared_over_methods_that_both_measured(tmp_path: Path) -> None:
    there = dict(zip(ORDER, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), strict=True)) | {"truth": 0.9}
    here = dict(zip(ORDER, (0.1, 0.2, 0.4, 0.3, 0.5, 0.6), strict=True)) | {"truth": 0.01, "asks-the-model": 0.7}
    summary = summarise(run_folder(tmp_path / "run", there, here))
    (pair,) = summary["tiers"]["pairs"]
    assert pair["neural"] == "neural/tiny/turns"
    assert pair["tabular"] == "tiny/turns"
    for name in ("alignment", "learning"):
        assert pair[name]["methods"] == sorted(ORDER)  # no oracle, and nothing without a twin
        assert pair[name]["spearman"] == pytest.approx(1 - 6 * 2 / (6 * 35), abs=1e-6)
        assert pair[name]["kendall"] == pytest.approx(13 / 15, abs=1e-6)
        assert summary["tiers"]["mean"][name]["kendall"] == pytest.approx(13 / 15, abs=1e-6)
    text = tier_text(summary)
    assert "0.943 / 0.867 on tiny/turns (6 methods)" in text
    page = write_report(tmp_path / "run", tmp_path / "report.html").read_text("utf-8")
    assert "0.943 / 0.867" in page


def test_few_methods_or_no_twin_are_not_compared(tmp_path: Path) -> None:
    few = dict(zip(ORDER[:4], (0.1, 0.2, 0.3, 0.4), strict=True))
    summary = summarise(run_folder(tmp_path / "few", few, few))
    assert summary["tiers"]["pairs"][0]["alignment"]["spearman"] is None
    assert summary["tiers"]["mean"]["learning"]["kendall"] is None
    assert "needs 5 methods" in tier_text(summary)
    alone = summarise(run_folder(tmp_path / "alone", {}, few))
    assert alone["tiers"]["pairs"] == []
    assert tier_text(alone) == ""


def test_without_torch_the_neural_suite_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from apportion.bench import tasks

    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "torch" else find_spec(name, *more))
    tasks._neural.cache_clear()
    with pytest.raises(BenchError, match=r"^task neural/tiny/turns .* needs torch: pip install 'apportion\[neural\]'$"):
        suites.plan("neural")
