"""The page of ``apportion lens`` in a real headless Chromium: many turns, many trajectories, narrow, dark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .commands import typed as run
from .test_cli_lens import chats
from .test_report_browser import count, open_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.importorskip("playwright")


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")])
def test_a_log_s_page_in_a_browser(
    capsys: pytest.CaptureFixture[str], browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    log, page = tmp_path / "log.jsonl", tmp_path / "lens.html"
    log.write_text("".join(json.dumps(chat) + "\n" for chat in chats(groups=1, members=52, turns=60, tool="short")))
    run(capsys, "lens", log, "--methods", "grpo,gigpo,carl", "-o", page)
    seen = open_page(browser, page, width=width, scheme=scheme)
    at = seen.page
    assert seen.complaints == []
    assert at.evaluate("document.documentElement.scrollWidth") <= width
    assert count(at, ".lens-strips button") == 52
    assert at.locator("#lens-overview").input_value() == "1"  # gigpo tells turns apart, grpo does not
    at.locator(".lens-strips button").nth(50).click()
    assert count(at, '.cell[data-row="0"]') == 60 + 50 + 1
    assert at.locator("#lens-trajectory").input_value() == "50"
    assert "111 turns" in at.locator(".lens-about").inner_text()
    assert count(at, '.lens-strips [aria-current="true"]') == 1
    at.locator('.cell[data-row="0"][data-at="3"]').click()
    roles = [role.inner_text() for role in at.locator(".message .role").all()]
    assert roles == ["tool", "assistant"]
    assert at.locator(".message.assistant pre").inner_text() == "call 3 <b>now</b>"
    assert "by the policy" in at.locator(".facts").inner_text()
    null, dropped = count(at, '.cell.null[data-row="2"]'), count(at, '.cell.dropped[data-row="2"]')
    assert null == dropped > 100
    assert count(at, '.cell.dropped[data-row="0"]') == 0
    assert "not in the loss" in at.locator(".lens-key").inner_text()
    at.select_option("#lens-overview", "0")
    before = at.locator(".lens-strips .strip").nth(0).evaluate("e => e.style.background")
    at.select_option("#lens-overview", "1")
    assert at.locator(".lens-strips .strip").nth(0).evaluate("e => e.style.background") != before
    assert seen.complaints == []
    at.close()
