"""``apportion methods`` and ``apportion explain``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import apportion as ap

from .commands import typed as run


def test_methods_lists_every_method_within_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = run(capsys, "methods")
    assert status == 0
    assert {line.split()[0] for line in out.splitlines() if line and not line.startswith(" ")} >= set(ap.methods())
    assert max(len(line) for line in out.splitlines()) <= 80


def test_methods_as_json_says_what_each_needs(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "methods", "--json")
    rows = {row["id"]: row for row in json.loads(out)}
    assert set(rows) == set(ap.methods())
    assert rows["rloo"]["reads"] == ["group", "reward"]
    assert rows["rloo"]["methodology"] == "monte-carlo"
    assert rows["rloo"]["unbiased"] == "yes"


@pytest.mark.parametrize("id_", ap.methods())
def test_explain_shows_formula_needs_and_an_example_that_runs(capsys: pytest.CaptureFixture[str], id_: str) -> None:
    status, out, _ = run(capsys, "explain", id_)
    assert status == 0
    assert "Source:" in out
    spec = ap.get(id_)
    for name in (*spec.reads, *spec.evidence, *spec.options):
        assert name in out
    shown = [line.strip() for line in out.splitlines()]
    code = [line.removeprefix(">>> ") for line in shown if line.startswith(">>> ")]
    names: dict[str, object] = {}
    exec("\n".join(code[:-1]), names)
    got = eval(code[-1], names)
    assert [round(v, 4) for v in got.tolist()] == json.loads(shown[shown.index(">>> " + code[-1]) + 1])


def test_explain_as_json_holds_the_same_facts(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "explain", "rloo", "--json")
    facts = json.loads(out)
    assert facts["example"] == {"field": "unit", "values": [1.0, -1.0]}
    assert facts["gives"] == {"kind": "advantage", "level": "trajectory", "ratio": "token", "denominator": "trajectory"}
    assert facts["options"] == {"single": "'error'"}
    assert "n/(n-1)" in facts["formula"]
    assert "2402.14740" in facts["paper"]


def test_the_page_of_methods_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "methods", "--markdown")
    page = Path(__file__).parents[1] / "docs" / "methods.md"
    assert page.read_text() == out, "docs/methods.md is stale: make docs"
    assert set(re.findall(r"^\| \[`(\w+)`\]", out, re.MULTILINE)) == set(ap.methods())


def test_an_unknown_method_is_one_clean_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "explain", "rlo")
    assert status == 2
    assert out == ""
    assert err.startswith("apportion: no method 'rlo'; did you mean rloo")
    assert err.count("\n") == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"apportion {ap.__version__}\n", "")
