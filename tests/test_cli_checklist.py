"""``apportion checklist``: forms written, examined, counted and rendered, with real files; the page of the docs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from apportion.checklist.form import load
from apportion.checklist.items import extension, items
from apportion.checklist.page import table
from apportion.cli import main

from .checklist_forms import full
from .commands import typed

PAGE = (Path(__file__).parents[1] / "docs" / "checklist.md").read_text(encoding="utf-8")


pytestmark = pytest.mark.usefixtures("terminal")


def run(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    return typed(capsys, "checklist", *shlex.split(line))


def test_init_writes_a_form_and_never_over_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "init --title 'A paper' --method gigpo --setting agentic,reasoning")[0] == 0
    form = load(Path("report.yaml")).form
    assert (form.title, form.method, form.setting) == ("A paper", "gigpo", ("agentic", "reasoning"))
    assert form.extension is None
    code, _, err = run(capsys, "init --extension")
    assert (code, load(Path("report.yaml")).form) == (2, form)
    assert "report.yaml exists" in err
    assert run(capsys, "init --extension --force -o report.yaml")[0] == 0
    assert load(Path("report.yaml")).form.extension is not None
    assert [path.name for path in Path().iterdir()] == ["report.yaml"]


def test_init_to_the_terminal_writes_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "init -o - --setting multi-agent")
    assert code == 0
    assert "setting: [multi-agent]" in out
    assert not [*Path().iterdir()]


def test_init_suggests_the_nearest_setting(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "init --setting agentc")
    assert (code, err) == (2, "apportion: --setting agentc: did you mean agentic?\n")
    assert not [*Path().iterdir()]


def test_lint_fails_with_item_line_and_what_to_add(capsys: pytest.CaptureFixture[str]) -> None:
    document = full()
    text = document.text().replace("hours: 640.5", "hours:")
    Path("report.yaml").write_text(text)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if row.strip().startswith("hours:"))
    code, out, _ = run(capsys, "lint report.yaml")
    assert code == 1
    assert f"report.yaml:{line}:7: error: gpu_hours: hours is missing" in out
    assert items()["gpu_hours"].add in " ".join(out.split())
    assert out.endswith("1 error, 0 warnings\n")
    code, out, _ = run(capsys, "lint --json report.yaml")
    found = json.loads(out)
    assert (code, found["errors"], found["warnings"]) == (1, 1, 0)
    assert found["findings"][0] | {"says": ""} == {
        "level": "error", "item": "gpu_hours", "line": line, "column": 7, "says": "", "add": items()["gpu_hours"].add,
    }  # fmt: skip


def test_lint_passes_what_is_whole_and_warnings_only_when_strict(capsys: pytest.CaptureFixture[str]) -> None:
    full().save(Path("report.yaml"))
    assert run(capsys, "lint --strict report.yaml") == (0, "0 errors, 0 warnings\n", "")
    Path("report.yaml").write_text(full().text().replace('method: "gigpo"', 'method: "gigpoo"'))
    assert run(capsys, "lint report.yaml")[0] == 0
    assert run(capsys, "lint --strict report.yaml")[0] == 1


def test_lint_of_what_cannot_be_read_names_line_and_column(capsys: pytest.CaptureFixture[str]) -> None:
    Path("report.yaml").write_text("schema: 1\ntitle: [a\n")
    code, out, _ = run(capsys, "lint report.yaml")
    assert code == 1
    assert re.search(r"report.yaml:3:1: error: form: ", out)
    assert run(capsys, "lint nothing.yaml")[0] == 2


def test_lint_prints_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    Path("report.yaml").write_text('schema: 1\n"\\e[31m": 1\nclaims: ["better than \\e[2J GRPO"]\n')
    assert "\x1b" not in run(capsys, "lint report.yaml")[1]


def test_score_prints_two_fractions_and_ours_apart(capsys: pytest.CaptureFixture[str]) -> None:
    full().save(Path("report.yaml"))
    code, out, _ = run(capsys, "score report.yaml")
    assert (code, [line.split() for line in out.splitlines()][:2]) == (
        0,
        [["required", "10/10", "reported"], ["recommended", "4/4", "reported"]],
    )
    assert "ours" in out.splitlines()[2]
    found = json.loads(run(capsys, "score --json report.yaml")[1])
    assert (found["required"]["reported"], found["recommended"]["of"], found["method"]) == (10, 4, "gigpo")


@pytest.mark.parametrize(("format", "begins"), [("md", "**Reporting"), ("latex", "% needs"), ("html", "<table")])
def test_render_prints_or_writes(capsys: pytest.CaptureFixture[str], format: str, begins: str) -> None:
    full().save(Path("report.yaml"))
    code, out, _ = run(capsys, f"render report.yaml --format {format}")
    assert (code, out[: len(begins)]) == (0, begins)
    assert run(capsys, f"render report.yaml --format {format} -o table")[0] == 0
    assert Path("table").read_text(encoding="utf-8") == out
    assert run(capsys, f"render report.yaml --format {format} -o table")[0] == 2
    assert run(capsys, f"render report.yaml --format {format} -o table --force")[0] == 0


def test_render_suggests_the_nearest_format(capsys: pytest.CaptureFixture[str]) -> None:
    full().save(Path("report.yaml"))
    assert run(capsys, "render report.yaml --format latx")[2] == "apportion: --format latx: did you mean latex?\n"


def test_a_form_of_version_0_is_read_by_every_command_and_migrated(capsys: pytest.CaptureFixture[str]) -> None:
    Path("old.yaml").write_text("schema: 0\npaper: P\nmethod: gigpo\nsetting: agentic\nitems:\n  1: y  # one\n  6: n\n")
    for command in ("score", "render"):
        code, out, err = run(capsys, f"{command} old.yaml")
        assert (code, "1/10 reported, 1 not reported, 8 unanswered" in out, "schema 0 -> 1" in err) == (0, True, True)
    assert run(capsys, "lint old.yaml")[0] == 1
    assert run(capsys, "migrate old.yaml -o new.yaml")[0] == 0
    assert load(Path("new.yaml")).notes == ()
    assert load(Path("new.yaml")).form == load(Path("old.yaml")).form
    assert "# one" in Path("new.yaml").read_text()
    assert run(capsys, "migrate old.yaml -o new.yaml")[0] == 2
    code, out, err = run(capsys, "migrate new.yaml")
    assert (code, out) == (0, Path("new.yaml").read_text())
    assert "present version already" in err


def test_a_newer_form_is_refused_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    Path("report.yaml").write_text("schema: 7\n")
    for command in ("score", "render", "migrate"):
        code, _, err = run(capsys, f"{command} report.yaml")
        assert code == 2
        assert "version 7 is newer" in err


def test_items_are_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "items")
    assert code == 0
    assert all(id_ in out for id_ in items())
    assert not any(f" {id_} " in out for id_ in extension())
    assert all(id_ in run(capsys, "items --extension")[1] for id_ in extension())
    out = " ".join(run(capsys, "items spread failure_runs")[1].split())
    assert items()["spread"].partial in out
    assert extension()["failure_runs"].add in out
    found = json.loads(run(capsys, "items --json")[1])
    assert [one["id"] for one in found] == [*items()]
    assert run(capsys, "items spred")[2] == "apportion: 'spred' is no item; did you mean spread?\n"


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("items", "init", "lint", "render", "score", "migrate"):
        code, out, _ = run(capsys, f"{command} --help")
        assert code == 0
        assert len(out.split("Usage:")[1].split("Options")[0].split()) > 10


def test_the_page_has_the_items_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert table(items().values()) in PAGE
    assert table(extension().values()) in PAGE
    assert run(capsys, "items --markdown")[1] in PAGE


def test_the_page_shows_the_form_as_init_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.search(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert shown
    assert shown[1] in run(capsys, "init -o -")[1]


def test_the_example_of_the_page_runs_and_prints_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```(sh|text)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (commands,) = (text for kind, text in blocks if kind == "sh" and "bench run" in text)
    (shown,) = (text for kind, text in blocks if kind == "text")
    printed = ""
    for line in commands.splitlines():
        with pytest.raises(SystemExit) as exit_:
            main(shlex.split(line)[1:])
        assert not exit_.value.code, line
        out = capsys.readouterr().out
        printed += out if line.split()[2] in ("lint", "score") else ""
    # the line is lint's: where it is depends on how long the run's answers are
    assert re.sub(r"yaml:\d+:", "yaml:LINE:", printed) == re.sub(r"yaml:\d+:", "yaml:LINE:", shown)
    assert Path("checklist.html").read_text().count("manifest.json") > 10
