"""The table of selectors in the report: the shipped comparison, whatever it says."""

from __future__ import annotations

from typing import Any

from apportion.bench.selection.measured import compared
from apportion.report.read import Run
from apportion.report.sections import SECTIONS
from apportion.report.selectors import TITLES, selectors_rows, selectors_text

RUN = Run({}, {}, {}, (0,), {}, None)


def test_the_report_has_every_selector_as_it_was_compared() -> None:
    rows = selectors_rows(RUN, {})
    assert [r["selector"] for r in rows] == [r["selector"] for r in compared()["rows"]]
    assert [r["first"] for r in rows] == [r["first"] for r in compared()["rows"]]
    assert all(r["title"] == TITLES[r["selector"]] for r in rows)
    assert "selectors" in [s.name for s in SECTIONS]


def test_it_says_how_ours_fares_and_what_it_would_without_our_methods() -> None:
    summary: dict[str, Any] = {"selectors": selectors_rows(RUN, {})}
    said = " ".join(selectors_text(summary))
    ours = next(r for r in summary["selectors"] if r["selector"] == "measured")
    assert f"({100 * ours['first']['value']:.0f} %)" in said
    assert "no tree can name" in said
