"""The leaderboard as a terminal table of at most 100 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .gradient import REFERENCE
from .numbers import load, ratio, short, value_of

if TYPE_CHECKING:
    from rich.table import Table


#: Of more methods than this the best are shown, and a few oracles; the report and ``--json`` have all of them.
MOST, MOST_ORACLES = 24, 6


def leaderboard_table(summary: Mapping[str, Any]) -> Table:
    """Methods in rank order at the headline task, oracles apart below: learning, gradient, identification.

    Of a great many the best ``MOST``, RLOO among them whatever its rank.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    headline, batch = summary["headline"], summary["reference_batch"]
    methods = shown_methods(summary["methods"])
    left = len(summary["methods"]) - len(methods)
    more = f"; {left} more methods are in the report and in --json" if left else ""
    table = Table(
        title=f"Leaderboard · figures at {escape(str(headline['task']))} · rank over all tasks",
        caption=f"cost: price units to {summary['goal']} of the attainable return; net ×: worth in RLOO trajectories at"
        " equal cost; corr: with exact credit (not ranked); ·: learning not measured, in order of net ×" + more,
        box=box.SIMPLE_HEAD,
        title_style="bold",
        caption_justify="left",
        pad_edge=False,
    )
    # a place of its own, at the cost of the names: it would be squeezed away where many are ranked
    places = len(str(len(summary["ranking"])))
    table.add_column("#", justify="right", no_wrap=True, min_width=places)
    table.add_column("method", overflow="ellipsis", no_wrap=True, max_width=18 if places < 3 else 15)
    table.add_column("evidence", no_wrap=True)
    for name in ("cost", "vs RLOO", "reached", "ρ" if batch is None else f"ρ@{batch}", "sample ×", "net ×", "corr"):
        table.add_column(name, justify="right", no_wrap=True)
    ranks = {r["method"]: r for r in summary["ranking"]}
    for i, method in enumerate(methods):
        ends = i + 1 < len(methods) and methods[i + 1]["oracle"] and not method["oracle"]
        rank = ranks.get(method["id"])
        table.add_row(
            "" if rank is None else "·" if rank["by"] == "gradient" and summary["learning"] else str(rank["rank"]),
            escape(method["name"]),
            "oracle" if method["oracle"] else "paid" if method["paid"] else "free",
            *figures(summary, method["id"]),
            style="dim" if method["oracle"] else None,
            end_section=bool(ends),
        )
    return table


def shown_methods(methods: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """All of them, or of more than ``MOST`` the best, with RLOO, and the first oracles (exact credit leads them)."""
    fair, oracles = ([m for m in methods if m["oracle"] == kind] for kind in (False, True))
    if len(methods) <= MOST + MOST_ORACLES:
        return list(methods)
    return [m for k, m in enumerate(fair) if k < MOST or m["id"] == REFERENCE] + oracles[:MOST_ORACLES]


def figures(summary: Mapping[str, Any], method: str) -> list[str]:
    """A method's figures at the headline task, as text."""
    task = summary["headline"]["task"]

    def row(measure: str, **more: Any) -> Mapping[str, Any] | None:
        wanted = {"task": task, "method": method, **more}
        return next((r for r in summary[measure] if all(r[k] == v for k, v in wanted.items())), None)

    learned, found = row("learning"), row("gradient", batch=summary["reference_batch"])
    identified = row("identification")
    reached = "–" if learned is None or learned["reached"] is None else f"{100 * load(learned['reached']):.0f} %"
    return [
        short(value_of(learned, "cost")),
        speedup(learned),
        reached,
        "–" if found is None or found["rho"]["value"] is None else f"{load(found['rho']['value']):.2f}",
        worth(found, "multiplier"),
        worth(found, "net"),
        "–" if identified is None or identified["correlation"]["value"] is None else f"{value_of(identified, 'correlation'):.2f}",
    ]


def speedup(row: Mapping[str, Any] | None) -> str:
    """How many times cheaper than RLOO, or the bound that is known where one of them never got there."""
    if row is None:
        return "–"
    for name, sign in (("at_least", ">"), ("at_most", "<")):
        if row[name] is not None:
            return sign + ratio(load(row[name]))
    return ratio(value_of(row, "speedup"))


def worth(row: Mapping[str, Any] | None, name: str) -> str:
    """A multiplier, or the verdict that stands in its place."""
    if row is None:
        return "–"
    if row[name]["value"] is None:
        return {"pushes the wrong way": "wrong way", "undetermined": "?"}.get(row["verdict"], "–")
    return ratio(load(row[name]["value"]))
