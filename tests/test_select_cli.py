"""apportion select as a command: answers from options, a file or a terminal; bad input is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apportion.cli import main
from apportion.cli.select_ask import ask, following
from apportion.survey.profile import Profile, profile

#: The issue's own example.
EXAMPLE = ["--setting", "agentic", "--turns", "40", "--aux-model", "no", "--can-fork", "no", "--budget", "low"]


def _run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    try:
        main(["select", *argv])
        status = 0
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    said = capsys.readouterr()
    return status, said.out, said.err


def _json(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    status, out, err = _run(capsys, *argv, "--json")
    assert status == 0, err
    return json.loads(out)


def test_the_example_of_the_issue_is_answered_without_asking(capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, *EXAMPLE)
    trees = {t["id"]: t for t in found["trees"]}
    assert [c["method"] for c in trees["figure"]["candidates"]] == ["c3", "ccpo", "hcapo", "igpo", "craft", "appo"]
    assert [s["node"] for s in trees["figure"]["trace"]] == ["setting", "horizon"]
    assert trees["guide"]["open"][0]["answer"][0].startswith("--step-verifier")
    assert {"carl", "c3"} <= {d["method"] for d in found["disagreements"]}
    ours = found["measured"]
    assert ours["candidates"]
    assert all(not c["needs"] for c in ours["candidates"])
    assert "vineppo" in {o["entrant"] for o in ours["out"]}
    assert ours["distance"] > 0
    assert found["next"]["code"].startswith('ap.assign(batch, "')
    assert found["next"]["verl"]
    assert found["next"]["trl"]


def test_the_answer_reads_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _run(capsys, *EXAMPLE, "--T", "8000")
    assert status == 0
    for part in ("Fig. 4", "not answered", "Where they disagree", "turns <= 30", "rollout", "distance", "ap.assign(batch"):
        assert part in out
    assert max(len(line) for line in out.splitlines()) <= 130


def test_a_file_of_answers_does_what_options_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "setting.yaml"
    path.write_text("setting: agentic\nturns: 40\naux_model: no\ncan-fork: no\nbudget: low\n")
    assert _json(capsys, "--profile", str(path)) == _json(capsys, *EXAMPLE)
    status, _, err = _run(capsys, "--profile", str(path), "--turns", "20")
    assert status == 2
    assert err == "apportion: --turns 20, but setting.yaml says turns: 40\n"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "an answer is missing: --setting"),
        (["--setting", "agentic"], "an answer is missing: --turns"),
        (["--setting", "agentic", "--turns", "9"], "an answer is missing: --aux-model"),
        (["--setting", "reasoning"], "an answer is missing: --cot-tokens"),
        (["--setting", "agentic", "--turns", "-1"], "--turns -1: expected at least 1"),
        (["--setting", "agentic", "--G", "0"], "--G 0: expected at least 1"),
        (["--setting", "reasoning", "--cot-tokens", "9", "--agents", "3"], "several agents are --setting multi-agent"),
        (["--aux-model", "maybe"], "--aux-model maybe: expected yes, no"),
        (["--profile", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (["--compare", "--setting", "agentic"], "--compare goes with --json only"),
        (["--pairs", "--compare"], "goes with --json only"),
    ],
)
def test_bad_input_is_one_sentence_and_status_two(capsys: pytest.CaptureFixture[str], argv: list[str], says: str) -> None:
    status, out, err = _run(capsys, *argv)
    assert status == 2
    assert out == ""
    assert says in err
    assert err.count("\n") == 1


def test_known_pairs_hit_the_figure(capsys: pytest.CaptureFixture[str]) -> None:
    rows = _json(capsys, "--pairs")
    assert {(r["benchmark"], r["method"]) for r in rows} == {
        ("GSM8K", "spo"), ("AIME", "hicra"), ("ALFWorld", "gigpo"), ("ColBench", "sweet_rl"), ("HotpotQA", "carl"),
        ("multi-agent maths", "dr_mas"),
    }  # fmt: skip
    assert all(r["hits"]["figure"] for r in rows)
    assert not all(r["hits"]["guide"] for r in rows)
    assert "figure: 6 of 6" in _run(capsys, "--pairs")[1]


def test_the_comparison_shows_every_selector(capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, "--compare")
    named = [r["selector"] for r in found["rows"]]
    assert {"figure", "table", "guide", "measured", "at random"} <= set(named)
    for row in found["rows"]:
        assert 0 <= row["first"]["low"] <= row["first"]["value"] <= row["first"]["high"] <= 1
        assert row["excess"]["value"] >= 1 - 1e-9
    out = _run(capsys, "--compare")[1]
    assert "measured holds" in out
    assert "which no tree can name" in out
    assert "held-out" in out


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out = _run(capsys, "--compare")[1]
    page = (Path(__file__).parents[1] / "docs" / "select.md").read_text("utf-8")
    block = page.split("<!-- compared -->\n```text\n")[1].split("\n```\n<!-- end of compared -->")[0]
    assert block == "\n".join(line.rstrip() for line in out.strip("\n").splitlines()).strip("\n")


def test_only_what_can_change_something_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    lines = iter(["agentic", "forty", "40", "", "no", "no", "no", "no", "", "low", "yes", ""])

    def prompt(text: str, **_: Any) -> str:
        asked.append(text)
        return next(lines)

    monkeypatch.setattr("typer.prompt", prompt)
    monkeypatch.setattr("typer.echo", lambda text: asked.append(f"said: {text}"))
    found = ask({})
    assert (found.setting, found.turns) == ("agentic", 40)
    assert any("forty: expected a whole number" in text for text in asked)
    assert not any("chain of thought" in text for text in asked)
    assert (
        following(found, {"budget", "step_verifier", "states_repeat", "spans", "judge", "critic", "can_fork", "aux_model"})
        is None
    )


def test_a_team_is_not_asked_for_turns_and_without_a_model_not_for_a_judge() -> None:
    team = profile({"setting": "multi-agent"})
    assert following(team, set()) not in ("turns", "cot_tokens", "setting")
    alone = profile({"setting": "reasoning", "cot_tokens": 10, "budget": "low", "step_verifier": "yes", "aux_model": "no"})
    assert following(alone, {"can_fork"}) is None
    assert following(Profile(), set()) == "setting"


def test_help_and_completion_know_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _run(capsys, "--help")
    assert status == 0
    assert "--setting" in out
    assert "--compare" in out
    from apportion.cli.select import _FIELDS
    from apportion.survey.profile import CHOICES, QUESTIONS

    assert set(_FIELDS) == set(QUESTIONS)
    assert {n: tuple(words.split("|")) for n, (words, _) in _FIELDS.items() if words} == dict(CHOICES)
