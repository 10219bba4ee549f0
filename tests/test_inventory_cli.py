"""``apportion inventory``: every command, with real files; and what a shell completes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from apportion.survey import papers, query, records
from apportion.survey.export import FORMATS
from apportion.survey.validate import validate

from .commands import typed
from .papers import hostile
from .test_records import GOOD


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    return typed(capsys, "inventory", *argv)


def test_list_has_a_line_a_record_within_100_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    status, out, _ = run(capsys, "list")
    assert status == 0
    assert {line.split()[0] for line in out.splitlines() if re.match(r"[a-z]\w+ +\d{4}", line)} == set(records())
    assert max(map(len, out.splitlines())) <= 100
    assert f"{len(records())} records" in out
    for found in records().values():
        (line,) = [line for line in out.splitlines() if line.split()[:1] == [found.id]]
        assert line.split()[1] == found.date
        assert (found.labels("methodology") or ("unknown",))[0].split("-")[0] in line


def test_list_keeps_every_column_on_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = run(capsys, "list")[1]
    assert out.split("\n")[0].split() == ["id", "date", "setting", "granularity", "methodology", "ev.", "here"]
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"^acpo .* information- +\? +yes", out, re.MULTILINE)


def test_list_filters(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "list", "--granularity", "turn", "--setting", "agentic", "--needs", "none", "--json")
    rows = json.loads(out)
    assert [r["id"] for r in rows] == [r.id for r in papers(granularity="turn", setting="agentic", needs="none")] != []
    _, out, _ = run(capsys, "list", "--evidence", "S", "--evidence", "L", "--implemented", "--json")
    assert [r["id"] for r in json.loads(out)] == [r.id for r in papers(evidence=["S", "L"], implemented=True)] != []
    _, out, _ = run(capsys, "list", "--search", "no such words anywhere")
    assert "0 records" in out


def test_an_unknown_word_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "list", "--granularity", "tunr")
    assert (status, out) == (2, "")
    assert err == "apportion: no granularity 'tunr'; did you mean turn?\n"


def test_show_prints_a_record_by_any_name(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "show", "arXiv:2504.15275")
    assert status == 0
    assert "PURE (pure)" in out
    assert "companion: taxonomy grid" in out
    status, _, err = run(capsys, "show", "gigop")
    assert status == 2
    assert "did you mean gigpo" in err


def test_show_as_json_is_the_record_and_what_follows_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", "pure", "--json")
    said = json.loads(out)
    assert said["record"]["id"] == "pure"
    assert said["derived"]["evidence"] == "S"
    assert said["derived"]["sources_differ_on"] == ["methodology"]


@pytest.mark.parametrize("format_", FORMATS)
def test_export_writes_a_file_of_each_format(capsys: pytest.CaptureFixture[str], tmp_path: Path, format_: str) -> None:
    path = tmp_path / "out"
    status, out, _ = run(capsys, "export", "--format", format_, "--setting", "multi-agent", "-o", str(path))
    assert (status, out) == (0, "")
    assert path.stat().st_size > 500
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_export_knows_the_format_by_the_ending(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(capsys, "export", "--snapshot", "baseline", "-o", str(tmp_path / "a.yml"))
    assert validate(tmp_path / "a.yml").count == len(papers(snapshot="baseline"))
    status, _, err = run(capsys, "export", "-o", str(tmp_path / "a.xlsx"))
    assert (status, list(tmp_path.glob("*.xlsx"))) == (2, [])
    assert "csv, json, yaml" in err


def test_an_export_is_valid_and_one_that_was_changed_is_not(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    run(capsys, "export", "-o", str(path))
    status, out, _ = run(capsys, "validate", str(path))
    assert status == 0, out
    assert f"all.json: valid, {len(records())} records" in out
    path.write_text(path.read_text().replace('"arxiv": "2504.15275"', '"arxiv": "pure"'))
    status, out, _ = run(capsys, "validate", str(path))
    assert status == 1
    line = int(re.findall(r"all\.json:(\d+): records\.\d+\.arxiv", out)[0])
    assert '"arxiv": "pure"' in path.read_text().splitlines()[line - 1]


def test_validate_names_every_error_of_every_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD.replace("name: X\n", "").replace("cost: unknown", "cost: none"))
    (tmp_path / "y.yaml").write_text(GOOD.replace("id: x", "id: y"))
    status, out, _ = run(capsys, "validate", str(tmp_path / "x.yaml"), str(tmp_path / "y.yaml"), str(tmp_path / "z.yaml"))
    assert status == 1
    assert re.search(r"^x\.yaml:1: name: Field required$", out, re.MULTILINE)
    assert re.search(r"^x\.yaml:\d+: cost: say where it comes from", out, re.MULTILINE)
    assert "y.yaml: valid, 1 record\n" in out
    assert "z.yaml: No such file" in out
    assert run(capsys, "validate", str(tmp_path / "x.yaml"), str(tmp_path / "y.yaml"))[0] == 1, (
        "the last being valid is no excuse"
    )


def test_stats_as_text_and_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    status, out, _ = run(capsys, "stats", "--snapshot", "survey")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    assert "Without an implementation" in out
    _, as_json, _ = run(capsys, "stats", "--snapshot", "survey", "--json")
    said = json.loads(as_json)
    assert said["records"] == len(papers(snapshot="survey"))
    assert f"Without an implementation: {len(said['not_implemented'])}" in out
    assert all(re.search(rf"\b{id_}\b", out) for id_ in said["not_implemented"])


def test_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "schema")
    assert json.loads(out)["properties"]["granularity"]["minItems"] == 1


def test_hostile_text_reaches_no_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "records", lambda: {"hostile": hostile()})
    for argv in (["show", "hostile"], ["list"], ["stats"]):
        _, out, _ = run(capsys, *argv)
        assert "hostile" in out
        assert "\x1b" not in out
        assert "\u202e" not in out
    _, out, _ = run(capsys, "show", "hostile")
    assert "[bold]markup[/bold]" in out


@pytest.mark.parametrize("command", ["list", "show", "export", "stats", "validate", "schema"])
def test_help_reads_well(capsys: pytest.CaptureFixture[str], command: str) -> None:
    status, out, _ = run(capsys, command, "--help")
    assert status == 0
    assert len(out.splitlines()) > 6


def complete(*words: str) -> list[str]:
    """What bash would offer after these words, the last of which is begun."""
    environment = os.environ | {
        "_APPORTION_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("apportion", *words)),
        "COMP_CWORD": str(len(words)),
    }
    code = "from apportion.cli import main; main()"
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert not said.stderr, said.stderr
    return said.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("inventory", "show", "gi"), ["gigpo"]),
        (("explain", "gi"), ["gigpo"]),
        (("inventory", "list", "--granularity", "t"), ["token", "turn", "trajectory"]),
        (("inventory", "stats", "--needs", "cri"), ["critic"]),
        (("inventory", "export", "--format", "p"), ["parquet"]),
        (("inventory", "sch"), ["schema"]),
        (("inventory", "figure", "--snapshot", "a"), ["all"]),
        (("checklist", "items", "spr"), ["spread"]),
        (("checklist", "scorecards", "gi"), ["gigpo"]),
        (("checklist", "coverage", "--origin", "s"), ["survey", "secondary"]),
    ],
)
def test_the_shell_completes_ids_and_words(words: tuple[str, ...], offered: list[str]) -> None:
    assert complete(*words) == offered


def test_ids_are_offered_without_reading_a_record() -> None:
    code = "import sys\nfrom apportion.cli.inventory import _ids\nprint(_ids('')[0], *sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == next(iter(records()))
    assert not {"pydantic", "ruamel.yaml"} & set(said)


def test_every_id_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    from apportion.cli.inventory import _ids
    from apportion.cli.methods import _complete_ids
    from apportion.registry import methods

    assert _ids("") == list(records())
    assert _complete_ids("") == list(methods())


def test_completion_can_be_installed() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "from apportion.cli import main; main(['--show-completion', 'bash'])"],
        env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "_APPORTION_COMPLETE=complete_bash" in shown.stdout
