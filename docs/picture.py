"""Draw docs/headline.png: the first figure of a report, as a browser shows it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main(report: Path, out: Path) -> None:
    browser = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if browser is None or not report.is_file():
        sys.exit(f"needs a Chromium on PATH and {report} (make demo writes it)")
    with sync_playwright() as play:
        chrome = play.chromium.launch(executable_path=browser, args=FLAGS)
        page = chrome.new_page(viewport={"width": 1100, "height": 900}, device_scale_factor=2, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("#headline svg")
        page.wait_for_timeout(500)
        page.locator("#headline").screenshot(path=out)
        chrome.close()
    print(f"wrote {out}")


if __name__ == "__main__":
    main(Path("runs/demo/report.html"), Path(__file__).parent / "headline.png")
