"""The shipped results: every method, every test, and what a fresh run of a few gives; the command that makes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apportion.bench.falsifiers import FALSIFIERS, run
from apportion.bench.falsifiers.stored import FILE, code_of, is_current, read, shipped, stored, written
from apportion.bench.falsifiers.together import run_all
from apportion.cli import main
from apportion.errors import BenchError
from apportion.registry import methods

FEW = ["--rollouts", "384"]


def status(words: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def test_every_method_has_a_verdict_of_every_test() -> None:
    assert set(shipped().verdicts) == set(methods())
    for id_, verdicts in shipped().verdicts.items():
        assert [v.name for v in verdicts] == list(FALSIFIERS), id_
        assert all(v.method == id_ and v.outcome and v.adjusted for v in verdicts)


@pytest.mark.parametrize("id_", ["rloo", "gigpo", "dr_mas"])
def test_shipped_results_are_what_a_run_gives(id_: str) -> None:
    """Of cheap methods, to five digits; if this fails, `apportion card run --all --out` the file again."""
    for old, new in zip(stored(id_), run(id_), strict=True):
        assert [n.what for n in old.numbers] == [n.what for n in new.numbers], old.name
        for a, b in zip(old.numbers, new.numbers, strict=True):
            ends = [(n.value, n.low or 0.0, n.high or 0.0) for n in (a, b)]
            assert ends[0] == pytest.approx(ends[1], rel=1e-4, abs=1e-9)
        assert (old.shown is None, old.refuted is None) == (new.shown is None, new.refuted is None)
        if old.shown is None and old.refuted is None:
            assert old.status == new.status


def test_known_answers_stand_in_the_shipped_table() -> None:
    """A plain group baseline: nothing to shuffle, level at routine units, no noise, and it tells a sign in the witness pair."""
    found = {v.name: v for v in stored("rloo")}
    assert found["shuffled"].status == "silent"
    assert found["zero_units"].status == "failed"
    assert "moves no gradient" in found["zero_units"].outcome
    assert found["rewording"].passed
    assert found["witness"].status == "failed"


def test_results_are_read_as_they_were_written() -> None:
    found = {"rloo": run("rloo", ["rewording"], rollouts=384)}
    text = written(found, "apportion card run rloo")
    again = read(text, "here")
    assert again.verdicts == {"rloo": tuple(found["rloo"])}
    assert again.code == {"rloo": code_of("rloo")}
    assert written(again.verdicts, again.command) == text
    with pytest.raises(BenchError, match="here: verdicts"):
        read(text.replace(b'"status": "passed"', b'"status": "fine"'), "here")
    with pytest.raises(BenchError, match="here"):
        read(b"{", "here")


def test_a_changed_method_is_not_current(monkeypatch: pytest.MonkeyPatch) -> None:
    from apportion.bench.falsifiers import stored as module

    now = module.Results(command="", code={"rloo": code_of("rloo")}, verdicts={})
    monkeypatch.setattr(module, "shipped", lambda: now)
    assert is_current("rloo")
    assert not is_current("grpo")
    assert code_of("rloo") != code_of("grpo")


def test_several_methods_are_corrected_together_whatever_the_processes() -> None:
    ids, names = ["exact", "rloo", "remax"], ["sign_flip"]
    one = run_all(ids, names, rollouts=768, jobs=1)
    assert run_all(ids, names, rollouts=768, jobs=2) == one
    assert all(v.adjusted for some in one.values() for v in some)
    assert [one[id_][0].shown for id_ in ids] == [run(id_, names, rollouts=768)[0].shown for id_ in ids]


def test_correction_can_take_a_pass_away() -> None:
    from apportion.bench.falsifiers.verdict import Found, verdicts

    facts: dict[str, object] = {
        "method": "m", "entrant": "m", "needs": "", "oracle": False, "task": "t", "seed": 0, "rollouts": 1,
    }  # fmt: skip
    rows = [(FALSIFIERS["shuffled"], Found(shown=p), facts) for p in (0.001, 0.03, 0.04)]
    assert [v.status for v in verdicts(rows)] == ["passed"] * 3
    assert [v.status for v in verdicts(rows, together=True)] == ["passed", "undecided", "undecided"]


def test_the_command_prints_verdicts_and_writes_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    assert status(["card", "run", "rloo", "--only", "rewording", "--json", "--out", str(file), *FEW]) == 0
    [verdict] = json.loads(capsys.readouterr().out)["rloo"]
    assert (verdict["name"], verdict["status"], verdict["rollouts"]) == ("rewording", "passed", 384)
    assert read(file.read_bytes(), "x").command == "apportion card run rloo --only rewording --rollouts 384"
    assert status(["card", "run", "rloo", "grpo", "--only", "witness", "--jobs", "1", *FEW]) == 0
    table = capsys.readouterr().out
    assert "rloo                FAILED" in table
    assert "Holm" in table


def test_the_command_lists_the_tests(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["card", "run", "--list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(FALSIFIERS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name methods"),
        (["rloo", "--all"], "not both"),
        (["gigop"], "did you mean gigpo"),
        (["rloo", "--only", "shufled"], "did you mean shuffled"),
        (["rloo", "--jobs", "0"], "--jobs 0"),
        (["rloo", "--rollouts", "-5"], "at least 384"),
        (["rloo", "--out", "nowhere/x.json"], "no folder nowhere"),
    ],
)
def test_bad_words_are_refused_before_anything_is_run(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["card", "run", *words]) == 2
    assert says in capsys.readouterr().err


def test_the_file_ships_with_the_package() -> None:
    from importlib.resources import files

    assert files("apportion.bench.falsifiers").joinpath(FILE).is_file()


def test_the_page_shows_the_shipped_table(capsys: pytest.CaptureFixture[str]) -> None:
    """If this fails: put what `apportion card run --shipped` prints into docs/falsifiers.md."""
    assert status(["card", "run", "--shipped"]) == 0
    page = (Path(__file__).parents[1] / "docs" / "falsifiers.md").read_text("utf-8")
    assert f"```\n{capsys.readouterr().out}```" in page
    assert status(["card", "run", "--shipped", "gigpo", "--only", "witness", "--json"]) == 0
    [verdict] = json.loads(capsys.readouterr().out)["gigpo"]
    assert verdict["name"] == "witness"
    assert status(["card", "run", "--shipped", "gigop"]) == 2
    assert "did you mean gigpo" in capsys.readouterr().err
