"""The table of a form: complete, and what the form says stays text in every format."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from apportion.checklist.form import Answer, Document, read
from apportion.checklist.items import extension, items
from apportion.checklist.render import FORMATS, render, shown
from apportion.checklist.template import blank

from .checklist_forms import VALUES, full

HOSTILE = "a | b & <script>x()</script> \\input{/etc/passwd} $x_1^2$ %c #d ~ {e} `f` [g](javascript:h) *i*\n\nj ‮ \x1b[31m é"


class Table(HTMLParser):
    """Tags, and the text of cells by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.rstrip("\n")


def hostile() -> Document:
    document = full()
    document.data["title"] = HOSTILE.replace("\x1b", "")
    document.data["method"] = "<b>|&"
    value = {"names": [HOSTILE.replace("\x1b", "")], HOSTILE.replace("\x1b", ""): 3}
    document.put("benchmarks", Answer(answer="partial", value=value, where=(HOSTILE, "[0.2em] where"), why=HOSTILE))
    return document


def cells(line: str) -> list[str]:
    """A Markdown row's cells: borders are the pipes that no backslash precedes."""
    return re.split(r"(?<!\\)\|", line)[1:-1]


def test_markdown_has_every_item_in_order() -> None:
    document = full()
    document.put("spread", Answer(answer="reported", value=VALUES["spread"], where=("Table 1",), why="Three of them"))
    lines = [line for line in render(document.form, "md").splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in cells(line)] for line in lines]
    assert {len(row) for row in rows} == {5}
    numbers = [row[0] for row in rows[1:] if row[0]]
    assert numbers == [*map(str, range(1, 15)), *(f"E{n}" for n in range(1, 9))]
    spread = next(row for row in rows if row[0] == "10")
    assert spread == [
        "10",
        "Spread (recommended)",
        "reported",
        r"kind: std; over: training\_seeds; seeds: 3. Three of them",
        "Table 1",
    ]


def test_the_extension_is_labelled_as_ours_and_only_there_when_the_form_has_it() -> None:
    assert "not the survey" in render(full().form, "md")
    without = render(read(blank("A paper")).form, "md")
    assert "not the survey" not in without
    assert all(item.title not in without for item in extension().values())


@pytest.mark.parametrize("format", [*FORMATS])
def test_the_two_fractions_stand_in_every_format(format: str) -> None:
    document = full()
    document.put("gpu_hours", Answer(answer="partial", value={"device": "H100"}, where=("x",), why="no hours"))
    document.put("spread", Answer(answer="not_applicable"))
    text = render(document.form, format)
    assert "Required items: 9/10 reported, 1 partial." in text
    assert "Recommended items: 3/3 reported, 1 not applicable." in text


def test_what_is_hostile_stays_a_cell_of_markdown() -> None:
    lines = [line for line in render(hostile().form, "md").splitlines() if line.startswith("| ")]
    assert {len(cells(line)) for line in lines} == {5}
    assert len(lines) == len([line for line in render(full().form, "md").splitlines() if line.startswith("| ")])
    text = render(hostile().form, "md")
    assert "<" not in text
    assert not re.search(r"(?<!\\)\]\(", text)


def test_what_is_hostile_stays_text_in_html() -> None:
    calm, wild = Table(render(full().form, "html")), Table(render(hostile().form, "html"))
    assert calm.tags == wild.tags
    assert {*wild.tags} == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    row = next(row for row in wild.rows if row[0] == "8")
    assert "<script>x()</script>" in row[3]
    assert "é" in row[3]
    assert render(hostile().form, "html").isascii()


def test_what_is_hostile_runs_nothing_in_latex() -> None:
    def commands(text: str) -> list[str]:
        return sorted({*re.findall(r"\\[a-zA-Z]+|\\.", text)} - {*HARMLESS})

    HARMLESS = (
        r"\textbackslash", r"\&", r"\$", r"\%", r"\#", r"\_", r"\{", r"\}", r"\textasciitilde", r"\textasciicircum",
        r"\textless", r"\textgreater", r"\textbar",
    )  # fmt: skip
    calm, wild = render(full().form, "latex"), render(hostile().form, "latex")
    assert commands(calm) == commands(wild)
    for line in wild.splitlines():
        if line.endswith(r"\\") and "multicolumn" not in line and "caption" not in line:
            assert len(re.findall(r"(?<!\\)&", line)) == 4
    body = wild.replace(r"\{", "").replace(r"\}", "")
    assert body.count("{") == body.count("}")
    assert "$" not in wild.replace(r"\$", "")
    assert [line for line in wild.splitlines() if "%" in line.replace(r"\%", "")] == ["% needs: \\usepackage{booktabs,longtable}"]


def test_a_row_of_latex_does_not_begin_with_what_the_line_break_would_take() -> None:
    document = full()
    document.put("benchmarks", Answer(answer="partial", value="[2em] x", where=("*y",)))
    line = next(line for line in render(document.form, "latex").splitlines() if line.startswith("8 &"))
    assert "{[2em] x}" in line
    assert "{*y}" in line


def test_values_in_words() -> None:
    assert (
        shown({"amounts": {"judge_calls": 0, "resets": 2.5}, "per": "run"}) == "amounts: (judge calls: 0; resets: 2.5); per: run"
    )
    assert shown([True, False, "x", 1]) == "yes, no, x, 1"
    assert shown(1234567.8) == "1234567.8"
    assert shown(0.1 + 0.2) == "0.3"


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(KeyError):
        render(full().form, "doc")


def test_items_have_titles_of_their_own() -> None:
    titles = [item.title for item in (*items().values(), *extension().values())]
    assert len({*titles}) == len(titles)
