"""Runs in the schema of Every Eval Ever, checked against a copy of that schema (MIT, its licence beside it)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from apportion.bench import runner, suites
from apportion.cli import main
from apportion.report.eee import VERSION, export
from apportion.report.read import read_run

SCHEMA = json.loads((Path(__file__).parent / "data" / "every_eval_ever" / "eval.schema.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs") / "smoke"
    runner.run(suites.plan("smoke", seeds=2, methods=["rloo", "exact", "vineppo@k=2"]), made, jobs=1)
    return made


@pytest.fixture(scope="module")
def records(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    files = export(read_run(folder), tmp_path_factory.mktemp("eee"), stamp=1700000000, organization="somebody")
    return {path.parent.name: json.loads(path.read_text("utf-8")) for path in files}


def test_every_record_follows_the_schema(records: dict[str, dict[str, Any]]) -> None:
    assert SCHEMA["version"] == VERSION
    validator = jsonschema.Draft7Validator(SCHEMA)
    assert len(records) == 3
    for record in records.values():
        validator.validate(record)


def test_scores_are_those_of_the_report(folder: Path, records: dict[str, dict[str, Any]]) -> None:
    from apportion.report.summary import summarise

    found = {r["evaluation_result_id"]: r for r in records["rloo"]["evaluation_results"]}
    row = next(r for r in summarise(folder)["gradient"] if r["method"] == "rloo")
    score = found["bifurcation/horizon-10/alignment"]["score_details"]
    assert score["score"] == row["rho"]["value"]
    assert score["uncertainty"]["confidence_interval"]["lower"] == row["rho"]["low"]
    assert score["uncertainty"]["num_samples"] == 2


def test_what_was_never_reached_has_no_cost_but_a_share(records: dict[str, dict[str, Any]]) -> None:
    found = {r["evaluation_result_id"]: r for r in records["rloo"]["evaluation_results"]}
    assert "bifurcation/horizon-10/learning_cost" not in found
    assert found["bifurcation/horizon-10/learning_reached"]["score_details"]["score"] == 0.0


def test_files_lie_where_the_collection_wants_them_and_say_what_is_ranked(folder: Path, tmp_path: Path) -> None:
    files = export(read_run(folder), tmp_path, stamp=1700000000, organization="somebody")
    v4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    for path in files:
        assert re.fullmatch(rf"data/apportion/apportion/[a-z0-9_.=@-]+/{v4}\.json", path.relative_to(tmp_path).as_posix())
        info = json.loads(path.read_text("utf-8"))["model_info"]
        assert info["id"].split("/")[1] == path.parent.name
        assert "not a language model" in info["additional_details"]["what_is_ranked"]
    again = export(read_run(folder), tmp_path, stamp=1700000000, organization="somebody")
    assert again == files


def test_the_command_refuses_a_relationship_it_does_not_know(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", "export", str(folder), "--out", str(tmp_path), "--organization", "x", "--relationship", "friend"])
    assert end.value.code == 2
    assert "first_party" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
