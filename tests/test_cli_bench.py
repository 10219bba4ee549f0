"""``apportion bench``: what a user types, sees and gets told."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from apportion.bench import catalog, suites, tasks
from apportion.bench.settings import PRICES, Learning, Settings, read_prices
from apportion.bench.suites import SUITES, Suite
from apportion.cli import main
from apportion.errors import ApportionError, BenchError
from tests.tiny_suite import TINY

OWN = """
from apportion.bench.tabular import chain

STEP = [[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]

def coin():
    return chain("own/coin", STEP, [0.0, 1.0], horizon=3)

both = [chain(f"own/{n}", STEP, [0.0, 1.0], horizon=n) for n in (2, 4)]
"""


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A suite of seconds, and a folder of one's own to stand in."""
    monkeypatch.setitem(SUITES, "tiny", TINY)
    monkeypatch.setattr(tasks, "_OWN", {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)


def type_(command: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of ``apportion bench COMMAND``."""
    with pytest.raises(SystemExit) as left:
        main(["bench", *command.split()])
    out, err = capfd.readouterr()
    code = left.value.code
    return (0 if code is None else int(code)), out, " ".join(err.split())


def test_run_report_and_run_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = type_("run --suite tiny --out runs/x --jobs 1", capfd)
    assert (status, "suite tiny: 2 methods, 1 tasks, 2 seeds: 16 cells" in err) == (0, True)
    assert "Leaderboard" in out
    assert "pooled TD" in out
    assert "At 10 turns" in out
    assert "report: runs/x/report.html" in out
    assert max(map(len, out.splitlines())) <= 100
    folder = tmp_path / "runs" / "x"
    assert {"manifest.json", "results.parquet", "timings.parquet", "report.html"} <= {p.name for p in folder.iterdir()}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["command"] == "apportion bench run --suite tiny"
    assert manifest["missing"] == []
    before = (folder / "results.parquet").read_bytes()

    status, out, err = type_("run --suite tiny --out runs/x --jobs 1 --no-report --json", capfd)
    assert (status, "16 cells, 16 done before" in err) == (0, True)
    assert {m["id"] for m in json.loads(out)["methods"]} == {"rloo", "pooled_td"}
    assert (folder / "results.parquet").read_bytes() == before

    page = tmp_path / "page.html"
    status, out, _ = type_("report runs/x -o page.html", capfd)
    assert (status, page.exists(), "Leaderboard" in out) == (0, True, True)

    status, _, err = type_("run --suite tiny --out runs/x --seeds 3", capfd)
    assert status == 2
    assert err.startswith("apportion: runs/x holds a different run: seeds (0, 1 there, 0-2 asked for). Give another --out")


def test_task_of_ones_own_is_measured(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = type_("run --suite tiny --tasks own.py:coin --seeds 1 --jobs 1 --no-report", capfd)
    assert status == 0
    assert "own/coin" in out
    text = (tmp_path / "runs" / "tiny" / "manifest.json").read_text()
    assert str(tmp_path) not in text
    manifest = json.loads(text)
    assert manifest["command"] == "apportion bench run --suite tiny --seeds 1 --tasks own.py:coin"
    assert manifest["tasks"][0]["horizon"] == 3
    from pyarrow import parquet  # type: ignore[import-untyped]

    rows = parquet.read_table(tmp_path / "runs" / "tiny" / "results.parquet").to_pylist()
    assert {r["task"] for r in rows} == {"own/coin"}
    assert {r["measure"] for r in rows} == {"gradient", "learning", "identification", "cost"}
    # Another definition under the same id is another run, even where the arrays agree.
    (tmp_path / "own.py").write_text(OWN + "# edited\n")
    status, _, err = type_("run --suite tiny --tasks own.py:coin --seeds 1 --jobs 1", capfd)
    assert (status, "task own/coin (defined differently)" in err) == (2, True)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run --suite quik", "no suite 'quik'; did you mean quick?"),
        ("run --suite tiny --methods pooled", "no method 'pooled'; did you mean pooled_td"),
        ("run --suite tiny --tasks horizon-20", "no task 'horizon-20'; did you mean bifurcation/horizon-20"),
        ("run --suite tiny --tasks own.py:coins", "--tasks own.py:coins: no name 'coins'; did you mean coin"),
        ("run --suite tiny --tasks own.py:STEP", "expected a task, a list of tasks or a function"),
        ("run --suite tiny --tasks none.py:x", "--tasks none.py:x: there is no file none.py"),
        ("run --suite tiny --tasks own.py:coin,own.py:coin", "task 'own/coin' is there twice"),
        ("run --suite tiny --seeds 0", "--seeds 0: expected at least 1"),
        ("run --suite tiny --jobs 0", "--jobs 0: expected at least 1"),
        ("run --suite tiny --prices none.yaml", "--prices none.yaml: cannot be read"),
        ("run --suite tiny --out own.py", "--out own.py: cannot be written"),
        ("run --suite tiny --out .", "--out .: holds 'own.py' but no manifest.json"),
        ("report nowhere", "no results.parquet here"),
    ],
)
def test_mistake_is_one_line_before_any_work(command: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = type_(command, capfd)
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert {p.name for p in tmp_path.iterdir()} <= {"own.py", "__pycache__"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("generatd: 1", "no kind of work is called 'generatd'; did you mean generated?"),
        ("judge_calls: -1", "judge_calls = -1: expected a number of at least 0"),
        ("judge_calls: yes please", "judge_calls = 'yes please': expected a number"),
        ("judge_calls: .nan", "judge_calls = nan"),
        ("judge_calls: true", "judge_calls = True"),
        ("- 1", "expected lines like 'generated: 1.0', found list"),
        ("a: [\n", "line 2: not YAML"),
    ],
)
def test_prices_that_make_no_sense_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(BenchError) as told:
        read_prices(tmp_path / "p.yaml")
    assert said in str(told.value)


def test_prices_given_replace_the_defaults_and_enter_the_plan(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("judge_calls: 200\n")
    prices = read_prices(tmp_path / "p.yaml")
    assert prices == {**PRICES, "judge_calls": 200.0}
    assert suites.plan("tiny", prices=prices).settings.prices["judge_calls"] == 200.0
    assert suites.plan("tiny").settings.prices == PRICES


def test_tasks_are_listed_as_a_table_and_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    _, out, _ = type_("tasks", capfd)
    assert "bifurcation/horizon-100" in out
    assert max(map(len, out.splitlines())) <= 100
    _, out, _ = type_("tasks --json", capfd)
    listed = {task["id"]: task for task in json.loads(out)}
    assert listed["bifurcation/horizon-100"]["horizon"] == 100


@pytest.mark.parametrize("name", ["quick", "standard", "full", "methods", "break-even", "sweeps", "smoke"])
def test_suites_name_only_what_exists(name: str) -> None:
    plan = suites.plan(name)
    suite = SUITES[name]
    known = catalog.entrants()
    for named in (suite.methods, suite.settings.learning.methods):
        assert {id_.partition("@")[0] for id_ in named or ()} <= set(known)
    assert set(suite.settings.learning.tasks or ()) <= set(suite.tasks)
    assert tuple(plan.tasks) == suite.tasks
    assert len(set(plan.cells)) == len(plan.cells) > 0
    assert len({cell.id.lower() for cell in plan.cells}) == len(plan.cells)


def test_rloo_takes_part_whatever_is_asked_for() -> None:
    assert set(suites.plan("tiny", methods=["pooled_td"]).entrants) == {"rloo", "pooled_td"}
    assert set(suites.plan("tiny", methods=["all"]).entrants) == set(catalog.entrants())


def test_learning_keeps_to_its_methods_and_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    def learners(**asked: Any) -> set[str]:
        cells = [cell for cell in suites.plan("capped", **asked).cells if cell.measure == "learning"]
        assert {cell.task for cell in cells} == set(asked.get("tasks", ["bifurcation/horizon-10"]))
        return {cell.method for cell in cells}

    settings = Settings(learning=Learning(methods=("rloo",), tasks=("bifurcation/horizon-10",)))
    both = ("bifurcation/horizon-10", "bifurcation/horizon-20")
    capped = Suite("", both, ("rloo", "pooled_td"), 1, settings)
    monkeypatch.setitem(SUITES, "capped", capped)
    assert learners() == {"rloo"}
    assert learners(methods=["all"]) == {"rloo"}
    assert learners(methods=["pooled_td"]) == {"rloo", "pooled_td"}  # named one by one: all learn
    assert learners(tasks=["bifurcation/horizon-20"]) == {"rloo"}  # so do tasks


def test_files_of_tasks_give_tasks_functions_and_lists(tmp_path: Path) -> None:
    assert [t.id for t in catalog.load("own.py:coin")[0]] == ["own/coin"]
    assert [t.id for t in catalog.load(f"{tmp_path}/own.py:both")[0]] == ["own/2", "own/4"]
    assert catalog.find("own/4").horizon == 4
    (tmp_path / "plain.py").write_text(OWN.replace("both = [", "other, same = [") + "again = other\n")
    assert [t.id for t in catalog.load("plain.py")[0]] == ["own/2", "own/4"]  # without a name: every task, once
    (tmp_path / "broken.py").write_text("x = 1\ny = x / 0\n")
    with pytest.raises(BenchError, match=r"ZeroDivisionError \(line 2\): division by zero"):
        catalog.load("broken.py:x")
    (tmp_path / "taken.py").write_text(OWN.replace("own/coin", "bifurcation/horizon-10"))
    with pytest.raises(ApportionError, match="bifurcation/horizon-10"):
        catalog.load("taken.py:coin")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(BenchError, match="the file defines no task"):
        catalog.load("empty.py")


@pytest.mark.parametrize(
    "settings",
    [
        {"gradient": {"batch_sizes": (64, 512), "replicates": (2,)}},
        {"gradient": {"batch_sizes": (64,), "replicates": (1,)}},
        {"prices": {"generated": 1.0}},
        {"prices": {**PRICES, "scored": math.inf}},
        {"learning": {"target": 1.0}},
        {"batch": 3},
    ],
)
def test_settings_that_measure_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Settings(**settings)
