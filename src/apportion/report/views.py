"""The views of the report: address, place in the navigation, heading, and what stands in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from .breakeven import breakeven_text
from .claim import claim_and_support
from .collapse import collapse_text
from .curves import curves_text
from .embed import fragment
from .families import family_cards
from .figures import figures, tiles
from .sections import Section, section_text
from .tiers import tier_text


@dataclass(frozen=True)
class View:
    """One view, at ``#/NAME``. Without a ``title`` it has no place in the navigation (a page per method, task or family,
    which a script fills); ``uses``: selectors it listens to (task, batch, filter); ``about``: why one would go there."""

    name: str
    title: str
    heading: str
    uses: tuple[str, ...] = ()
    about: str = ""


ALL, ONE = ("task", "batch", "filter"), ("task", "filter")
_VIEWS = (
    View("families", "Families", "Families of tasks", about="Which methods hold up on each kind of task, with intervals."),
    View("methods", "Methods", "Methods", ("filter",), "What each method is, needs and costs; where it shines and fails."),
    View("tasks", "Tasks", "Tasks", about="What is asked of a method, and the exact facts of each task."),
    View("learning", "Learning", "Learning", ONE, "What it costs to train a policy with each method, on every task."),
    View("gradient", "Gradient", "How clean is the update?", ALL, "How clean an update is, and what of its error is bias."),
    View("cost", "Cost", "Worth against price", ALL, "What each method asks for, and what that buys."),
    View("identification", "Identification", "Does the credit point at the right turns?", ONE,
         "How much the credit itself resembles the truth."),
    View("break-even", "Break-even", "How good must the evidence be?", ("task",),
         "From which quality on a judge, a critic or a sampler pays."),
    View("lens", "Lens", "Trajectory lens", about="Single trajectories under the credit of each method and the exact truth."),
    View("run", "Run", "Prices and run", about="Prices, seeds, versions and the command that made this."),
)  # fmt: skip
_PAGES = (View("family", "", "Family"), View("method", "", "Method"), View("task", "", "Task"))


def views(
    summary: Mapping[str, Any],
    pages: Mapping[str, Any],
    sections: Sequence[Section],
    *,
    has_lens: bool,
    left_out: int,
) -> list[dict[str, Any]]:
    """Every view of this run as the shell prints it: name, title, heading, uses, about, html; the overview first."""
    claim, support = claim_and_support(summary)
    here = [v for v in _VIEWS if (v.name != "lens" or has_lens) and (v.name != "break-even" or summary["breakeven"])]
    after = next(i for i, v in enumerate(here) if v.name == "identification") + 1
    here[after:after] = [View(s.name, s.title, s.heading, s.uses, s.about) for s in sections]
    overview = View("", "Overview", f"{claim}.", ALL)
    known = {
        "summary": summary,
        "figures": figures(summary),
        "tiles": tiles(summary),
        "support": support[:1].upper() + support[1:],
        "counts": _counts(summary),
        "tiers": tier_text(summary),
        "collapse": collapse_text(summary),
        "curves": curves_text(summary),
        "breakeven": breakeven_text(summary),
        "families": family_cards(summary),
        "tasks": pages["tasks"],
        "left_out": left_out,
        "definitions": json.dumps({k: summary["run"][k] for k in ("settings", "versions")}, indent=1, default=str),
    }
    by_section = {s.name: s for s in sections}
    made = []
    for view in (overview, *here, *_PAGES):
        if section := by_section.get(view.name):
            values: dict[str, Any] = {
                "summary": summary, "rows": summary[section.name], "text": section_text(section, summary),
            }  # fmt: skip
            html = fragment(f"sections/{section.name}.html.jinja", **values)
        elif view in _PAGES:
            html = Markup("")
        else:
            html = fragment(f"views/{view.name or 'overview'}.html.jinja", views=here, **known)
        made.append({**view.__dict__, "html": html})
    return made


def _counts(summary: Mapping[str, Any]) -> dict[str, int]:
    fair = [m for m in summary["methods"] if not m["oracle"]]
    learners = {r["method"] for r in summary["learning"]} & {m["id"] for m in fair}
    return {
        "methods": len(fair),
        "learners": len(learners),
        "oracles": len(summary["methods"]) - len(fair),
        "tasks": len(summary["tasks"]),
    }
