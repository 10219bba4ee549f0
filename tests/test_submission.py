"""Contributed runs: whole or refused, and the same when run again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from apportion.bench import catalog, runner, submission, suites
from apportion.bench.contribute import from_folder, rerun
from apportion.bench.submission_form import About
from apportion.cli import main
from apportion.errors import BenchError

ABOUT = About(name="smoke", contributor="somebody", date="2026-01-02")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs") / "smoke"
    runner.run(suites.plan("smoke", seeds=2), made, jobs=1)
    return made


@pytest.fixture(scope="module")
def content(folder: Path) -> dict[str, Any]:
    made: dict[str, Any] = from_folder(folder, ABOUT).model_dump(mode="json")
    return made


def resigned(content: dict[str, Any]) -> dict[str, Any]:
    """As somebody would who edits a file and knows how its digest is made."""
    return {**content, "sha256": submission.digest(content)}


def test_a_file_is_read_back_as_it_was_written_packed_or_not(folder: Path, tmp_path: Path) -> None:
    made = from_folder(folder, ABOUT)
    for name in ("a.json", "a.json.gz"):
        submission.write(made, tmp_path / name)
        assert submission.read(tmp_path / name) == made
    again = from_folder(folder, ABOUT)
    submission.write(again, tmp_path / "b.json.gz")
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def test_the_file_holds_every_number_of_the_run(folder: Path, content: dict[str, Any]) -> None:
    from pyarrow import parquet  # type: ignore[import-untyped]

    table = parquet.read_table(folder / "results.parquet").to_pylist()
    found = {
        (c["method"], c["task"], seed, c["measure"], name, c["batch"], c["lr"]): values[i]
        for c in content["cells"]
        for name, values in c["metrics"].items()
        for i, seed in enumerate(content["seeds"])
    }
    assert len(found) == len(table)
    for row in table:
        lr = 0.0 if row["lr"] != row["lr"] else row["lr"]
        value = found[row["method"], row["task"], row["seed"], row["measure"], row["metric"], row["batch"], lr]
        assert value == row["value"] or (value is None and row["value"] != row["value"])


def test_the_published_schema_accepts_it_and_refuses_less(content: dict[str, Any]) -> None:
    schema = Draft202012Validator(submission.schema())
    schema.validate(content)
    assert not schema.is_valid({k: v for k, v in content.items() if k != "code"})


def test_an_edited_number_is_noticed(content: dict[str, Any]) -> None:
    edited = json.loads(json.dumps(content))
    edited["cells"][0]["metrics"]["inner"][0] *= 2
    with pytest.raises(BenchError, match="edited"):
        submission.check(edited, "a.json")


def broken(content: dict[str, Any]) -> dict[str, tuple[dict[str, Any], str]]:
    def but(**changed: Any) -> dict[str, Any]:
        return json.loads(json.dumps({**content, **changed}))  # type: ignore[no-any-return]

    short, null, stranger, twice, alone, bare, sparse, fine, loud, newer, odd = (but() for _ in range(11))
    short["cells"][0]["metrics"]["inner"].pop()
    null["cells"][0]["metrics"]["inner"][0] = None
    stranger["cells"][0]["method"] = "nobody"
    twice["cells"].append(twice["cells"][0])
    alone["cells"] = [c for c in alone["cells"] if c["method"] != "rloo"]
    del bare["cells"][0]["metrics"][next(iter(bare["cells"][0]["metrics"]))]
    for metrics in (c["metrics"] for c in bare["cells"] if c.get("measure") == "gradient"):
        metrics.pop("norm2", None)
    sparse["cells"] = [c for c in sparse["cells"] if (c.get("measure"), c["method"]) != ("cost", "grpo")]
    fine["cells"] += [{**c, "lr": 0.21} for c in fine["cells"] if (c.get("measure"), c["method"]) == ("learning", "grpo")]
    for task in loud.get("tasks", []):
        task["title"] = "\x1b[2J"
    newer.setdefault("settings", {}).setdefault("learning", {})["optimiser"] = "sgd"
    odd.setdefault("settings", {})["group"] = 0
    return {
        "a setting of another version": (newer, "settings.learning.optimiser: this version of apportion has no such setting"),
        "a setting out of range": (odd, "settings.group: Input should be greater than or equal to 1"),
        "a seed is missing": (short, "has 1 values for 2 seeds"),
        "a number is null": (null, "inner is null"),
        "a metric is missing": (bare, "is missing; every finished cell has it"),
        "a row is missing": (sparse, "grpo on bifurcation/horizon-10: its row of cost is missing"),
        "a rate tried in addition": (fine, "its row of learning at batch 64, rate 0.21 is not among the settings"),
        "a terminal escape in a title": (loud, "tasks: holds control characters"),
        "a method is not defined": (stranger, "method is not defined"),
        "a row is there twice": (twice, "there twice"),
        "no numeraire": (alone, "rloo"),
        "another protocol": (but(protocol="0.9"), "protocol"),
        "another kind": (but(kind="something"), "not a contributed run"),
        "a field of its own": (but(rank=1), "rank"),
        "a terminal escape": (but(suite="\x1b[2Jsmoke"), "control characters"),
        "a seed twice": (but(seeds=[0, 0]), "twice"),
        "a date that is none": (but(about={**content["about"], "date": "yesterday"}), "about.date"),
    }


@pytest.mark.parametrize("name", sorted(broken({"about": {}, "cells": [{"metrics": {"inner": [0]}, "method": ""}]})))
def test_what_is_not_whole_is_refused_by_name_even_when_signed_anew(content: dict[str, Any], name: str) -> None:
    made, says = broken(content)[name]
    with pytest.raises(BenchError, match=says) as error:
        submission.check(resigned(made), "a.json")
    assert str(error.value).startswith("a.json")


def test_an_unfinished_run_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    described = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**described, "missing": ["a+b+cost+0"]}))
    with pytest.raises(BenchError, match="not finished"):
        from_folder(copy, ABOUT)


def test_results_that_are_not_those_of_the_cells_are_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    import pyarrow.compute as pc  # type: ignore[import-untyped]
    from pyarrow import parquet

    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    table = parquet.read_table(copy / "results.parquet")
    at = table.schema.get_field_index("value")
    parquet.write_table(table.set_column(at, "value", pc.multiply(table["value"], 1.01)), copy / "results.parquet")
    with pytest.raises(BenchError, match="is not what cells/"):
        from_folder(copy, ABOUT)


def test_a_run_with_undefined_numbers_is_accepted(tmp_path: Path) -> None:
    """Where no choice of the policy is worth more than another, a correlation with its advantage is undefined: kept as null."""
    runner.run(suites.plan("smoke", seeds=1, tasks=["witness/plus"]), tmp_path / "run", jobs=1)
    made = from_folder(tmp_path / "run", ABOUT)
    [values] = [c.metrics["correlation"] for c in made.cells if (c.method, c.measure) == ("rloo", "identification")]
    assert values == (None,)


def test_a_method_whose_groups_the_smallest_suite_has_not_is_run_again(tmp_path: Path) -> None:
    made = suites.plan("smoke", seeds=1)
    settings = made.settings.model_copy(update={"measures": ("gradient",)})
    wide = {"rloo": made.entrants["rloo"], "rloo@group=32": catalog.entrant("rloo@group=32")}
    runner.run(dataclasses.replace(made, settings=settings, entrants=wide), tmp_path / "run", jobs=1)
    told = rerun(from_folder(tmp_path / "run", ABOUT), 2)
    assert (len(told.cells), told.differ, told.skipped) == (2, (), ())


def test_cells_run_again_are_the_same_bit_for_bit_and_a_changed_one_differs(content: dict[str, Any]) -> None:
    found = submission.check(content, "a.json")
    everything = rerun(found, 100)
    assert everything.exact
    assert len(everything.cells) == 16  # 2 methods, 2 seeds, 4 measures
    assert not everything.differ
    assert not everything.skipped
    edited = json.loads(json.dumps(content))
    cell = next(c for c in edited["cells"] if c["measure"] == "identification")
    cell["metrics"]["leak_routine"][1] += 1e-9
    told = rerun(submission.check(resigned(edited), "a.json"), 100)
    assert told.differ == (f"bifurcation~horizon-10+{cell['method']}+identification+1",)


def test_other_code_is_compared_within_a_tolerance_and_says_so(content: dict[str, Any]) -> None:
    edited = json.loads(json.dumps({**content, "code": "0" * 64}))
    for cell in edited["cells"]:
        if cell["measure"] == "identification":
            cell["metrics"]["leak_routine"] = [v * (1 + 1e-9) for v in cell["metrics"]["leak_routine"]]
    told = rerun(submission.check(resigned(edited), "a.json"), 100)
    assert not told.exact
    assert not told.differ


def test_tasks_and_methods_that_mean_something_else_here_are_skipped_and_named(content: dict[str, Any]) -> None:
    edited = json.loads(json.dumps(content))
    edited["tasks"][0]["digest"] = "0" * 64
    told = rerun(submission.check(resigned(edited), "a.json"), 3)
    assert told.cells == ()
    assert told.skipped == ("task bifurcation/horizon-10",)


def command(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        main(["bench", "submit", *argv])
    told = capsys.readouterr()
    return int(end.value.code or 0), told.out + told.err


def test_the_command_writes_and_checks(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "one.json"
    status, told = command(capsys, str(folder), "--out", str(file), "--contributor", "me", "--json")
    assert status == 0, told
    assert json.loads(told)["sha256"] == submission.read(file).sha256
    status, told = command(capsys, "--check", str(file), "--rerun", "2")
    assert status == 0
    assert "2 of 2 cells run again are the same bit for bit" in told
    file.write_text(file.read_text().replace('"suite":"smoke"', '"suite":"other"'))
    status, told = command(capsys, "--check", str(file))
    assert status == 1
    assert "edited" in told
    status, told = command(capsys, str(folder), "--out", str(file))
    assert status == 2
    assert "contributor" in told


def test_a_setting_that_is_not_known_here_is_one_error_before_anything_runs_again(content: dict[str, Any]) -> None:
    found = submission.check(content, "a.json")
    newer = found.model_copy(update={"settings": {**found.settings, "optimiser": "sgd"}})
    with pytest.raises(BenchError, match=r"^settings\.optimiser: this version of apportion has no such setting$"):
        rerun(newer, 1)
