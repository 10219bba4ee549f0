"""``apportion checklist fill``, ``coverage`` and ``scorecards`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apportion.checklist.form import load, read
from apportion.cli import main
from apportion.survey import records
from apportion.survey.terms import ITEMS

from .fake_run import write_run


def type_(command: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of ``apportion checklist COMMAND``."""
    with pytest.raises(SystemExit) as left:
        main(["checklist", *command.split()])
    out, err = capfd.readouterr()
    code = left.value.code
    return (0 if code is None else int(code)), out, " ".join(err.split())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with a run in it."""
    write_run(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_fill_writes_a_new_form_and_says_what_it_did(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = type_("fill --from-run run --method gigpo", capfd)
    assert status == 0
    form = load(here / "report.yaml").form
    assert form.method == "gigpo"
    assert form.answer("spread").answer == "reported"
    assert form.answer("spread").where == ("manifest.json:seeds", "results.parquet:learning.final")
    assert "results.parquet:learning.final" in out
    assert "Not filled:" in out
    assert "credit_ablation: the run compares whole methods" in out
    filled = [*form.items.values(), *(form.extension or {}).values()]
    assert f"report.yaml: {sum(a.answer != 'unanswered' for a in filled)} filled from bench" in out


def test_a_second_fill_keeps_and_replace_replaces(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    type_("fill --from-run run --method gigpo", capfd)
    text = (here / "report.yaml").read_text()
    (here / "report.yaml").write_text(text.replace("kind: std", "kind: interval"))
    _, out, _ = type_("fill --from-run run", capfd)  # the form knows its method by now
    assert " 0 filled from bench" in out
    assert "kind: interval" in (here / "report.yaml").read_text()
    type_("fill --from-run run --replace", capfd)
    assert load(here / "report.yaml").form == read(text).form


def test_a_dry_run_writes_nothing(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = type_("fill --from-run run --method gigpo --dry-run", capfd)
    assert status == 0
    assert "would be filled" in out
    assert not (here / "report.yaml").exists()


def test_fill_as_json_lists_values_and_reasons(capfd: pytest.CaptureFixture[str]) -> None:
    _, out, _ = type_("fill --from-run run --method gigpo --json", capfd)
    found = json.loads(out)
    assert found["kind"] == "bench"
    by_item = {one["item"]: one for one in found["filled"]}
    assert by_item["spread"]["value"]["seeds"] == 8
    assert {one["item"] for one in found["not_filled"]} >= {"credit_ablation"}
    assert not {*by_item} & {one["item"] for one in found["not_filled"]}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("fill --from-run nowhere", "nowhere: no such folder"),
        ("fill --from-run run", "say which the form is about, with --method"),
        ("fill --from-run run --method gigpq", "method = 'gigpq': not in this run"),
        ("coverage --origin primry", "--origin primry: did you mean primary?"),
        ("scorecards higra", "no record 'higra'; did you mean hicra?"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(
    here: Path, capfd: pytest.CaptureFixture[str], command: str, says: str
) -> None:
    status, _, err = type_(command, capfd)
    assert status == 2
    assert says in err
    assert not (here / "report.yaml").exists()


def test_a_broken_form_is_left_as_it_is(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "mine.yaml").write_text("schema: 1\nitems:\n  spred: {}\n")
    status, _, err = type_("fill mine.yaml --from-run run --method gigpo", capfd)
    assert status == 2
    assert "mine.yaml: line 3" in err
    assert "spread" in err
    assert (here / "mine.yaml").read_text() == "schema: 1\nitems:\n  spred: {}\n"


def test_coverage_draws_one_character_a_paper_with_every_definition(capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = type_("coverage", capfd)
    assert status == 0
    printed = out.splitlines()
    rows = [line.split("|") for line in printed if line.count("|") == 2]
    for row, below in zip(rows, (printed[i + 1] for i, line in enumerate(printed) if line.count("|") == 2), strict=True):
        row[2] = row[2] or below  # counts that do not fit beside the bar stand below it
    assert [row[0].split()[1] for row in rows] == [i for i in ITEMS if i not in _RECOMMENDED] + list(_RECOMMENDED)
    assert {len(row[1]) for row in rows} == {41}
    for row in rows:
        said = {word: int(count) for count, word in (part.split(" ", 1) for part in row[2].strip().split(", "))}
        assert row[1].count("█") + row[1].count("#") == said["reported"]
        assert row[1].count("?") == said["unknown"]
    assert out.count("reported: ") >= 14
    for published in ("GPU-hours: 0 yes, of 41", "compute-controlled baseline: 0 yes, of 41", "19 full, 21 partial"):
        assert published in out
    assert "why they part" in out


_RECOMMENDED = ("credit_ablation", "spread", "credit_overhead", "length_distribution")


def test_coverage_as_json_names_papers_and_sources(capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(type_("coverage --json", capfd)[1])
    assert [one["id"] for one in found["items"]] == list(ITEMS)
    for one in found["items"]:
        assert {"reported", "partial", "not_reported", "not_applicable"} == set(one["definitions"])
        assert sum(one["counts"].values()) == found["entered"]
        assert {p for ids in one["papers"].values() for p in ids} == set(found["papers"]) <= set(records())
    only = json.loads(type_("coverage --json --origin survey", capfd)[1])
    assert all(set(one["from"]) <= {"survey"} for one in only["items"])


def test_scorecards_are_printed_with_two_fractions(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = type_("scorecards", capfd)
    assert status == 0
    assert out.split("HICRA\n")[1].split("\n")[:2] == [
        "  required     5/10 reported, 2 partial, 2 not reported, 1 unknown",
        "  recommended  1/4 reported, 2 partial, 1 unknown",
    ]
    assert out.count("not scored") == 6  # two items of three papers
    monkeypatch.setenv("COLUMNS", "60")
    out = type_("scorecards pure gigpo c3 carl hicra", capfd)[1]
    assert max(map(len, out.split("\nPURE\n")[0].splitlines())) <= 60
    assert out.count("gpu_hours") == 3  # two papers a table
    found = json.loads(type_("scorecards gigpo --json", capfd)[1])
    assert found["gigpo"]["answers"]["metric"]["where"].startswith("primary")
