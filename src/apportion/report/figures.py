"""The words around each figure: its title, one sentence on how to read it, and what it shows for those who cannot see it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from .breakeven import breakeven_text
from .numbers import digits, load, short, value_of
from .terminal import speedup, worth


def figures(summary: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Id -> title, read (how to read it) and alt (what it shows at the headline task)."""
    goal = summary["goal"]
    return {
        "headline": {
            "title": "Cost to learn, against horizon",
            "read": "Lower is better, and a flatter line copes better with long tasks: each point is the expected total cost, "
            "failed runs included, "
            f"at which a method reached {goal} of the attainable return, bands are 95 % intervals over seeds, and an arrow ↑ "
            "marks what had been spent without getting there.",
            "alt": _headline_alt(summary),
        },
        "multipliers": {
            "title": "What one batch is worth",
            "read": "A mark at 10× means that RLOO needs ten times as many trajectories for an update as clean as this "
            "method’s (left of the line: the method is worse than RLOO); where a mark falls back as the batch grows, the "
            "method’s bias, which no batch size removes, has taken over.",
            "alt": _multiplier_alt(summary),
        },
        "frontier": {
            "title": "Worth against price",
            "read": "Up is cleaner, right is dearer: methods above the dashed diagonal are worth more than they cost, and "
            "the line joins those that no other method beats on both.",
            "alt": _frontier_alt(summary),
        },
        "bias": {
            "title": "Bias",
            "read": "Filled: the squared distance of a method’s mean update from the exact gradient, a common factor (a "
            "learning rate) taken out, as a share of the gradient’s square (0 is unbiased); hollow: with that factor left in; "
            "below, two parts of it: re-weighting between prompts, a choice of objective, and wrong credit within a prompt, "
            "which is how GRPO’s two biases are told apart.",
            "alt": _bias_alt(summary),
        },
        "breakeven": {
            "title": "How good must the evidence be?",
            "read": "Above the line at 1 a method is worth what its evidence costs; ✕ marks where its update does not surely "
            "point uphill. A judge or a process reward that is wrong too often, or too few samples, costs more than it brings.",
            "alt": "Net multiplier along a knob of the evidence. " + "; ".join(breakeven_text(summary)) + ".",
        },
    }


def _at_headline(summary: Mapping[str, Any], measure: str) -> list[tuple[str, Mapping[str, Any]]]:
    """(title, row) of each method at the headline task, in leaderboard order."""
    here = [r for r in summary[measure] if r["task"] == summary["headline"]["task"]]
    if measure == "gradient":
        here = [r for r in here if r["batch"] == summary["reference_batch"]]
    rows = {r["method"]: r for r in here}
    return [(m["name"], rows[m["id"]]) for m in summary["methods"] if m["id"] in rows]


def _headline_alt(summary: Mapping[str, Any]) -> str:
    parts = [f"{title}: {short(value_of(row, 'cost'))}" for title, row in _at_headline(summary, "learning")]
    if not parts:
        return "Learning was not measured in this run."
    return (
        f"Total cost to {summary['goal']} of the attainable return at {summary['headline']['horizon']} turns. "
        + "; ".join(parts)
        + "."
    )


def _multiplier_alt(summary: Mapping[str, Any]) -> str:
    parts = [f"{title}: {worth(row, 'multiplier')}" for title, row in _at_headline(summary, "gradient")]
    batch, task = summary["reference_batch"], summary["headline"]["task"]
    return f"Sample multipliers over RLOO on {task} at a batch of {batch}. " + "; ".join(parts) + "."


def _frontier_alt(summary: Mapping[str, Any]) -> str:
    parts = [
        f"{title}: {worth(row, 'multiplier')} for {short(load(row['relative_price']))} times RLOO's price"
        for title, row in _at_headline(summary, "gradient")
    ]
    return "Sample multiplier against price per trajectory. " + "; ".join(parts) + "."


def _bias_alt(summary: Mapping[str, Any]) -> str:
    rows = [(title, value_of(row, "bias_rescaled")) for title, row in _at_headline(summary, "gradient")]
    parts = [f"{title}: {value:.2f}" for title, value in rows if isfinite(value)]
    return "Squared bias, a common factor taken out, as a share of the squared gradient. " + "; ".join(parts) + "."


def tiles(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """The four lines of the headline figure as short facts: name, role, figure and what it is."""
    task = summary["headline"]["task"]
    learned = {r["method"]: r for r in summary["learning"] if r["task"] == task}
    names = {
        "reference": "the yardstick",
        "free": "best free method",
        "paid": "best paid method",
        "exact": "exact credit (oracle)",
    }
    found = []
    for role, what in names.items():
        method = next((m for m in summary["methods"] if m["role"] == role), None)
        if method is None or method["id"] not in learned:
            continue
        row = learned[method["id"]]
        cost = short(value_of(row, "cost"))
        reached = f"{100 * load(row['reached']):.0f} % of seeds reached it"
        figure = cost if role == "reference" and cost != "never" else _against_rloo(row)
        note = f"after {short(load(row['spent']))} price units" if cost == "never" else f"{cost} price units"
        note = reached if figure == cost else f"{note} · {reached}"
        found.append({"role": role, "what": what, "name": method["name"], "figure": figure, "note": note})
    return found


def _against_rloo(row: Mapping[str, Any]) -> str:
    """ "5.2× cheaper", and no more than the interval allows."""
    cost, speed = row["cost"], row["speedup"]
    if cost["value"] == "inf" or speed["value"] is None:
        return "not reached" if cost["value"] == "inf" else short(load(cost["value"]))
    if row["at_least"] is not None:
        return f"{speedup(row)} cheaper"
    value, low, high = (load(speed[k]) for k in ("value", "low", "high"))
    if low <= 1 <= high:
        return "RLOO’s cost, give or take"
    return f"{speedup(row)} cheaper" if value > 1 else f"{digits(1 / value)}× RLOO’s cost"
