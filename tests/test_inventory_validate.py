"""What a contributor hears of a record that is not right, and the schema that says the same."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from pydantic import ValidationError

import apportion.survey
from apportion.survey import Record, records
from apportion.survey.derived import plain_record
from apportion.survey.export import export
from apportion.survey.schema import schema
from apportion.survey.validate import validate

from .papers import hostile, known, plain
from .test_records import GOOD

PUBLISHED = json.loads((Path(apportion.survey.__file__).parent / "paper.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(PUBLISHED)


def write(folder: Path, content: str | bytes, name: str = "x.yaml") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_every_error_of_a_record_is_said_with_its_line(tmp_path: Path) -> None:
    text = GOOD.replace("[turn]", "[tun]").replace("spread: unknown", "spread: yes").replace("name: X\n", "")
    found = validate(write(tmp_path, text))
    assert found.count == 0
    where = [re.match(r"x\.yaml:(\d+): ([\w.]+)", line) for line in found.errors]
    assert all(where), found.errors
    lines = {m[2]: text.splitlines()[int(m[1]) - 1] for m in where if m}
    assert set(lines) >= {"name", "checklist.spread"}
    assert lines["checklist.spread"] == "  spread: yes"
    assert any("tun" in line for name, line in lines.items() if name.startswith("granularity"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: [1", r"x\.yaml:\d+: column \d+: "),
        ("a: 1\na: 2\n", r"x\.yaml:2: .*duplicate"),
        (b"name: caf\xe9\n", r"x\.yaml:1: not UTF-8: byte 0xe9"),
        (b"id: x\nname: \xff\n", r"x\.yaml:2: not UTF-8"),
        ("name: a\x00b\n", r"x\.yaml:1: column 8: .*not allowed"),
        ("", r"x\.yaml:1: expected keys and values"),
        ("just words\n", r"x\.yaml:1: expected keys and values"),
        ("[" * 5000, r"x\.yaml:1: "),
        (GOOD.replace("[turn]", "&a [turn]").replace("[step]", "*a"), r"x\.yaml:16: granularity\.1\.is: aliases"),
        (GOOD.replace('date: "2025-01"', 'date: "2025-13"'), r"x\.yaml:5: date"),
        (GOOD.replace("seeds: unknown", "seeds: {is: -1, from: primary}"), r"facts\.seeds"),
        (GOOD.replace("seeds: unknown", 'seeds: {is: "3", from: primary}'), r"facts\.seeds"),
        (GOOD.replace("peer_reviewed: unknown", "peer_reviewed: {is: yes, from: primary}"), r"peer_reviewed"),
        (GOOD.replace("  role: {is:", "  role: {is_:"), r"facts\.role"),
    ],
)
def test_what_is_no_record_is_refused_with_its_place(tmp_path: Path, content: str | bytes, says: str) -> None:
    found = validate(write(tmp_path, content))
    assert found.count == 0
    assert any(re.search(says, line) for line in found.errors), found.errors


@pytest.mark.parametrize("name", ["papers.csv", "papers.parquet", "papers.md", "papers.bib"])
def test_an_export_that_leaves_things_out_is_not_read_again(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("id\n")
    assert [line for line in validate(tmp_path / name).errors if "give YAML, or an export as JSON or YAML" in line]


def test_yaml_builds_no_objects(tmp_path: Path) -> None:
    made = tmp_path / "made"
    for tag in (
        f"!!python/object/apply:os.mkdir ['{made}']",
        f"!!python/object/new:os.system ['touch {made}']",
        "!!python/name:os.system",
    ):
        found = validate(write(tmp_path, GOOD.replace("name: X", f"name: {tag}")))
        assert found.errors
        assert re.match(r"x\.yaml:2: ", found.errors[0]), found.errors
    assert not made.exists()


def test_a_file_that_is_not_there_does_not_stop_the_others(tmp_path: Path) -> None:
    assert "No such file" in validate(tmp_path / "none.yaml").errors[0]


def test_a_list_of_records_may_have_any_name(tmp_path: Path) -> None:
    assert validate(write(tmp_path, json.dumps([plain("a"), plain("b")]), "mine.json")).count == 2


def test_errors_in_a_json_export_have_lines(tmp_path: Path) -> None:
    broken = json.loads(export([records()["gigpo"], records()["pure"]], "json"))
    broken["records"][1]["facts"]["seeds"]["is"] = -2
    path = write(tmp_path, json.dumps(broken, indent=1), "all.json")
    (error,) = [e for e in validate(path).errors if "unknown" not in e.split(": ", 2)[2]]
    line = int(error.split(":")[1])
    assert path.read_text().splitlines()[line - 1].strip().startswith('"is": -2'), error
    assert "records.1.facts.seeds" in error


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(inventory=2), "inventory = 2: this version of apportion reads form 1"),
        (lambda d: d.update(records={}), "expected a list of records"),
        (lambda d: d.pop("records"), "expected a list of records"),
        (lambda d: d.update(more=1), "more: an export has"),
        (lambda d: d["records"].append(d["records"][0]), "'gigpo' stands 2 times"),
        (lambda d: d["derived"]["gigpo"].update(evidence="A"), "evidence = 'A': the facts give 'S'"),
    ],
)
def test_an_export_that_was_changed_is_refused(tmp_path: Path, change: Any, says: str) -> None:
    assert records()["gigpo"].evidence == "S"
    document = json.loads(export([records()["gigpo"]], "json"))
    change(document)
    found = validate(write(tmp_path, json.dumps(document), "all.json"))
    assert any(says in line for line in found.errors), found.errors


def test_a_key_twice_in_json_is_refused(tmp_path: Path) -> None:
    twice = json.dumps(plain("x")).replace('"name": "X"', '"name": "X", "name": "Y"')
    found = validate(write(tmp_path, twice, "x.json"))
    assert "duplicate" in found.errors[0]


def test_what_is_odd_is_noted_but_valid(tmp_path: Path) -> None:
    made = plain("x", name="PURE", arxiv="2504.15275", date="2025-05", code=known("see our page"))
    found = validate(write(tmp_path, json.dumps(made), "x.json"))
    assert found.errors == ()
    assert len(found.notes) == 4, found.notes
    for says in ("also the paper of 'pure'", "is of 2025-04", "'pure' bears the same name", "gets no link"):
        assert any(says in note for note in found.notes)


def test_records_of_the_inventory_have_no_errors() -> None:
    folder = Path(apportion.survey.__file__).parent / "papers"
    assert validate(folder / "gigpo.yaml").errors == ()


def test_the_published_schema_is_the_models_own() -> None:
    assert schema() == PUBLISHED, "apportion inventory schema > src/apportion/survey/paper.schema.json"
    jsonschema.Draft202012Validator.check_schema(PUBLISHED)


@pytest.mark.parametrize("id_", records())
def test_the_schema_accepts_every_record(id_: str) -> None:
    VALIDATOR.validate(plain_record(records()[id_]))


def test_the_schema_accepts_the_short_forms_and_hostile_text() -> None:
    VALIDATOR.validate(plain("x"))
    VALIDATOR.validate(plain_record(hostile()))


BROKEN: dict[str, Any] = {
    "a field missing": lambda d: d.pop("title"),
    "a field too many": lambda d: d.update(evidence="S"),
    "an id with capitals": lambda d: d.update(id="X"),
    "a date that is none": lambda d: d.update(date="2025-13"),
    "an arXiv id that is none": lambda d: d.update(arxiv="15275"),
    "an arXiv id as a number": lambda d: d.update(arxiv=2504.15275),
    "a known value without a source": lambda d: d.update(cost={"is": "much"}),
    "a known value with a null source": lambda d: d.update(cost={"is": "much", "from": None}),
    "a value that is not coded": lambda d: d.update(cost="much"),
    "an origin that is none": lambda d: d.update(cost=known("much", "hearsay")),
    "a word that is none": lambda d: d.update(granularity=[known(["tun"])]),
    "no claim": lambda d: d.update(granularity=[]),
    "one label where a list is due": lambda d: d.update(granularity=[known("turn")]),
    "an item missing": lambda d: d["checklist"].pop("spread"),
    "an item too many": lambda d: d["checklist"].update(spred="unknown"),
    "an answer that is none": lambda d: d["checklist"].update(spread=known("maybe")),
    "a diagnostic missing": lambda d: d["diagnostics"].pop("T"),
    "a fact missing": lambda d: d["facts"].pop("seeds"),
    "a negative count": lambda d: d["facts"].update(seeds=known(-1)),
    "a count as text": lambda d: d["facts"].update(seeds=known("3")),
    "a yes as text": lambda d: d.update(peer_reviewed=known("yes")),
    "our status, another's list": lambda d: d.update(status="ours"),
    "our list, another's status": lambda d: d.update(snapshot="ours", status="verified"),
    "a result without its base model": lambda d: d.update(results=[{"says": "a", "against": "unknown", "from": "ours"}]),
    "an empty note": lambda d: d.update(notes=[""]),
}


@pytest.mark.parametrize("what", BROKEN)
def test_schema_and_model_refuse_the_same(what: str) -> None:
    broken = copy.deepcopy(plain("x"))
    BROKEN[what](broken)
    assert not VALIDATOR.is_valid(broken)
    with pytest.raises(ValidationError):
        Record.model_validate(broken)
