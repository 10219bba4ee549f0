"""The report for those who do not see it or use no mouse, and at the size of the standard suite: in a headless Chromium."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from apportion.report import summarise, write_report

from .big_run import grown, write_big_run
from .fake_run import write_run
from .test_report_browser import EVERY_VIEW, PAGES, Seen, count, go, open_page, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.importorskip("playwright")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("access")
    return write_report(write_run(folder / "run", seeds=3), folder / "report.html")


@pytest.fixture
def seen(browser: Browser, report: Path) -> Iterator[Seen]:
    opened = open_page(browser, report)
    yield opened
    opened.page.close()


UNNAMED = """[...document.querySelectorAll('button, a, select, input')].filter((e) => e.offsetParent
  && !(e.labels && e.labels.length) && !e.textContent.trim() && !e.ariaLabel).map((e) => e.outerHTML)"""


def test_every_view_can_be_read_by_those_who_do_not_see_it(seen: Seen) -> None:
    for view in (*EVERY_VIEW, *PAGES):
        page = go(seen.page, view)
        assert count(page, "h1") == 1
        levels = [int(h.evaluate("e => e.tagName[1]")) for h in page.locator(":is(h1, h2, h3):visible").all()]
        assert all(b <= a + 1 for a, b in itertools.pairwise(levels)), (view, levels)
        for svg in page.locator(".view:not([hidden]) .chart svg[role=img]").all():
            assert svg.get_attribute("aria-label"), view
        loose = "svg:not([role=img]):not([aria-hidden]):not(svg svg)"
        assert count(page, f".view:not([hidden]) {loose}") == 0, view
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        assert len(ids) == len(set(ids)), view
        assert page.evaluate(UNNAMED) == [], view
        assert count(page, ".view:not([hidden]) th:not([scope])") == 0, view


CONTRAST = """() => {
  const channel = (v) => (v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  const light = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).map((v) => channel(v / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const paper = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (c !== 'rgba(0, 0, 0, 0)' && c.startsWith('rgb(')) return c;
    }
    return 'rgb(255, 255, 255)';
  };
  const bad = new Set();
  for (const e of document.querySelectorAll('main *, nav *, footer *')) {
    const said = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim()).join(' ').trim();
    const ink = getComputedStyle(e).color;
    if (!e.offsetParent || e.closest('svg, .lens') || !said || !ink.startsWith('rgb(')) continue;
    const [a, b] = [light(ink), light(paper(e))], ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < (parseFloat(getComputedStyle(e).fontSize) >= 24 ? 3 : 4.5)) bad.add(e.tagName + e.className + said + ratio);
  }
  return [...bad];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, report: Path, scheme: str) -> None:
    opened = open_page(browser, report, scheme=scheme)
    for view in (*EVERY_VIEW, *PAGES):
        assert go(opened.page, view).evaluate(CONTRAST) == [], view
    opened.page.close()


def test_a_run_of_the_standard_size_is_one_page_under_20_megabytes_that_opens_at_once(browser: Browser, tmp_path: Path) -> None:
    run = write_big_run(tmp_path / "run")
    page = write_report(run, tmp_path / "r.html", summary=grown(run, summarise(run, resamples=20)))
    assert page.stat().st_size < 20_000_000
    opened = open_page(browser, page)
    opened.page.wait_for_selector("#board tbody tr")
    assert opened.page.evaluate("performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart") < 15_000
    assert count(opened.page, "#board tbody:not(.oracle) tr[data-method]") == 20
    opened.page.click("#board .more")
    assert count(opened.page, "#board tr[data-method]") == len(json.loads((run / "manifest.json").read_text())["entrants"])
    go(opened.page, "gradient")
    labels = '[data-view="gradient"] [data-figure="multipliers"]'
    assert opened.page.locator(labels).locator("button.more").inner_text().startswith("Show all")
    opened.page.fill("#filter-text", "gigpo")
    until(opened.page, f"!document.querySelector('{labels} button.more')")
    for view in ("families", "methods", "learning", "cost", "identification", "task/team~two", "method/gigpo", "family/team"):
        go(opened.page, view)
    assert opened.complaints == []
    opened.page.close()
