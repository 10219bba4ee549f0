"""Views of the report in a real headless Chromium: addresses, back and forward, filters, keyboard, pages of methods and tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from apportion.report import write_report

from .fake_run import METHODS, write_run
from .test_report_browser import Seen, go, open_page, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("playwright")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose entrants ask for what theirs ask, and one of which has a name that an address must escape."""
    folder = tmp_path_factory.mktemp("views")
    run = write_run(folder / "run", seeds=4)
    manifest = json.loads((run / "manifest.json").read_text())
    asks = {"vineppo": "sampler", "pure": "fit", "pure-judge80": "judge", "exact": "truth"}
    for entrant in manifest["entrants"]:
        entrant["ask"] = asks.get(entrant["id"], "nothing")
        if entrant["id"] == "vineppo":
            entrant["options"] = {"k": 16}
    manifest["tasks"][0]["prompts"] = 16
    (run / "manifest.json").write_text(json.dumps(manifest))
    return write_report(run, folder / "report.html")


@pytest.fixture
def seen(browser: Browser, report: Path) -> Iterator[Seen]:
    opened = open_page(browser, report)
    yield opened
    opened.page.close()


def shown(page: Page) -> list[str]:
    """Names of the views that can be seen."""
    return [str(v.get_attribute("data-view")) for v in page.locator(".view:not([hidden])").all()]


def heading(page: Page) -> str:
    return page.locator("h1").inner_text()


def test_links_of_the_navigation_show_one_view_each_and_back_returns(seen: Seen) -> None:
    page = seen.page
    assert shown(page) == [""]
    page.click('nav [data-nav="cost"]')
    assert shown(page) == ["cost"]
    assert page.locator('nav [aria-current="page"]').inner_text() == "Cost"
    page.click('nav [data-nav="methods"]')
    page.click('[data-view="methods"] a:has-text("GiGPO")')
    assert (shown(page), heading(page)) == (["method"], "GiGPO")
    assert page.locator("nav [aria-current]").inner_text() == "Methods"
    page.go_back()
    assert (shown(page), heading(page)) == (["methods"], "Methods")
    page.go_back()
    assert shown(page) == ["cost"]
    page.go_forward()
    assert shown(page) == ["methods"]
    assert seen.complaints == []


def test_back_returns_to_the_place_one_had_scrolled_to(seen: Seen) -> None:
    page = seen.page
    page.evaluate("window.scrollTo(0, 700)")
    until(page, "history.state && history.state.y === 700")
    page.click('#board a:has-text("GiGPO")')
    assert page.evaluate("window.scrollY") == 0
    page.go_back()
    until(page, "window.scrollY === 700")


@pytest.mark.parametrize(
    ("address", "view", "title"),
    [
        ("#/method/vineppo", "method", "VinePPO, 16 continuations a turn"),
        ("#/task/forks-100", "task", "forks-100"),
        ("#/family/bifurcation", "family", "Bifurcation"),
        ("#/identification", "identification", "Does the credit point at the right turns?"),
        ("#/method/nobody", "nowhere", "There is no such view in this report"),
        ("#/method", "nowhere", "There is no such view in this report"),
        ("#/cost/more", "nowhere", "There is no such view in this report"),
        ("#/break-even", "nowhere", "There is no such view in this report"),
        ("#/method/%E0%A4%A", "nowhere", "There is no such view in this report"),
    ],
)
def test_an_address_opens_its_view(browser: Browser, report: Path, address: str, view: str, title: str) -> None:
    opened = open_page(browser, report, address.removeprefix("#/"))
    assert (shown(opened.page), heading(opened.page)) == ([view], title)
    assert title in opened.page.title()
    assert opened.complaints == []
    opened.page.close()


@pytest.mark.parametrize(("place", "view"), [("leaderboard", ""), ("lens", "lens"), ("bias", "gradient"), ("run", "run")])
def test_older_addresses_still_lead_to_their_place(browser: Browser, report: Path, place: str, view: str) -> None:
    opened = open_page(browser, report)
    opened.page.goto("about:blank")
    opened.page.goto(f"{report.as_uri()}#{place}")
    assert shown(opened.page) == [view]
    assert opened.page.evaluate(f"Math.abs(document.getElementById('{place}').getBoundingClientRect().top) < innerHeight")
    opened.page.close()


def test_the_keyboard_alone_reaches_a_view_and_stands_at_its_heading(seen: Seen) -> None:
    page = seen.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "title"
    link = page.locator('nav [data-nav="learning"]')
    link.focus()
    page.keyboard.press("Enter")
    until(page, "!document.querySelector('[data-view=learning]').hidden")
    assert page.evaluate("document.activeElement.id") == "title"
    assert heading(page) == "Learning"
    page.keyboard.press("Tab")  # from the heading into the view, not back to the top
    assert page.evaluate("!!document.activeElement.closest('[data-view=learning]')")


def names(page: Page, table: str) -> list[str]:
    return [str(row.get_attribute("data-method")) for row in page.locator(f"{table} tr[data-method]").all()]


def test_the_filter_holds_on_every_view_by_name_evidence_and_what_is_asked(seen: Seen) -> None:
    page = seen.page
    assert len(names(page, "#board")) == len(METHODS)
    page.fill("#filter-text", "pure")
    until(page, "document.querySelectorAll('#board tr[data-method]').length === 2")
    assert set(names(page, "#board")) == {"pure", "pure-judge80"}
    assert page.locator("#filter-count").inner_text() == "2 of 12"
    go(page, "identification")
    assert set(names(page, "#identified")) == {"pure", "pure-judge80"}
    page.select_option("#filter-kind", "oracle")
    assert names(page, "#identified") == ["pure-judge80"]
    page.fill("#filter-text", "")
    page.select_option("#filter-kind", "")
    page.select_option("#filter-ask", "sampler")
    until(page, "document.querySelectorAll('#identified tr[data-method]').length === 1")
    assert names(page, "#identified") == ["vineppo"]
    page.fill("#filter-text", "no such thing")
    until(page, "document.querySelectorAll('#identified tr[data-method]').length === 0")
    go(page, "")
    assert "No method fits the filter" in page.locator("#board").inner_text()
    assert seen.complaints == []


def test_the_page_of_a_method_says_what_it_is_and_where_it_shines_and_fails(seen: Seen) -> None:
    page = go(seen.page, "method/vineppo")
    text = page.locator('[data-view="method"]').inner_text()
    for said in ("Monte-Carlo", "fresh continuations", "k = 16", "Kazemnejad", "verified", "Where it shines", "Where it fails"):
        assert said in text, said
    assert page.locator('[data-view="method"] a[href="https://arxiv.org/abs/2410.01679"]').count() == 1
    for title in ("Learning", "Gradient", "Identification", "Cost"):
        rows = page.locator(f'[data-view="method"] section[aria-label="{title}"] tbody tr')
        assert rows.count() == 4, title
    fails = go(seen.page, "method/gigpo").locator('section[aria-label="Where it fails"]').inner_text()
    assert "forks-500: pushes the wrong way" in fails
    page.click('section[aria-label="Where it fails"] a:has-text("forks-500")')
    until(page, "document.querySelector('h1').textContent === 'forks-500'")
    assert "PURE" in go(page, "method/pure-judge80").locator('[data-view="method"]').inner_text()
    assert page.locator('.note a:has-text("PURE")').get_attribute("href") == "#/method/pure"
    assert seen.complaints == []


def test_the_page_of_a_task_has_its_facts_its_board_and_its_frontier(seen: Seen) -> None:
    page = go(seen.page, "task/forks-20")
    view = page.locator('[data-view="task"]')
    assert "0.300" in view.inner_text()  # what learning cells say of the start
    assert view.locator("tr[data-method]").first.get_attribute("data-method") == "pooled_td"
    assert (
        view.locator('[data-figure="frontier"] svg[role="img"]').get_attribute("aria-label")
        == "Worth against price, for forks-20"
    )
    page.click('[data-view="task"] summary')
    assert "prompts" in view.inner_text()
    page.click('[data-view="task"] a:has-text("lens")')
    until(page, "!document.querySelector('[data-view=lens]').hidden")
    assert page.locator("#lens-task option:checked").inner_text() == "forks-20"
    assert seen.complaints == []


def test_the_page_of_a_family_ranks_with_intervals(seen: Seen) -> None:
    page = go(seen.page, "family/bifurcation")
    for score in ("By learning", "By gradient"):
        board = page.locator(f'[data-view="family"] section[aria-label="{score}"]')
        first = board.locator("tbody tr").first
        assert first.get_attribute("data-method") in ("pooled_td", "vineppo")
        assert "–" in first.locator("td .sub").first.inner_text()
