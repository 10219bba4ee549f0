"""Fixtures and hooks that every test file shares."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
REQUIRED = "APPORTION_REQUIRE_BROWSER"
_SKIPPED = "browser test skipped"


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test types in a folder of its own, in a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium to drive, for playwright's ``executable_path``; skips the test without one."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no Chromium found (looked for {', '.join(BROWSERS)})")


@pytest.fixture(scope="module")  # not of the session: its event loop would stand in the way of tests with one of their own
def browser(chromium: str) -> Iterator[Browser]:
    """A headless Chromium, closed after each test file."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


def pytest_configure(config: pytest.Config) -> None:
    if not os.environ.get(REQUIRED):
        return
    if not any(shutil.which(name) for name in BROWSERS):
        raise pytest.UsageError(f"{REQUIRED} is set, but there is none of {', '.join(BROWSERS)}")
    try:
        import playwright  # noqa: F401
    except ImportError:
        raise pytest.UsageError(f"{REQUIRED} is set, but playwright is not installed") from None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Mark skipped browser tests; where browsers are required, such a skip is a failure."""
    report = yield
    if report.skipped and "chromium" in getattr(item, "fixturenames", ()):
        report.user_properties.append((_SKIPPED, item.nodeid))
        if os.environ.get(REQUIRED):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            report.outcome, report.longrepr = "failed", f"a browser test was skipped though {REQUIRED} is set: {reason}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [
        value
        for report in terminalreporter.stats.get("skipped", ())
        for name, value in getattr(report, "user_properties", ())
        if name == _SKIPPED
    ]
    if skipped:
        terminalreporter.section("BROWSER TESTS SKIPPED: the report is untested", red=True, bold=True)
        for nodeid in skipped:
            terminalreporter.write_line(f"  {nodeid}", red=True)
        terminalreporter.write_line("  Install Chromium to run them.", red=True)
