"""Contributed runs side by side: only what was measured alike is compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apportion.bench import runner, submission, suites
from apportion.bench.contribute import from_folder
from apportion.bench.submission_form import About, Submission
from apportion.cli import bench_leaderboard, main
from apportion.report import leaderboard
from apportion.report.aggregate import aggregate_rows
from apportion.report.leaderboard import as_run, boards, found_files
from apportion.report.read import read_run, reference_batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs") / "smoke"
    runner.run(suites.plan("smoke", seeds=2, methods=["rloo", "grpo", "gae", "exact"]), made, jobs=1)
    return made


@pytest.fixture(scope="module")
def one(folder: Path) -> Submission:
    return from_folder(folder, About(name="smoke", contributor="somebody", date="2026-01-02"))


def but(one: Submission, **changed: Any) -> Submission:
    content = {**one.model_dump(mode="json"), **changed}
    return submission.check({**content, "sha256": submission.digest(content)}, "changed")


def method(found: dict[str, Any], name: str, score: str = "alignment") -> list[dict[str, Any]]:
    return [r for b in found["boards"] if b["score"] == score for r in b["rows"] if r["method"] == name]


def test_a_submission_says_what_the_run_said(folder: Path, one: Submission) -> None:
    run, again = read_run(folder), as_run(one)
    assert aggregate_rows(again, reference_batch(again)) == aggregate_rows(run, reference_batch(run))


def test_the_same_rows_in_two_files_count_once(one: Submission) -> None:
    found = boards({"a": one, "b": one})
    assert len(found["boards"]) == 2  # learning, gradient
    assert [r["files"] for r in method(found, "grpo")] == [["a", "b"]]
    assert not found["notes"]


def test_files_made_alike_that_disagree_are_said_and_the_first_is_shown(one: Submission) -> None:
    cells = json.loads(one.model_dump_json())["cells"]
    for cell in cells:
        if cell["method"] == "grpo" and cell["measure"] == "gradient":
            cell["metrics"]["inner"] = [2 * v for v in cell["metrics"]["inner"]]
    found = boards({"a": one, "b": but(one, cells=cells)})
    assert len(method(found, "grpo")) == 1
    assert method(found, "grpo")[0]["iqm"] == method(boards({"a": one}), "grpo")[0]["iqm"]
    assert len(found["notes"]) == 1
    assert "grpo" in found["notes"][0]
    assert "disagree" in found["notes"][0]


@pytest.mark.parametrize("what", ["settings", "prices", "task"])
def test_other_settings_prices_or_tasks_are_another_board(one: Submission, what: str) -> None:
    plain = json.loads(one.model_dump_json())
    changes: dict[str, dict[str, Any]] = {
        "settings": {"settings": {**plain["settings"], "group": 4}},
        "prices": {"prices": {**plain["prices"], "scored": 1.0}},
        "task": {"tasks": [{**plain["tasks"][0], "digest": "0" * 64}]},
    }
    found = boards({"a": one, "b": but(one, **changes[what])})
    assert len({b["fingerprint"] for b in found["boards"]}) == 2
    assert all(len(b["files"]) == 1 for b in found["boards"])


def test_other_code_is_the_same_board_and_a_row_of_its_own(one: Submission) -> None:
    found = boards({"a": one, "b": but(one, code="0" * 64)})
    assert len({b["fingerprint"] for b in found["boards"]}) == 1
    assert len(method(found, "grpo")) == 2


def test_oracles_are_shown_last_and_never_ranked(one: Submission) -> None:
    rows = next(b["rows"] for b in boards({"a": one})["boards"] if b["score"] == "alignment")
    assert rows[-1]["method"] == "exact"
    assert rows[-1]["rank"] is None
    assert rows[-1]["iqm"]["value"] > rows[0]["iqm"]["value"]
    assert [r["rank"] for r in rows[:-1]] == [1, 2, 3]


def test_a_rank_is_a_range_where_intervals_overlap(one: Submission) -> None:
    """gae is turned round, so that it is last for certain; the other two cannot be told apart from two seeds."""
    cells = json.loads(one.model_dump_json())["cells"]
    for cell in cells:
        if cell["measure"] == "gradient":
            scale = {"gae": -1.0, "rloo": 0.9, "grpo": 1.0}.get(cell["method"], 1.0)
            cell["metrics"] |= {"inner": [scale * v for v in (8e-6, 9e-6)], "norm2": [1e-4, 1e-4], "truth2": [1e-6, 1e-6]}
    rows = {
        r["method"]: r for b in boards({"a": but(one, cells=cells)})["boards"] if b["score"] == "alignment" for r in b["rows"]
    }
    assert (rows["gae"]["rank_low"], rows["gae"]["rank_high"]) == (3, 3)
    for name in ("rloo", "grpo"):
        assert (rows[name]["rank_low"], rows[name]["rank_high"]) == (1, 2)


def test_the_command_reads_folders_and_escapes_names(one: Submission, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    submission.write(one, tmp_path / "a|b.json.gz")
    assert [p.name for p in found_files([tmp_path])] == ["a|b.json.gz"]
    with pytest.raises(SystemExit) as end:
        main(["bench", "leaderboard", str(tmp_path), "--markdown"])
    assert not end.value.code
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 1")]
    assert lines
    assert all(line.replace(r"\|", "").count("|") == 7 for line in lines)


def test_the_command_names_what_it_was_not_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", "leaderboard", str(tmp_path)])
    assert end.value.code == 2
    assert "bench submit" in capsys.readouterr().err


def test_who_was_measured_on_some_of_the_tasks_is_shown_and_not_ranked() -> None:
    def row(method: str, value: float, tasks: list[str]) -> dict[str, Any]:
        iqm = {"value": value, "low": value - 0.01, "high": value + 0.01}
        more = {"oracle": False, "own": False, "poi": iqm, "gap": iqm, "runs": 2, "of": 2, "bound": False, "files": ["a"]}
        return {"method": method, "score": "alignment", "iqm": iqm, "tasks": tasks, "contributor": "x", "code": "0", **more}

    held = {"held": {"1": row("chooser", 0.9, ["easy"]), "2": row("rloo", 0.5, ["easy", "hard"])}}
    board = leaderboard._ranked(held, "alignment")
    assert [(r["method"], r["rank"], r["rank_low"]) for r in board["rows"]] == [("rloo", 1, 1), ("chooser", None, None)]
    assert [bench_leaderboard._cells(r)[0] for r in board["rows"]] == ["1", "–"]
