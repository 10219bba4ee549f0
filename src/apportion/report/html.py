"""One self-contained HTML file that opens offline: the views of a run, each with an address of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..pages.embed import write_text
from .compact import compact
from .embed import asset, report_page, vendored
from .families import family_cards
from .lens import check_lens, fit_budget
from .methods_view import method_pages
from .read import read_run
from .sections import shown
from .summary import summarise
from .tasks_view import task_pages
from .views import views

#: In the order in which they are needed: what draws, then what puts the page together.
SCRIPTS = (
    "lens", "tables", "model", "filter", "charts", "breakeven", "boards", "learnt", "curves",
    "family_page", "method_page", "task_page",
)  # fmt: skip


def write_report(run_dir: str | Path, out: str | Path, *, summary: Mapping[str, Any] | None = None) -> Path:
    """Write the report of a run folder to ``out``; nothing is written when the folder cannot be read.

    summary: what :func:`summarise` found in it, where that is at hand already.
    """
    run = read_run(run_dir)
    summary = summarise(run_dir) if summary is None else summary
    lens, left_out = fit_budget(check_lens(run.lens)) if run.lens else ({"tasks": []}, 0)
    lens = {**lens, "titles": {m["id"]: m["name"] for m in summary["methods"]}}
    pages = {"methods": method_pages(run, summary), "tasks": task_pages(run, summary), "families": family_cards(summary)}
    sections = shown(summary)
    scripts = [asset(f"templates/{name}.js") for name in SCRIPTS]
    scripts += [asset(f"templates/sections/{section.name}.js") for section in sections]
    scripts += [asset(f"templates/{name}.js") for name in ("router", "report")]
    html = report_page(
        "report.html.jinja",
        [vendored(), *scripts],
        {"summary": compact(summary), "pages": pages, "lens": lens},
        summary={"run": summary["run"]},
        views=views(summary, pages, sections, has_lens=bool(lens["tasks"]), left_out=left_out),
    )
    return write_text(html, out)
