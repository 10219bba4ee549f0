"""The run in one measured sentence."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, isnan
from typing import Any

from .gradient import REFERENCE
from .learning import order_key
from .numbers import load, short, value_of


def sentence(summary: Mapping[str, Any]) -> str:
    """What was measured at the longest horizon, in one sentence that claims nothing more.

    "At 100 turns, X reaches 80 % of the attainable return at 1/5.2 of RLOO's cost (…).", or that RLOO had
    not reached it, that nothing beats RLOO, that nothing reached it, or that learning was not measured.
    """
    claim, support = claim_and_support(summary)
    return f"{claim} ({support})." if support else f"{claim}."


def claim_and_support(summary: Mapping[str, Any]) -> tuple[str, str]:
    """The sentence without its full stop, and what it rests on (interval, seeds; may be empty)."""
    headline = summary["headline"]
    place = _place(headline)
    goal = f"{summary['goal']} of the attainable return"
    if headline["measure"] != "learning":
        return f"{place}, learning was not measured in this run; see the gradient multipliers", ""
    here = [r for r in summary["learning"] if r["task"] == headline["task"]]
    base = next((r for r in here if r["method"] == REFERENCE), None)
    if base is None:
        return f"{place}, RLOO was not run, so there is nothing to compare costs with", ""
    oracle = {m["id"] for m in summary["methods"] if m["oracle"]}
    rivals = [r for r in here if r["method"] not in oracle and isfinite(value_of(r, "cost")) and r is not base]
    seeds = f"{base['seeds']} seed{'s' if base['seeds'] != 1 else ''}"
    if not rivals:
        return _alone(place, base, goal), seeds
    best = min(rivals, key=order_key)
    name = next(m["name"] for m in summary["methods"] if m["id"] == best["method"])
    if value_of(base, "cost") == inf and load(best["at_least"]) <= 1:
        return f"{place}, {name} reaches {goal}, but RLOO had spent less by its last update: the run decides nothing", seeds
    if value_of(base, "cost") == inf:
        text = f"{place}, {name} reaches {goal} for {short(value_of(best, 'cost'))} price units; RLOO had not reached it"
        return f"{text} after {short(load(base['spent']))}, {_two(load(best['at_least']))} times as much", seeds
    value, low, high = (load(best["speedup"][k]) for k in ("value", "low", "high"))
    span = "no interval from one seed" if isnan(low) else f"95 % interval of the factor {_span(low, high)}"
    if value <= 1 or low <= 1:
        text = f"{place}, no method that was trained reaches {goal} at clearly less than RLOO's cost; the nearest,"
        needs = f"needed {_two(1 / value)} times as much" if round(1 / value, 2) != 1 else "needed as much"
        return f"{text} {name}, {needs}", f"{span}; {seeds}"
    share = f"1/{_two(value)}" if value >= 2 else _two(1 / value)
    return f"{place}, {name} reaches {goal} at {share} of RLOO's cost", f"{span}; {seeds}"


def _alone(place: str, base: Mapping[str, Any], goal: str) -> str:
    cost = value_of(base, "cost")
    if cost == inf:
        return f"{place}, no method reached {goal} in most of its runs; RLOO had spent {short(load(base['spent']))} price units"
    return f"{place}, only RLOO reached {goal}, after {short(cost)} price units"


def _place(headline: Mapping[str, Any]) -> str:
    horizon = headline["horizon"]
    return f"On {headline['task']}" if horizon is None else f"At {horizon} turn{'s' if horizon != 1 else ''}"


def _span(low: float, high: float) -> str:
    return f"{_two(low)} to {_two(high)}" if isfinite(high) else f"at least {_two(low)}"


def _two(value: float) -> str:
    """Two significant digits: 5.24 -> 5.2, 44.5 -> 44, 1234 -> 1,200."""
    if not isfinite(value) or value == 0:
        return short(value)
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 else f"{rounded:.2g}"
