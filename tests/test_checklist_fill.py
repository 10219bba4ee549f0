"""Filling a form from a run: what the files prove, with their places, and what is left alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from apportion.bench import runner, suites
from apportion.checklist.fill import Finding, Gap, Proof, prove
from apportion.checklist.fill.apply import fill
from apportion.checklist.fill.proof import FillError
from apportion.checklist.form import Answer, read
from apportion.checklist.items import extension, items
from apportion.checklist.lint import lint
from apportion.checklist.template import blank
from apportion.errors import BenchError
from apportion.report.numbers import digits

from .fake_run import write_run


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run: three seeds of GiGPO, VinePPO, CARL and the baselines, as small as the smoke suite."""
    folder = tmp_path_factory.mktemp("runs") / "smoke"
    plan = suites.plan("smoke", methods=["gigpo", "vineppo", "carl", "grpo"], seeds=3)
    assert not runner.run(plan, folder, command="apportion bench run --suite smoke", jobs=2).failed
    return folder


def _found(folder: Path, method: str | None = None, setting: tuple[str, ...] = ("agentic",)) -> dict[str, Finding]:
    return {one.item: one for one in prove(folder, method=method, setting=setting)[1]}


def _proof(found: dict[str, Finding], item: str) -> Proof:
    one = found[item]
    assert isinstance(one, Proof), one
    return one


def _rows(folder: Path, method: str, measure: str, metric: str) -> np.ndarray[Any, Any]:
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    wanted = (method, measure, metric)
    return np.array([r["value"] for r in rows if (r["method"], r["measure"], r["metric"]) == wanted])


def test_every_item_gets_one_finding_and_every_proof_a_place(smoke: Path) -> None:
    kind, findings = prove(smoke, method="gigpo", setting=("agentic",))
    assert kind == "bench"
    assert [one.item for one in findings] == [*items(), *extension()]
    assert all(one.where if isinstance(one, Proof) else one.why for one in findings)
    assert [one.item for one in findings if isinstance(one, Gap)] == ["credit_ablation"]


def test_locators_lead_to_what_they_say(smoke: Path) -> None:
    """Every ``manifest.json:key`` exists, every ``results.parquet:measure.metric`` has rows."""
    manifest = json.loads((smoke / "manifest.json").read_text())
    rows = {(r["measure"], r["metric"]) for r in pq.read_table(smoke / "results.parquet").to_pylist()}
    for method in ("gigpo", "vineppo"):
        for one in prove(smoke, method=method)[1]:
            for place in one.where if isinstance(one, Proof) else ():
                file, _, key = place.partition(":")
                if file == "manifest.json":
                    _walk(manifest, key)
                elif file == "results.parquet":
                    measure, _, metric = key.partition(".")
                    assert any(m == measure and metric in ("", n) for m, n in rows), place
                else:
                    assert file == "timings.parquet" or file.startswith("survey/papers/"), place


def _walk(at: Any, key: str) -> None:
    for part in key.replace("[", ".").replace("]", "").split("."):
        at = at[int(part)] if isinstance(at, list) else at[part]


def test_numbers_are_those_of_the_result_file(smoke: Path) -> None:
    found = _found(smoke, "gigpo")
    budget = _proof(found, "baseline_budget").value or {}
    assert budget["unit"] == "cost"
    assert budget["method"] == pytest.approx(_rows(smoke, "gigpo", "learning", "cost").sum())
    assert budget["baseline"] == pytest.approx(_rows(smoke, "rloo", "learning", "cost").sum())
    final = _rows(smoke, "gigpo", "learning", "final")
    said = _proof(found, "spread")
    assert said.answer == "reported"
    assert said.value == {"kind": "std", "over": "training_seeds", "seeds": 3}
    assert f"{digits(final.mean())} ± {digits(final.std(ddof=1))} (" in said.why
    tokens = _rows(smoke, "gigpo", "learning", "updates").sum() * 64 * 10 * 2
    assert _proof(found, "rollout_budget_tokens").value == {"tokens": tokens}
    assert _proof(found, "failure_runs").value == {"failed": 0, "of": 3}
    assert _proof(found, "tuning_budget_both_arms").value == {"method": 1, "baseline": 1}


def test_the_method_comes_from_registry_and_inventory(smoke: Path) -> None:
    found = _found(smoke, "gigpo")
    assert _proof(found, "credit_unit").value == {"unit": "turn"}
    assert _proof(found, "methodology").value == {"family": "monte-carlo"}
    baseline = _proof(found, "episode_baseline").value or {}
    assert baseline["same_base_model"] is True
    assert "RLOO" in baseline["baseline"]
    assert "GRPO" in baseline["baseline"]
    assert "GiGPO" not in baseline["baseline"]


def test_an_episode_level_method_is_not_its_own_baseline(smoke: Path) -> None:
    assert (_proof(_found(smoke, "grpo"), "episode_baseline").value or {})["baseline"] == "RLOO"


def test_paid_evidence_is_billed_and_its_replays_are_named(smoke: Path) -> None:
    found = _found(smoke, "vineppo")
    amounts = (_proof(found, "credit_overhead").value or {})["amounts"]
    assert amounts["generated"] == pytest.approx(_rows(smoke, "vineppo", "cost", "generated").mean())
    assert amounts["generated"] > 0
    assert amounts["judge_calls"] == 0
    assert (_proof(found, "replay_provenance").value or {})["way"] == "environment_restore"
    free = _found(smoke, "gigpo")
    assert (_proof(free, "credit_overhead").value or {})["amounts"]["generated"] == 0
    assert _proof(free, "replay_provenance").answer == "not_applicable"


def test_tokens_that_a_method_samples_itself_are_not_guessed(smoke: Path) -> None:
    """CARL and VinePPO generate besides the rollouts, and a run does not count that in training."""
    for method in ("carl", "vineppo"):
        assert isinstance(_found(smoke, method)["rollout_budget_tokens"], Gap)


def test_lengths_are_in_the_unit_of_the_setting(smoke: Path) -> None:
    agentic, reasoning = _found(smoke, "gigpo"), _found(smoke, "gigpo", ("reasoning",))
    assert _proof(agentic, "mean_length").value == {"turns": 10, "tokens": 20}
    assert _proof(agentic, "length_distribution").value == {"min": 10, "median": 10, "max": 10, "unit": "turns"}
    assert _proof(reasoning, "length_distribution").value == {"min": 20, "median": 20, "max": 20, "unit": "tokens"}


def test_what_a_run_fills_passes_lint(smoke: Path) -> None:
    document = read(blank("A run", "gigpo", ["agentic"], extended=True))
    done = fill(document, prove(smoke, method="gigpo", setting=("agentic",))[1])
    again = read(document.text())
    assert again.form == document.form
    wrong = [f for f in lint(again) if f.level == "error"]
    assert wrong == []
    assert "# 5. Is there a baseline" in document.text()  # comments are kept
    assert {p.item for p in done.filled} == {*items(), *extension()} - {"credit_ablation"}


def test_long_mappings_and_lists_are_read_back_from_the_text() -> None:
    document = read(blank("A run", "gigpo", ["agentic"]))
    amounts = {
        f"{kind} (forks-{i})": i for i in (20, 100, 500) for kind in ("generated", "env_steps", "judge_calls", "total price")
    }
    places = tuple(f"results.parquet:cost.metric_{i}" for i in range(12))
    said = Answer(answer="reported", value={"amounts": amounts, "per": "trajectory"}, where=places)
    document.put("credit_overhead", said)
    assert read(document.text()).form.answer("credit_overhead") == said


def test_answers_that_are_there_are_kept_unless_replaced(smoke: Path) -> None:
    findings = prove(smoke, method="gigpo", setting=("agentic",))[1]
    document = read(blank("A run", "gigpo", ["agentic"]))
    mine = Answer(answer="not_reported", why="my own word")
    document.put("spread", mine)
    done = fill(document, findings)
    assert [p.item for p in done.kept] == ["spread"]
    assert document.form.answer("spread") == mine
    assert document.form.extension is None  # a form without the extension does not get one
    assert fill(document, findings, replace=True).kept == ()
    assert document.form.answer("spread").answer == "reported"


def test_two_seeds_are_partial_and_one_is_no_spread(tmp_path: Path) -> None:
    two = _found(write_run(tmp_path / "two", seeds=2), "gigpo")["spread"]
    assert isinstance(two, Proof)
    assert (two.answer, (two.value or {})["seeds"]) == ("partial", 2)
    one = _found(write_run(tmp_path / "one", seeds=1), "gigpo")["spread"]
    assert isinstance(one, Gap)
    assert "one seed" in one.why


def test_a_manifest_that_says_less_proves_less(tmp_path: Path) -> None:
    """The fake run's tasks are not known here, and its manifest has no settings, digests or list of failures."""
    found = _found(write_run(tmp_path / "run"), "vineppo", ("reasoning",))
    for item in (
        "base_model",
        "mean_length",
        "length_distribution",
        "metric",
        "gpu_hours",
        "failure_runs",
        "replay_provenance",
        "code_commit",
    ):
        assert isinstance(found[item], Gap), item
    assert _proof(found, "benchmarks").answer == "partial"


def test_seeds_that_did_not_finish_do_not_count(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", seeds=4)
    table = pq.read_table(folder / "results.parquet")
    lost = [m == "gigpo" and s == 3 for m, s in zip(table["method"].to_pylist(), table["seed"].to_pylist(), strict=True)]
    pq.write_table(table.filter(np.logical_not(lost)), folder / "results.parquet")
    found = _found(folder, "gigpo")
    assert (_proof(found, "spread").value or {})["seeds"] == 3
    budget = _proof(found, "baseline_budget")
    assert f"{3 * _settings(folder)} training runs" in budget.why  # the baseline's fourth seed is left out as well


def _settings(folder: Path) -> int:
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    return len({(r["task"], r["batch"], r["lr"]) for r in rows if r["measure"] == "learning" and r["method"] == "gigpo"})


def test_failed_runs_are_counted_from_the_manifest(smoke: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(smoke, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    lost = [f"bifurcation~horizon-10+{method}+{measure}+7" for method, measure in _LOST]
    (folder / "manifest.json").write_text(json.dumps(manifest | {"missing": lost}))
    assert _proof(_found(folder, "gigpo"), "failure_runs").value == {"failed": 1, "of": 4}


_LOST = (("gigpo", "learning"), ("gigpo", "cost"), ("grpo", "learning"))


def test_lengths_weigh_by_the_rollouts_of_training(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    rows = [r for r in pq.read_table(folder / "results.parquet").to_pylist() if r["method"] == "gae" and r["metric"] == "updates"]
    horizon = {"forks-20": 20, "forks-100": 100, "forks-500": 500, "hidden-100": 100}
    rollouts = np.array([r["value"] * r["batch"] for r in rows])
    turns = np.array([horizon[r["task"]] for r in rows])
    found = _found(folder, "gae")
    assert (_proof(found, "mean_length").value or {})["turns"] == pytest.approx(
        (rollouts * turns).sum() / rollouts.sum(), rel=1e-5
    )
    value = _proof(found, "length_distribution").value or {}
    assert (value["min"], value["max"]) == (20, 500)
    below, above = rollouts[turns < value["median"]].sum(), rollouts[turns > value["median"]].sum()
    assert max(below, above) <= rollouts.sum() / 2


def test_an_option_that_sets_the_unit_is_believed_before_the_registry(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert _proof(_found(folder, "gae"), "credit_unit").value == {"unit": "token"}
    manifest = json.loads((folder / "manifest.json").read_text())
    next(e for e in manifest["entrants"] if e["id"] == "gae")["options"] = {"unit": "turn"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    said = _proof(_found(folder, "gae"), "credit_unit")
    assert said.value == {"unit": "turn"}
    assert said.where == ("manifest.json:entrants[2].options.unit",)


def test_several_methods_need_a_name_and_an_unknown_one_is_refused(smoke: Path) -> None:
    with pytest.raises(FillError, match=r"--method.*vineppo"):
        prove(smoke)
    with pytest.raises(FillError, match=r"'tempo': not in this run; it has .*gigpo"):
        prove(smoke, method="tempo")
    assert (_proof(_found(smoke, "GiGPO"), "credit_unit").value or {})["unit"] == "turn"


def test_folders_that_hold_no_run_or_two_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FillError, match="no such folder"):
        prove(tmp_path / "nowhere")
    with pytest.raises(FillError, match=r"no run; expected one of: .*manifest\.json.*trainer_state\.json.*config\.yaml"):
        prove(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BenchError, match=r"results\.parquet"):
        prove(tmp_path)
    (tmp_path / "trainer_state.json").write_text("{}")
    with pytest.raises(FillError, match="several kinds of run"):
        prove(tmp_path)
