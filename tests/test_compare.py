"""Two runs side by side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from apportion.bench import runner, suites
from apportion.bench.aggregate import difference, overall_iqm
from apportion.cli import main
from apportion.errors import BenchError
from apportion.report.compare import compare
from apportion.report.read import read_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for name, seeds in (("a", 3), ("b", 2)):
        runner.run(suites.plan("smoke", methods=["rloo", "exact"], seeds=seeds), folder / name, command="x", jobs=1)
    return folder / "a", folder / "b"


def test_a_run_does_not_differ_from_its_own_part(runs: tuple[Path, Path]) -> None:
    found = compare(*map(read_run, runs))
    assert found["shared"] == {"tasks": ["bifurcation/horizon-10"], "methods": ["exact", "rloo"], "seeds": [0, 1]}
    assert {row["measure"] for row in found["rows"]} >= {"gradient alignment", "sign agreement", "share of the gain learned"}
    for row in found["rows"]:
        assert row["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
        assert row["b_is_better"]["value"] == pytest.approx(0.5)


def test_the_difference_of_a_shift_is_the_shift_and_its_interval_is_paired() -> None:
    x = np.random.default_rng(0).normal(size=(10, 3)) * 100
    value, low, high = difference(x, x + 1.0, overall_iqm)
    np.testing.assert_allclose([value, low, high], 1.0)


def test_the_command_fits_a_terminal_and_speaks_json(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["bench", "compare", str(runs[0]), str(runs[1]), *more])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        assert json.loads(out)["rows"] if more else "gradient alignment" in out.replace("\n", " ")
        assert more or max(map(len, out.splitlines())) <= 120


def test_runs_that_share_nothing_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    plan = suites.plan("smoke", methods=["rloo"], tasks=["interaction/or"], seeds=2)
    runner.run(plan, tmp_path / "c", command="x", jobs=1)
    with pytest.raises(BenchError, match="share no task"):
        compare(read_run(runs[0]), read_run(tmp_path / "c"))
