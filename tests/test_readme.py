"""Every Python block of the README and of each page of docs runs, in order, as one session."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[int, str]]:
    """(line, code) of each block."""
    return [(text[: found.start()].count("\n") + 2, found[1]) for found in BLOCK.finditer(text)]


def run(text: str, name: str) -> None:
    session: dict[str, object] = {"__name__": "readme"}
    for line, code in blocks(text):
        exec(compile("\n" * (line - 1) + code, name, "exec"), session)


PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_code_of_readme_and_docs_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run(text, page)


def test_every_page_is_linked_and_every_link_leads_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\((docs/[^)#]+)", text))
    assert {page for page in PAGES if page.startswith("docs/")} <= linked
    assert not [place for place in linked if not (ROOT / place).is_file()]
    for page in PAGES[1:]:  # and from page to page
        inner = re.findall(r"\]\(([^):#]+\.md)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))
        assert not [place for place in inner if not (ROOT / "docs" / place).is_file()], page


def test_a_broken_block_is_found_with_its_line() -> None:
    text = "# title\n\n```python\nx = 1\n```\n\ntext\n\n```python\nassert x == 2\n```\n"
    assert [line for line, _ in blocks(text)] == [4, 10]
    with pytest.raises(AssertionError) as caught:
        run(text, "README.md")
    assert caught.traceback[-1].lineno == 10 - 1
