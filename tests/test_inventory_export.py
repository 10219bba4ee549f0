"""The inventory in other formats: complete, and harmless whatever a contributor wrote."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from apportion.registry import methods
from apportion.survey import QueryError, records
from apportion.survey.derived import derived, plain_record
from apportion.survey.export import ENDINGS, FORMATS, export
from apportion.survey.export.bibtex import names
from apportion.survey.export.flat import COLUMNS, row
from apportion.survey.validate import validate

from .papers import HOSTILE, hostile, known, paper

ALL = list(records().values())


def table(found: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(found.decode(), newline="")))


@pytest.mark.parametrize("format_", ["json", "yaml"])
def test_what_is_exported_whole_is_read_again(tmp_path: Path, format_: str) -> None:
    some = [*ALL[:6], hostile()]
    path = tmp_path / f"all.{format_}"
    path.write_bytes(export(some, format_))
    read = validate(path)
    assert read.errors == ()
    assert read.count == 7


def test_json_holds_every_field_of_every_record() -> None:
    found = json.loads(export([*ALL, hostile()], "json"))
    assert found["inventory"] == 1
    assert found["records"] == [plain_record(r) for r in [*ALL, hostile()]]
    assert found["derived"]["gigpo"]["evidence"] == records()["gigpo"].evidence
    assert found["derived"]["gigpo"]["implemented"] is True


def test_plain_records_are_what_their_files_say() -> None:
    from apportion.edges.yaml_lines import parse, plain

    written = plain(parse((Path(__file__).parents[1] / "src/apportion/survey/papers/gigpo.yaml").read_text()))
    found = plain_record(records()["gigpo"])
    assert found["results"] == written["results"]
    assert found["facts"] == written["facts"]
    assert found["checklist"]["length_distribution"] == {"is": "unknown"}


def test_csv_has_a_row_a_paper_and_a_column_a_source() -> None:
    rows = {r["id"]: r for r in table(export(ALL, "csv"))}
    assert sorted(rows) == sorted(records())
    assert rows["pure"]["methodology"] == "model-based"
    assert rows["pure"]["methodology_companion"] == "monte-carlo"
    assert rows["pure"]["methodology_survey"] == ""
    assert rows["pure"]["sources_differ_on"] == "methodology"
    assert rows["pure"]["arxiv"] == "2504.15275"
    assert rows["pure"]["implemented"] == "yes"
    assert {id_ for id_, r in rows.items() if r["implemented"] == "yes"} == set(methods())
    assert rows["pure"]["checklist_length_distribution"] == "unknown"
    assert rows["gigpo"]["facts_seeds"] == "3"


def test_no_cell_of_csv_is_a_formula() -> None:
    cells = table(export([hostile()], "csv"))[0]
    assert set(cells) == set(COLUMNS)
    assert not [c for c in cells.values() if re.match(r"\s*[=+\-@\t\r]", c)]
    assert any(c.startswith("'=HYPERLINK") for c in cells.values())
    assert "\x1b" not in "".join(cells.values())


def test_csv_tells_an_empty_list_from_an_unknown_one_and_from_silence() -> None:
    found = paper("x", needs=known([]), base_models="unknown")
    cells = table(export([found], "csv"))[0]
    assert (cells["needs"], cells["base_models"], cells["arxiv"]) == ("none", "unknown", "")
    assert cells["needs_nothing_extra"] == "yes"


def test_parquet_has_types_and_null_for_unknown() -> None:
    found = pq.read_table(io.BytesIO(export([*ALL, hostile()], "parquet")))
    assert found.column_names == list(COLUMNS)
    assert str(found.schema.field("facts_seeds").type) == "int64"
    assert str(found.schema.field("needs").type).startswith("list<")
    rows = {r["id"]: r for r in found.to_pylist()}
    assert rows["gigpo"]["needs"] == ["group", "steps", "state_keys"]
    assert rows["gigpo"]["implemented"] is True
    assert rows["gigpo"]["checklist_length_distribution"] is None
    assert rows["hostile"]["notes"] == HOSTILE, "Parquet runs nothing: text is as it was written"


def test_a_cell_is_of_its_columns_type() -> None:
    for found in (*ALL, hostile()):
        for name, cell in row(found).items():
            assert cell is None or cell == "unknown" or type(cell) is COLUMNS[name], (found.id, name, cell)


def test_a_markdown_row_stays_a_row() -> None:
    lines = export([hostile(), *ALL], "md").decode().splitlines()
    assert len(lines) == 2 + 1 + len(ALL)
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line)) == 11, line
    assert "<" not in lines[2]
    assert lines[2].startswith(r"| [=HYPERLINK(")
    assert "](http://evil" not in lines[2]
    assert "](javascript" not in lines[2]


def test_a_name_in_markdown_is_no_markup() -> None:
    line = export([paper("x", name="a|b](c) <d>", arxiv="2501.00001")], "md").decode().splitlines()[2]
    assert line.startswith(r"| [a\|b\](c) &lt;d&gt;](https://arxiv.org/abs/2501.00001) | 2025-01 |")


def test_markdown_shows_the_other_sources_where_they_differ() -> None:
    text = export([records()["pure"]], "md").decode()
    assert "model-based (companion: monte-carlo)" in text


def entries(text: str) -> dict[str, tuple[str, dict[str, str]]]:
    """key -> (kind, fields), read as BibTeX reads: braces are counted whatever stands before them."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    at = 0
    while (start := text.find("@", at)) >= 0:
        head = re.compile(r"@(\w+)\{(\w+),\n").match(text, start)
        assert head, text[start : start + 80]
        at, fields = head.end(), {}
        while text[at] != "}":
            field = re.compile(r"\s*(\w+) = ").match(text, at)
            assert field, text[at : at + 80]
            at = end = field.end()
            depth = 0
            while depth or text[end] not in ",\n":
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                assert depth >= 0
                end += 1
            fields[field[1]] = text[at:end]
            at = end + 2
        found[head[2]] = (head[1], fields)
    return found


def test_every_bibtex_entry_can_be_read() -> None:
    found = entries(export(ALL, "bibtex").decode())
    assert set(found) == set(records())
    _, fields = found["vineppo"]
    assert fields["title"].startswith("{{VinePPO")
    assert "{Le Roux}" in fields["author"]
    assert fields["eprint"] == "{2410.01679}"
    assert found["acpo"][0] == "misc"
    assert (found["acpo"][1]["year"], found["acpo"][1]["month"]) == ("{2025}", "oct")
    kind, fields = found["pure"]
    assert (kind, fields["booktitle"], fields["year"]) == ("inproceedings", "{NeurIPS 2025}", "{2025}")


def test_nothing_in_bibtex_is_a_command_or_leaves_its_braces() -> None:
    texts = [paper("h", title=text, authors=text, venue=known(text), peer_reviewed=known(True)) for text in HOSTILE]
    for text, found in zip(HOSTILE, texts, strict=True):
        _, fields = entries(export([found], "bibtex").decode())["h"]
        said = re.sub(r"\\(text\w+\{\}|[{}$&%#_])", "", fields["title"] + fields["booktitle"])
        assert "\\" not in said, text
        assert not re.search(r"[$&%#_~^]", said), text


@pytest.mark.parametrize(
    ("authors", "listed"),
    [
        ("Feng, Xue, Liu, An", ["Feng", "Xue", "Liu", "An"]),
        ("Portelance, Courville, Le Roux", ["Portelance", "Courville", "{Le Roux}"]),
        ("Jie Cheng, Fei-Yue Wang", ["Jie Cheng", "Fei-Yue Wang"]),
        ("Shao et al.", ["Shao", "others"]),
        ("Cui, Yuan et al.", ["Cui", "Yuan", "others"]),
        ("Jiarui Yao, Tong Zhang; Hao Bai from v2", ["Jiarui Yao", "Tong Zhang", "Hao Bai"]),
        ("Andersen and Band", ["Andersen", "Band"]),
        ("One, Two, Three % Four", ["One", "Two", r"{Three \% Four}"]),
    ],
)
def test_authors_as_bibtex_wants_them(authors: str, listed: list[str]) -> None:
    assert names(authors) == listed


def test_links_are_made_of_ids_and_repositories_only() -> None:
    assert derived(paper("x", arxiv="2501.00001", code=known("a/b")))["links"] == {
        "arxiv": "https://arxiv.org/abs/2501.00001",
        "code": "https://github.com/a/b",
    }
    for code in (
        "javascript:alert(1)",
        "https://a.b/'onclick=x",
        "a b/c",
        "http://a.b",
        "a/b/c",
        "https://a.b/c\n",
        "../x/y",
        "é/b",
    ):
        assert derived(paper("x", code=known(code)))["links"] == {}


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(QueryError, match="no format 'jsn'; did you mean json"):
        export([], "jsn")
    assert set(ENDINGS.values()) == set(FORMATS)
    assert all(export([], name) for name in FORMATS if name != "bibtex"), "nothing found is a file, too"
