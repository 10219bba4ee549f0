"""The inventory's page in a real headless Chromium: search, filters, sorting, opening a record, a hostile record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from apportion.survey import papers, record, records
from apportion.survey.site import write_site

from .inventory_evil import EVIL, ID, evil_record

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("playwright")


@dataclass
class Seen:
    """A page and everything it complained about or asked the network for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def shown(self) -> list[str]:
        """Ids of the rows that can be seen, from top to bottom."""
        return [r.get_attribute("data-id") or "" for r in self.page.locator("#record-table tbody tr:visible").all()]

    def settle(self) -> None:
        """Let what the page put off until a click was handled happen: the clearing of a form is such a thing."""
        self.page.evaluate("new Promise((done) => setTimeout(done))")

    def count(self) -> str:
        return self.page.locator("#record-count").inner_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(records().values(), tmp_path_factory.mktemp("site") / "out")


def open_page(
    browser: Browser, path: Path, *, at: str = "", width: int = 1280, scheme: str = "light", script: bool = True
) -> Seen:
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=script,
    )
    page.set_default_timeout(10_000)
    seen = Seen(page)
    page.on("console", lambda m: seen.complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: seen.complaints.append(str(e)))
    page.on("request", lambda r: seen.requests.append(r.url))
    page.goto(path.as_uri() + at)
    return seen


@pytest.fixture
def seen(browser: Browser, site: Path) -> Iterator[Seen]:
    opened = open_page(browser, site)
    yield opened
    assert opened.complaints == []
    opened.page.close()


def test_page_opens_from_a_file_without_a_complaint_or_a_request(seen: Seen, site: Path) -> None:
    assert seen.requests == [site.as_uri()]
    assert sorted(seen.shown()) == sorted(records())
    assert seen.count() == f"{len(records())} records"
    assert not seen.page.locator("dialog").is_visible()
    assert not seen.page.locator("article").first.is_visible()


def test_search_finds_by_name_author_and_benchmark_and_all_words_count(seen: Seen) -> None:
    page = seen.page
    for words in ("GiGPO", "alfworld webshop", "  Feng   gigpo "):
        page.fill('[name="search"]', words)
        assert sorted(seen.shown()) == sorted(r.id for r in papers(search=words)), words
        assert "gigpo" in seen.shown()
        assert seen.count() == f"{len(seen.shown())} of {len(records())} records"
    page.fill('[name="search"]', "zzqx")
    assert seen.shown() == []
    assert page.locator("#no-record").is_visible()
    page.click("#no-record button")
    seen.settle()
    assert len(seen.shown()) == len(records())
    assert not page.locator("#no-record").is_visible()


def test_filters_combine_with_each_other_and_with_the_search(seen: Seen) -> None:
    page = seen.page
    page.select_option('[name="granularity"]', "turn")
    page.select_option('[name="setting"]', "agentic")
    expected = papers(granularity="turn", setting="agentic")
    assert sorted(seen.shown()) == sorted(r.id for r in expected)
    page.select_option('[name="needs"]', "none")
    free = papers(granularity="turn", setting="agentic", needs="none")
    assert sorted(seen.shown()) == sorted(r.id for r in free)
    assert 0 < len(free) < len(expected) < len(records())
    page.fill('[name="search"]', record(free[0].id).name)
    assert free[0].id in seen.shown()
    page.click('[type="reset"]')
    seen.settle()
    assert len(seen.shown()) == len(records())
    assert page.locator('[name="granularity"]').input_value() == ""


def test_the_number_at_a_filter_s_word_is_the_number_of_its_records(seen: Seen) -> None:
    page = seen.page
    for name in ("methodology", "evidence", "snapshot", "scope", "baseline", "implemented"):
        for option in page.locator(f'[name="{name}"] option').all()[1:]:
            page.select_option(f'[name="{name}"]', option.get_attribute("value"))
            assert (option.text_content() or "").strip().endswith(f"· {len(seen.shown())}"), (name, option.text_content())
        page.select_option(f'[name="{name}"]', "")


def test_headings_sort_both_ways_and_say_so(seen: Seen) -> None:
    page = seen.page
    names = [page.locator(f'tr[data-id="{i}"] th a').inner_text().casefold() for i in seen.shown()]
    assert names == sorted(names)
    head = page.locator('#record-table thead th[data-key="date"]')
    assert head.get_attribute("aria-sort") == "none"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    dates = [record(i).date for i in seen.shown()]
    assert dates == sorted(dates, reverse=True)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [record(i).date for i in seen.shown()] == sorted(dates)
    page.select_option('[name="sort"]', "evidence")
    assert head.get_attribute("aria-sort") == "none"
    levels = [record(i).evidence for i in seen.shown()]
    assert levels == sorted(levels, key=["S", "L", "A", "E", "unknown"].index)


def test_a_row_opens_its_record_and_escape_closes_it(seen: Seen, site: Path) -> None:
    page = seen.page
    page.locator('tr[data-id="gigpo"] td').nth(3).click()
    page.wait_for_selector("dialog[open]")
    assert page.url == f"{site.as_uri()}#gigpo"
    text = page.locator("dialog").inner_text()
    assert page.locator("dialog h2").inner_text() == "GiGPO"
    assert "GiGPO: Group-in-Group Policy Optimization for LLM Agent Training" in text
    assert "discounted returns compared inside groups of equal observations" in text
    assert "companion: taxonomy grid" in text
    assert "apportion explain gigpo" in text
    assert page.locator("dialog dt", has_text="gpu hours").count() == 1
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    assert page.url == site.as_uri()
    assert len(seen.shown()) == len(records())


def test_keyboard_alone_searches_opens_steps_and_closes(seen: Seen) -> None:
    page = seen.page
    page.keyboard.press("/")
    page.keyboard.type("alfworld")
    assert page.locator('[name="search"]').input_value() == "alfworld"
    first, second = seen.shown()[:2]
    page.locator(f'tr[data-id="{first}"] a').focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    assert page.evaluate("document.activeElement.tagName") == "H2"
    assert not page.locator('dialog [rel="prev"]').is_visible()
    page.locator('dialog [rel="next"]').press("Enter")
    page.wait_for_function("id => location.hash === '#' + id", arg=second)
    assert page.locator("dialog h2").inner_text() == record(second).name
    page.go_back()
    page.wait_for_function("id => location.hash === '#' + id", arg=first)
    assert page.locator("dialog h2").inner_text() == record(first).name
    page.locator("dialog [data-close]").press("Enter")
    page.wait_for_selector("dialog", state="hidden")
    assert page.evaluate("document.activeElement.tagName") == "A"


def test_an_address_with_an_id_opens_that_record_and_one_without_opens_none(browser: Browser, site: Path) -> None:
    opened = open_page(browser, site, at="#vineppo")
    assert opened.page.locator("dialog h2").inner_text() == "VinePPO"
    opened.page.close()
    for at in ("#record-list", "#nobody", "#%3Cimg%3E", "#record-panel", "#%", "#toString"):
        other = open_page(browser, site, at=at)
        assert not other.page.locator("dialog").is_visible(), at
        assert len(other.shown()) == len(records())
        assert other.complaints == [], at
        other.page.close()


def test_where_sources_differ_both_labels_stand_side_by_side(browser: Browser, site: Path) -> None:
    opened = open_page(browser, site, at="#vineppo")
    found = record("vineppo")
    said = [", ".join(c.value or ()) for c in found.granularity]
    assert len(set(said)) > 1
    lines = opened.page.locator("dialog h3:has-text('Labels') ~ dl").first
    text = lines.inner_text()
    assert all(one in text for one in said)
    assert lines.locator(".badge").count() >= 1
    assert opened.page.locator('tr[data-id="vineppo"] .differ').count() == 1
    opened.page.close()


def test_a_number_of_the_taxonomy_shows_its_records(seen: Seen) -> None:
    page = seen.page
    page.click(".map summary")
    button = page.locator('.map button[data-granularity="turn"][data-methodology="temporal-difference"]')
    button.click()
    expected = papers(granularity="turn", methodology="temporal-difference")
    assert sorted(seen.shown()) == sorted(r.id for r in expected)
    assert button.inner_text() == str(len(expected))


def test_a_hostile_record_is_shown_found_and_opened_but_never_run(browser: Browser, tmp_path: Path) -> None:
    opened = open_page(browser, write_site([evil_record(), record("rloo")], tmp_path))
    page = opened.page
    assert page.locator(f'tr[data-id="{ID}"] a').inner_text() == EVIL
    page.fill('[name="search"]', "onerror")
    assert opened.shown() == [ID]
    page.locator(f'tr[data-id="{ID}"] a').click()
    page.wait_for_selector("dialog[open]")
    assert page.locator("dialog h2").inner_text() == EVIL
    assert "{{ 7*7 }}" in page.locator("dialog").inner_text()
    assert page.locator("img").count() == 0
    assert page.locator("a[href^=javascript]").count() == 0
    assert page.evaluate("window.pwned") is None
    assert opened.complaints == []
    assert len(opened.requests) == 1
    page.close()


def test_a_narrow_screen_shows_the_same_and_nothing_overflows(browser: Browser, site: Path) -> None:
    opened = open_page(browser, site, width=400)
    page = opened.page
    assert len(opened.shown()) == len(records())
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.fill('[name="search"]', "gigpo")
    assert "gigpo" in opened.shown()
    assert not page.locator('[name="granularity"]').is_visible()
    page.click(".filters summary")
    page.select_option('[name="sort"]', "date")
    page.locator('tr[data-id="gigpo"] a').click()
    page.wait_for_selector("dialog[open]")
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= 400
    assert page.locator("dialog [data-close]").is_visible()
    page.close()


def test_nothing_overflows_at_1000_pixels_nor_in_any_record(browser: Browser, site: Path) -> None:
    opened = open_page(browser, site, width=1000)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 1000
    opened.page.close()
    narrow = open_page(browser, site, width=400)
    narrow.page.evaluate("document.documentElement.classList.remove('script')")  # lays all records out below the table
    wide = "[...document.querySelectorAll('article')].filter(a => a.scrollWidth > a.clientWidth + 1).map(a => a.id)"
    assert narrow.page.locator("article:visible").count() == len(records())
    assert narrow.page.evaluate(wide) == []
    narrow.page.close()


def test_without_scripts_every_record_can_be_read(browser: Browser, site: Path) -> None:
    opened = open_page(browser, site, at="#gigpo", script=False)
    page = opened.page
    assert page.locator("article#gigpo").is_visible()
    assert page.locator("article:visible").count() == len(records())
    assert not page.locator('[name="search"]').is_visible()
    page.close()


def test_dark_mode_turns_the_page_and_the_open_record_dark(browser: Browser, site: Path) -> None:
    light, dark = (open_page(browser, site, at="#gigpo", scheme=s) for s in ("light", "dark"))
    for part in ("body", "dialog"):
        for what in ("backgroundColor", "color"):
            style = f"getComputedStyle(document.querySelector('{part}')).{what}"
            assert light.page.evaluate(style) != dark.page.evaluate(style), (part, what)
    assert dark.complaints == []
    light.page.close()
    dark.page.close()
