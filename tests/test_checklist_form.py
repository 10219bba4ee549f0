"""The form: reading, places of what is wrong, comments kept when a program fills it, older versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from apportion.checklist.form import Answer, Form, FormError, load, read
from apportion.checklist.items import extension, items
from apportion.checklist.template import blank

from .checklist_forms import VALUES, changed, full

BLANK = blank("A paper", "gigpo", ["agentic"], extended=True)

VERSION_0 = """# a transcription
schema: 0
paper: A paper  # its title
method: gigpo
setting: agentic
items:
  1: y
  # the second
  2: {answer: p, note: no size, value: {source: ALFWorld}, where: section 4}
  6: n
  12: na
  14:
"""


def test_a_blank_form_is_read_and_asks_everything() -> None:
    form = read(BLANK).form
    assert (form.title, form.method, form.setting, form.trained) == ("A paper", "gigpo", ("agentic",), True)
    assert tuple(form.items) == tuple(items())
    assert tuple(form.extension or ()) == tuple(extension())
    assert {a.answer for a in form.items.values()} == {"unanswered"}
    assert {a.value for a in form.items.values()} == {None}


def test_the_extension_is_there_only_when_asked_for() -> None:
    assert read(blank()).form.extension is None
    assert "extension" not in read(blank()).data


def test_a_blank_form_has_what_counts_beside_each_item() -> None:
    words = " ".join(BLANK.replace("#", " ").split())
    for one in (*items().values(), *extension().values()):
        for text in (one.question, one.reported, one.partial, one.not_reported, one.not_applicable):
            assert " ".join(text.split()) in words


def test_a_title_is_read_back_as_it_was() -> None:
    title = 'a "quoted": title # with \\ and ümlaut'
    assert read(blank(title)).form.title == title


def test_a_form_is_written_as_it_was_read() -> None:
    assert read(BLANK).text() == BLANK


def test_filling_keeps_comments_and_is_read_back() -> None:
    document = full()
    text = document.text()
    assert [line.strip() for line in BLANK.splitlines() if line.strip().startswith("#")] == [
        line.strip() for line in text.splitlines() if line.strip().startswith("#")
    ]
    assert "seeds: 3 # a whole number, at least 3" in text
    again = read(text).form
    assert again == document.form
    assert {id_: again.answer(id_).value for id_ in VALUES} == VALUES


def test_filling_twice_leaves_nothing_of_the_first() -> None:
    document = full()
    document.put("spread", Answer(answer="partial", value={"seeds": 2}, where=("a", "b"), why="two seeds"))
    document.put("gpu_hours", Answer())
    form = read(document.text()).form
    assert form.answer("spread") == Answer(answer="partial", value={"seeds": 2}, where=("a", "b"), why="two seeds")
    assert form.answer("gpu_hours") == Answer()
    assert form.answer("metric").answer == "reported"


def test_an_item_that_is_not_in_the_form_is_unanswered_and_can_be_put_in() -> None:
    document = read("schema: 1\n")
    assert document.form.answer("spread") == Answer()
    document.put("spread", Answer(answer="partial", value="words", why="because"))
    document.put("failure_runs", Answer(answer="reported", value={"failed": 0, "of": 2}, where=("x",)))
    assert read(document.text()).form == document.form
    assert document.form.answer("failure_runs").value == {"failed": 0, "of": 2}
    with pytest.raises(KeyError, match="did you mean spread"):
        document.put("spred", Answer())


def test_places_are_those_of_the_file() -> None:
    document = full()
    line, column = document.place_of("spread", "value", "seeds")
    assert document.text().splitlines()[line - 1][column - 1 :].startswith("seeds: 3")
    assert document.place_of("code_commit") > document.place_of("spread")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("  spread:", "  spred:", r"line 149, column 3: items.spred: 'spred' is no item; did you mean spread\?"),
        ("  failure_runs:", "  gpu_hour:", r"extension.gpu_hour: 'gpu_hour' is no item"),
        ("trained: true", "trained: perhaps", r"line 10, column 1: trained: write true or false"),
        ("setting: [agentic]", "setting: [agentc]", r"line 9, column 1: setting: 'agentc' is no setting; did you mean agentic\?"),
        ('method: "gigpo"', 'methd: "gigpo"', r"line 8, column 1: methd: no such key; did you mean method\?"),
        ("claims: []", "claims: [", r"line \d+, column \d+: "),
        ("title: ", "title: \ttab: ", r"line 7, column \d+: "),
        ("schema: 1", "schema: 1\nschema: 1", r"line 7, column 1: found duplicate key"),
        ("schema: 1", "schema: 2", r"line 6, column 1: schema: version 2 is newer than this apportion, which reads up to 1"),
        ("schema: 1", "schema: -1", r"there is no version -1"),
        ("schema: 1", "schema: one", r"'one' is no version"),
        ("schema: 1", "schema: true", r"True is no version"),
        ("schema: 1\n", "", r"does not say its version; add 'schema: 1'"),
        (
            'title: "A paper"',
            "title: !!python/object/apply:os.getcwd []",
            r"line 7, column 1: title: .*python/object\S+ is not read",
        ),
        ('title: "A paper"', "title: !thing x", r"line 7, column 1: title: !thing is not read"),
        ("claims: []", "claims: &a [x, *a]", "claims.1: "),
        ("claims: []", "claims: [&a {x: y}, *a]", "line 11, column 10: claims.1: aliases of lists and mappings are not read"),
        ('title: "A paper"', "title: .nan", "line 7, column 1: title: a number must be finite"),
        ('title: "A paper"', 'title: "\x07"', r"line 7, column 9: the character '\\x07' is not allowed"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(old: str, new: str, says: str) -> None:
    assert BLANK.count(old) == 1
    with pytest.raises(FormError, match=says):
        read(BLANK.replace(old, new))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected keys and values"),
        ("- a\n", "expected keys and values"),
        ("schema: 1\nitems: [spread]\n", r"line 2, column 1: items: "),
        ("schema: 1\nitems:\n  spread: yes\n", r"line 3, column 3: items.spread: "),
        (
            "schema: 1\nitems:\n  spread:\n    answer: report\n",
            r"line 4, column 5: .*'report' is no answer; did you mean reported",
        ),
        ("schema: 1\nitems:\n  spread:\n    vlaue: 3\n", r"line 4, column 5: .*no such key; did you mean value"),
        ("schema: 1\nitems:\n  failure_runs: {}\n", r"items.failure_runs: belongs under extension"),
        ("[" * 5000, "nested too deep"),
        ("a: " + "x" * 1_000_001, "more than 1000000"),
        ("schema: 1\ntitle: 2025-02-31\n", "day is out of range"),
        ("schema: 1\ntitle: !!set\n", "not YAML that can be read"),
    ],
)
def test_what_is_no_form_is_refused(text: str, says: str) -> None:
    with pytest.raises(FormError, match=says):
        read(text)


def test_all_reasons_are_said_at_once() -> None:
    text = BLANK.replace("  spread:", "  spred:").replace("trained: true", "trained: perhaps").replace("  metric:", "  metrik:")
    with pytest.raises(FormError) as caught:
        read(text)
    assert [p.path for p in caught.value.problems] == ["trained", "items.metrik", "items.spred"]


def test_a_file_of_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.yaml"
    path.write_bytes("title: Ümlaut".encode("latin-1"))
    with pytest.raises(FormError, match=r"report.yaml: line 1, column 1: not UTF-8"):
        load(path)


def test_saving_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.yaml"
    full().save(path)
    assert load(path).form == full().form
    assert [p.name for p in tmp_path.iterdir()] == ["report.yaml"]


def test_dates_and_numbers_are_plain_values() -> None:
    document = changed("version: a09a354", "version: 2025-02-03")
    assert document.form.answer("base_model").value["version"] == "2025-02-03"


def test_one_locator_or_several() -> None:
    assert Answer.model_validate({"where": "a"}).where == ("a",)
    assert Answer.model_validate({"where": ["a", 3, None, ""]}).where == ("a", "3")
    assert Answer.model_validate({"where": None}).where == ()


def test_a_form_of_version_0_is_brought_here() -> None:
    document = read(VERSION_0)
    form = document.form
    assert (form.schema_, form.title, form.setting) == (1, "A paper", ("agentic",))
    assert {id_: a.answer for id_, a in form.items.items()} == {
        "base_model": "reported",
        "training_data": "partial",
        "baseline_budget": "not_reported",
        "credit_overhead": "not_applicable",
        "length_distribution": "unanswered",
    }
    assert form.answer("training_data").why == "no size"
    assert form.answer("training_data").value == {"source": "ALFWorld"}
    assert document.place_of("training_data").line == 9
    assert "schema 0 -> 1" in document.notes[0]
    assert read(document.text()).form == form
    assert "# its title" in document.text()
    assert "# the second" in document.text()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("  6: n", "  15: n", r"line 10, column 3: items.15: version 0 has the items 1 to 14, there is no 15"),
        ("  6: n", "  spread: n", r"there is no spread"),
        ("  6: n", "  6: maybe", r"line 10, column 3: items.6: 'maybe' is no answer of version 0"),
        ("  6: n", "  '1': n", r"twice"),
        ("setting: agentic", "setting: agentc", r"line 5, column 1: setting: 'agentc'"),
    ],
)
def test_a_broken_form_of_version_0_is_refused(old: str, new: str, says: str) -> None:
    assert VERSION_0.count(old) == 1
    with pytest.raises(FormError, match=says):
        read(VERSION_0.replace(old, new))


def test_a_form_of_this_version_is_left_alone() -> None:
    assert read(BLANK).notes == ()


def test_forms_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Form(schema=1).title = "x"
