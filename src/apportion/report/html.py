"""One self-contained HTML file that opens offline: figures, tables and the trajectory lens of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..pages.embed import write_text
from .breakeven import breakeven_text
from .claim import claim_and_support
from .embed import asset, report_page, vendored
from .figures import figures, tiles
from .lens import check_lens, fit_budget
from .read import read_run
from .summary import summarise
from .tiers import tier_text


def write_report(run_dir: str | Path, out: str | Path) -> Path:
    """Write the report of a run folder to ``out``; nothing is written when the folder cannot be read."""
    summary = summarise(run_dir)
    lens = read_run(run_dir).lens
    shown, left_out = fit_budget(check_lens(lens)) if lens else ({"tasks": []}, 0)
    titles = {m["id"]: m["name"] for m in summary["methods"]}
    shown = {**shown, "titles": titles}
    scripts = [vendored(), *(asset(f"templates/{name}.js") for name in ("lens", "tables", "charts", "breakeven", "report"))]
    claim, support = claim_and_support(summary)
    html = report_page(
        "report.html.jinja",
        scripts,
        claim=f"{claim}.",
        support=support[:1].upper() + support[1:],
        summary=summary,
        figures=figures(summary),
        tiles=tiles(summary),
        counts=_counts(summary),
        tiers=tier_text(summary),
        breakeven=breakeven_text(summary),
        tasks=[_task(t) for t in summary["tasks"]],
        has_lens=bool(shown["tasks"]),
        left_out=left_out,
        definitions=json.dumps({k: summary["run"][k] for k in ("settings", "versions")}, indent=1, default=str),
        embedded={"summary": summary, "lens": shown},
    )
    return write_text(html, out)


def _counts(summary: Mapping[str, Any]) -> dict[str, int]:
    fair = [m for m in summary["methods"] if not m["oracle"]]
    learners = {r["method"] for r in summary["learning"]} & {m["id"] for m in fair}
    return {
        "methods": len(fair),
        "learners": len(learners),
        "oracles": len(summary["methods"]) - len(fair),
        "tasks": len(summary["tasks"]),
    }


def _task(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task for the table: its headings, and everything else of its definition as text."""
    shown = ("id", "title", "family", "tags", "horizon")
    rest = {k: v for k, v in task.items() if k not in (*shown, "series")}
    return {
        **{k: task.get(k) for k in shown},
        "tags": ", ".join(map(str, task.get("tags") or [])),
        "definition": json.dumps(rest, indent=1, default=str) if rest else "",
    }
