"""The report in a real headless Chromium: figures drawn, lens and tables alive, no script of the data run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from apportion import Batch, Credit
from apportion.report import write_lens, write_report

from .fake_run import EVIL, METHODS, write_rows, write_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("playwright")


@dataclass
class Seen:
    """A page and everything it complained about or asked the network for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    return write_report(write_run(folder / "run", seeds=8), folder / "report.html")


def open_page(browser: Browser, path: Path, view: str = "", *, width: int = 1400, scheme: str = "light") -> Seen:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light")
    seen = Seen(page)
    page.on("console", lambda m: seen.complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: seen.complaints.append(str(e)))
    page.on("request", lambda r: seen.requests.append(r.url))
    page.goto(f"{path.as_uri()}#/{view}" if view else path.as_uri())
    return seen


@pytest.fixture
def seen(browser: Browser, report: Path) -> Iterator[Seen]:
    opened = open_page(browser, report)
    yield opened
    opened.page.close()


def count(page: Page, selector: str) -> int:
    return page.locator(selector).count()


def go(page: Page, view: str) -> Page:
    """Follow the address of a view, as a link would."""
    follow = "new Promise((done) => { addEventListener('hashchange', () => done(), { once: true }); location.hash = there; })"
    page.evaluate(f"(there) => location.hash === there || (there === '#/' && !location.hash) || {follow}", f"#/{view}")
    until(page, f"!document.querySelector('[data-view=\"{view.partition('/')[0].partition('?')[0]}\"]').hidden")
    return page


def until(page: Page, holds: str) -> None:
    """Wait for an expression to hold; playwright's own waiting needs ``eval``, which the page forbids."""
    for _ in range(200):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"did not come to hold: {holds}")


def test_page_opens_without_a_complaint_or_a_request(seen: Seen, report: Path) -> None:
    assert seen.complaints == []
    assert {r.partition("#")[0] for r in seen.requests} == {report.as_uri()}
    assert seen.page.locator("h1").inner_text().startswith("At 500 turns, Pooled TD reaches 80 %")


def test_every_figure_has_its_marks_and_a_text_for_those_who_cannot_see_it(seen: Seen) -> None:
    marks = (
        ("", "headline", 3 * 4),  # four roles at three horizons
        ("gradient", "multipliers", 3 * (len(METHODS) - 2)),  # all but the undetermined and the one that pushes the wrong way
        ("cost", "frontier", len(METHODS) - 2),
        ("gradient", "bias", len(METHODS) - 2),
    )
    for view, name, least in marks:
        go(seen.page, view)
        figure = f'[data-view="{view}"] [data-figure="{name}"]'
        assert count(seen.page, f'{figure} svg g[aria-label="dot"] path, {figure} svg g[aria-label="dot"] circle') >= least, name
        label = seen.page.locator(f'{figure} svg[role="img"]').get_attribute("aria-label")
        assert label is not None
        assert "RLOO" in label
    wrong = seen.page.locator('[data-view="gradient"] [data-figure="multipliers"]').inner_text()
    assert "pushes the wrong way at every batch size" in wrong
    go(seen.page, "")
    assert count(seen.page, '[data-view=""] [data-figure="headline"] svg g[aria-label="area"] path') == 4


def test_text_in_a_trajectory_is_shown_and_never_run(seen: Seen) -> None:
    page = go(seen.page, "lens")
    page.locator('.cell[data-row="0"][data-at="1"]').hover()
    assert page.locator(".lens-text").text_content() == EVIL
    assert EVIL in (page.locator(".lens-prompt").text_content() or "")
    assert page.evaluate("window.evil") is None
    assert count(page, "img") == 0


def test_lens_selectors_change_what_is_shown(seen: Seen) -> None:
    page = go(seen.page, "lens")
    assert count(page, '.cell[data-row="0"]') == 20
    before = page.locator('.cell[data-row="4"][data-at="0"]').get_attribute("aria-label")
    page.select_option("#lens-trajectory", "1")
    assert page.locator('.cell[data-row="4"][data-at="0"]').get_attribute("aria-label") != before
    assert "find the exit" in page.locator(".lens-prompt").inner_text()
    page.select_option("#lens-task", "1")
    assert count(page, '.cell[data-row="0"]') == 100
    assert count(page, ".lens-head .fork-mark") == 3
    assert [page.locator(".lens-name").nth(i).inner_text() for i in range(1, 4)] == ["exact truth", "luck", "RLOO"]


def test_hover_and_arrow_keys_show_the_turn(seen: Seen) -> None:
    page = go(seen.page, "lens")
    page.locator('.cell[data-row="2"][data-at="4"]').hover()
    assert page.locator(".lens-panel h3").inner_text().startswith("Turn 5 of 20")
    assert "turn 4: the agent opens door 0" in page.locator(".lens-text").inner_text()
    page.locator('.cell[data-row="2"][data-at="4"]').focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".lens-panel h3").inner_text().startswith("Turn 6 of 20")
    page.keyboard.press("PageDown")
    assert "fork" in page.locator(".lens-panel h3").inner_text()
    assert count(page, '.cell[tabindex="0"]') == 1
    assert page.evaluate("document.activeElement.classList.contains('cell')")


def test_colour_scale_can_be_shared(seen: Seen) -> None:
    page = go(seen.page, "lens")
    height = "getComputedStyle(document.querySelector('.cell[data-row=\"2\"][data-at=\"0\"]')).getPropertyValue('--m')"
    assert float(page.evaluate(height)) == 1.0  # RLOO gives every turn the same: at its own scale all are full
    page.check('input[value="shared"]')
    assert float(page.evaluate(height)) < 1.0


def test_no_opinion_looks_unlike_zero(seen: Seen) -> None:
    page = go(seen.page, "lens")
    row = [page.locator(".lens-name").nth(i).inner_text() for i in range(1, 9)].index("PURE")
    assert count(page, f'.cell.null[data-row="{row}"]') == 15
    assert "no opinion" in (page.locator(f'.cell[data-row="{row}"][data-at="1"]').get_attribute("aria-label") or "")


def test_leaderboard_sorts_and_oracles_stay_apart(seen: Seen) -> None:
    page = seen.page
    ranked = "#board tbody:not(.oracle) tr[data-method]"

    def order() -> list[str | None]:
        return [row.get_attribute("data-method") for row in page.locator(ranked).all()]

    first = order()
    assert first[0] == "pooled_td"
    assert not {"exact", "pure-judge80"} & set(first)
    page.click('#board th[data-key="cost"] button')
    assert order()[0] == "pooled_td"
    assert page.locator('#board th[data-key="cost"]').get_attribute("aria-sort") == "ascending"
    page.click('#board th[data-key="cost"] button')
    assert order()[-1] == "pooled_td"
    page.click('#board th[data-key="method"] button')
    names = [page.locator(f"{ranked} th span").nth(0).inner_text()]
    assert names[0].startswith("CARL")
    assert count(page, "#board tbody.oracle tr[data-method]") == 2


def test_task_and_batch_selectors_redraw_and_stand_in_the_address(browser: Browser, seen: Seen, report: Path) -> None:
    page = seen.page
    before = page.locator("#board tbody").first.inner_text()
    page.select_option("#task", "forks-20")
    assert page.locator("#board tbody").first.inner_text() != before
    go(page, "gradient")
    assert "wrong way" not in page.locator('[data-view="gradient"] [data-figure="multipliers"]').inner_text()
    go(page, "cost")
    middle = page.locator('[data-figure="frontier"] svg[role="img"]').inner_html()
    page.select_option("#batch", "4096")
    assert page.locator('[data-figure="frontier"] svg[role="img"]').inner_html() != middle
    assert page.evaluate("location.hash") == "#/cost?task=forks-20&batch=4096"
    again = open_page(browser, report, "cost?task=forks-20&batch=4096")
    assert again.page.locator("#task").input_value() == "forks-20"
    assert again.page.locator("#batch").input_value() == "4096"
    again.page.close()
    go(page, "")
    page.select_option("#series", "bifurcation · hidden")
    assert seen.complaints == []


def test_dark_mode_turns_the_page_dark(browser: Browser, report: Path) -> None:
    light, dark = (open_page(browser, report, scheme=s) for s in ("light", "dark"))
    color = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('[data-figure=headline] svg text')).color"
    assert light.page.evaluate(color) != dark.page.evaluate(color)
    assert light.page.evaluate(ink) != dark.page.evaluate(ink)
    assert dark.complaints == []
    light.page.close()
    dark.page.close()


EVERY_VIEW = ("", "families", "methods", "tasks", "learning", "gradient", "cost", "identification", "lens", "run")
PAGES = ("method/gigpo", "task/forks-100", "family/bifurcation")


def test_nothing_overflows_at_1000_pixels(browser: Browser, report: Path) -> None:
    opened = open_page(browser, report, width=1000)
    for view in (*EVERY_VIEW, *PAGES):
        page = go(opened.page, view)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1000, view
        for wide in page.locator(".view:not([hidden]) :is(.wide, .chart)").all():
            assert wide.evaluate("e => e.scrollWidth <= e.clientWidth"), (view, wide.evaluate("e => e.innerText.slice(0, 60)"))
    opened.page.close()


def test_a_narrow_page_scrolls_its_tables_and_not_itself(browser: Browser, report: Path) -> None:
    opened = open_page(browser, report, width=390)
    for view in (*EVERY_VIEW, *PAGES):
        assert go(opened.page, view).evaluate("document.documentElement.scrollWidth") <= 390, view
    assert opened.complaints == []
    opened.page.close()


def test_a_run_of_one_task_and_one_seed_still_draws(browser: Browser, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", seeds=1, methods=("rloo", "grpo"), lens=False)
    opened = open_page(browser, write_report(run, tmp_path / "r.html"))
    assert count(opened.page, '[data-view=""] [data-figure="headline"] svg') == 1
    assert (
        "undetermined" in go(opened.page, "gradient").locator('[data-view="gradient"] [data-figure="multipliers"]').inner_text()
    )
    for view in ("families", "learning", "method/grpo", "task/forks-20"):
        go(opened.page, view)
    assert opened.complaints == []
    opened.page.close()


def test_a_run_without_learning_says_so_where_the_figure_would_be(browser: Browser, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", seeds=2, lens=False)
    rows = [("rloo", "forks-20", s, "gradient", k, 64, 0.0, v) for s in (0, 1) for k, v in (("inner", 1.0), ("norm2", 2.0))]
    rows += [("rloo", "forks-20", s, "gradient", "truth2", 64, 0.0, 1.0) for s in (0, 1)]
    write_rows(run, rows)
    opened = open_page(browser, write_report(run, tmp_path / "r.html"))
    assert opened.complaints == []
    assert "Not measured" in opened.page.locator('[data-view=""] [data-figure="headline"]').inner_text()
    opened.page.close()


def test_lens_of_a_log_stands_alone(browser: Browser, tmp_path: Path) -> None:
    batch = Batch.from_turns([[2, 3], [4]], outcome=[1.0, 0.0], group=["a", "a"], text=["look", EVIL, "stop"])
    credit = Credit.of(batch, "turn", np.array([0.5, -0.25, 0.1]))
    opened = open_page(browser, write_lens(batch, {"mine": credit}, tmp_path / "lens.html"))
    page = opened.page
    page.locator('.cell[data-at="1"]').hover()
    assert page.locator(".lens-text").text_content() == EVIL
    assert "−0.25" in page.locator(".lens-panel dl").inner_text()
    page.select_option("#lens-trajectory", "1")
    assert count(page, ".cell[data-at]") == 1
    assert opened.complaints == []
    assert page.evaluate("window.evil") is None
    page.close()
