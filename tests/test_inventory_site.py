"""The inventory's page as text: every record and claim is on it, nothing a record says is markup; and both commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from apportion.cli import main
from apportion.errors import OptionError
from apportion.pages.embed import write_text
from apportion.survey import Record, papers, records
from apportion.survey.derived import differ
from apportion.survey.site import site_html, write_site
from apportion.survey.site.build import COLUMNS, choices, rank
from apportion.survey.site.view import FILTERS, entry
from apportion.survey.terms import ITEMS

from .inventory_evil import EVIL, ID, evil_record

ALL = list(records().values())


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of each article by its id."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.articles: dict[str, str] = {}
        self._at: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "article":
            self._at = dict(attrs)["id"] or ""
            self.articles[self._at] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._at = None

    def handle_data(self, data: str) -> None:
        if self._at is not None:
            self.articles[self._at] += data

    def count(self, tag: str) -> int:
        return sum(t == tag for t, _ in self.tags)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.fixture(scope="module")
def whole() -> Parsed:
    return Parsed(site_html(ALL))


def test_every_record_is_there_with_every_claim_its_origin_and_its_note(whole: Parsed) -> None:
    assert set(whole.articles) == set(records())
    for found in ALL:
        said = squeezed(whole.articles[found.id])
        claims = [c for name in ("scope", "setting", "granularity", "methodology") for c in getattr(found, name)]
        claims += [found.venue, found.cost, found.needs, *found.checklist.values(), *found.diagnostics.values()]
        for claim in claims:
            where = ": ".join(filter(None, (claim.from_, claim.at)))
            assert squeezed(where) in said, (found.id, where)
            assert squeezed(claim.note or "") in said, (found.id, claim.note)
        for text in (found.title or "", *found.notes, *(r.says for r in found.results)):
            assert squeezed(text).strip() in said, (found.id, text)
        assert all(item.replace("_", " ") in said for item in ITEMS)


def test_every_link_stays_on_the_page_or_goes_to_an_address_that_was_checked(whole: Parsed) -> None:
    to = [attributes["href"] or "" for tag, attributes in whole.tags if tag == "a"]
    assert len(to) > len(ALL)
    assert [t for t in to if not re.fullmatch(r"#[a-z0-9_-]+|https://(arxiv\.org/abs/[\d.]+|[\w.-]+/[\w./~%-]+)", t)] == []
    assert "https://arxiv.org/abs/2505.10978" in to
    assert not {"src", "srcset", "action", "onclick"} & {name for _, attributes in whole.tags for name in attributes}


def test_no_record_can_take_an_id_of_the_page_and_all_ids_are_different(whole: Parsed) -> None:
    found = [attributes["id"] or "" for _, attributes in whole.tags if "id" in attributes]
    assert len(found) == len(set(found))
    assert all("-" in own for own in set(found) - set(records()))  # an id of a record has no hyphen
    to = [attributes["href"] or "" for tag, attributes in whole.tags if tag == "a"]
    inside = {t.removeprefix("#") for t in to if t.startswith("#")}
    assert inside <= set(found)


def test_a_policy_lets_one_script_run_and_no_request_out(whole: Parsed) -> None:
    policies = [a["content"] or "" for t, a in whole.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'unsafe-inline'; img-src data:", policies[0]
    )
    assert whole.count("script") == 1
    assert not {"img", "iframe", "link", "object"} & {tag for tag, _ in whole.tags}


def test_what_a_hostile_record_says_is_text(whole: Parsed) -> None:
    html = site_html([evil_record(), *ALL])
    parsed = Parsed(html)
    assert squeezed(parsed.articles[ID]).count(squeezed(EVIL)) >= 12
    assert EVIL not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    for tag in ("script", "img", "b"):
        assert parsed.count(tag) == whole.count(tag), tag
    assert not [a for _, a in parsed.tags if "onerror" in a]
    assert not [a["href"] for t, a in parsed.tags if t == "a" and "javascript" in (a["href"] or "")]
    assert "javascript:window.pwned=1" in parsed.articles[ID]


def test_a_record_is_filtered_by_the_words_that_the_command_filters_by() -> None:
    entries = [entry(r) for r in ALL]
    for name in FILTERS:
        for choice in choices(entries, name):
            asked: dict[str, Any] = {name: choice.word == "yes" if name == "implemented" else choice.word}
            expected = papers(**asked)
            assert [e.id for e in entries if choice.word in e.words[name]] == [r.id for r in expected], (name, choice)
            assert choice.count == len(expected)
        assert {w for e in entries for w in e.words[name]} == {c.word for c in choices(entries, name)}


def test_columns_sort_by_the_order_of_the_vocabulary() -> None:
    entries = [entry(r) for r in ALL]

    def ordered(name: str) -> list[str]:
        found = sorted(entries, key=lambda e: rank(name, e))
        return list(dict.fromkeys(word for e in found for word in e.words[name][:1]))

    assert [w for w in "SLAE" if w in ordered("evidence")] + ["unknown"] == ordered("evidence")
    assert ordered("granularity") == [
        w for w in ("token", "segment", "step", "turn", "trajectory", "agent", "other") if w in ordered("granularity")
    ]
    assert ordered("implemented") == ["yes", "no"]
    by_need = sorted(entries, key=lambda e: rank("needs", e))
    free = ["none" in e.words["needs"] for e in by_need]
    assert free == sorted(free, reverse=True)
    unknown = [e.words["needs"] == ("unknown",) for e in by_need]
    assert unknown == sorted(unknown)
    assert set(COLUMNS) - {"name", "date"} <= set(FILTERS)


def test_where_sources_differ_the_label_to_go_by_is_marked_and_only_there() -> None:
    seen = 0
    for found in ALL:
        marked = [line for section in entry(found).sections for line in section.lines if line.chosen]
        assert len(marked) == len(differ(found))
        seen += len(marked)
    assert seen > 0


def test_the_same_records_give_the_same_page_and_order_does_not_matter() -> None:
    assert site_html(ALL) == site_html(list(reversed(ALL)))


def test_nothing_is_written_without_records_and_a_failed_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OptionError, match="no record was chosen"):
        write_site([], tmp_path / "site")
    assert not (tmp_path / "site").exists()
    page = write_site(ALL[:2], tmp_path / "site" / "deep")
    before = page.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_text("half", page)
    assert [p.name for p in page.parent.iterdir()] == ["index.html"]
    assert page.read_bytes() == before


def run(arguments: Sequence[str]) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


def chosen_in(page: Path) -> set[str]:
    return set(Parsed(page.read_text(encoding="utf-8")).articles)


def ids(found: Sequence[Record]) -> set[str]:
    return {r.id for r in found}


def test_site_build_writes_the_records_that_pass_the_filters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inventory", "site", "build", "-o", str(tmp_path / "a")]) == 0
    assert chosen_in(tmp_path / "a" / "index.html") == set(records())
    assert f"{len(records())} records" in capsys.readouterr().out
    turn = ["--granularity", "turn", "--setting", "agentic"]
    assert run(["inventory", "site", "build", "-o", str(tmp_path / "b"), *turn]) == 0
    assert chosen_in(tmp_path / "b" / "index.html") == ids(papers(granularity="turn", setting="agentic"))
    assert run(["inventory", "site", "build", "-o", str(tmp_path / "c"), "--granularity", "trun"]) == 2
    assert "did you mean turn" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_figure_shows_the_survey_s_records_unless_others_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "t.svg"

    def told(*arguments: str) -> str:
        assert run(["inventory", "figure", "-o", str(out), *arguments]) == 0
        title = re.search(r"<title>(.*?)</title>", out.read_text(encoding="utf-8"))
        assert title is not None
        assert f"{len_told(title[1])} record" in capsys.readouterr().out
        return title[1]

    def len_told(title: str) -> int:
        return int(re.findall(r"\d+", title)[-1])

    assert len_told(told()) == len(papers(snapshot="survey")) == 47
    assert len_told(told("--snapshot", "all", "--kind", "tree")) == len(records())
    assert len_told(told("--snapshot", "baseline", "--snapshot", "survey")) == len(papers(snapshot=["survey", "baseline"]))
    assert len_told(told("--snapshot", "all", "--needs", "none", "--labels", "any")) == len(papers(needs="none", labels="any"))
    assert "(tree)" in told("--kind", "tree")


def test_figure_says_what_is_wrong_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["-o", str(tmp_path / "t.jpg")], "a figure is written as .svg or .png"),
        (["-o", str(tmp_path / "t.svg"), "--kind", "map"], "kind = 'map': expected grid or tree"),
        (["-o", str(tmp_path / "no" / "t.svg")], "there is no folder"),
        (["-o", str(tmp_path / "t.svg"), "--snapshot", "ours", "--setting", "alignment"], "no record was chosen"),
        (["-o", str(tmp_path / "t.svg"), "--snapshot", "surveys"], "did you mean survey"),
    ):
        assert run(["inventory", "figure", *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
