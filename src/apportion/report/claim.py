"""The run in one measured sentence."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, isnan
from typing import Any

from .gradient import REFERENCE
from .learning import order_key
from .numbers import digits, load, short, value_of

GOAL = "80 % of the attainable return"


def sentence(summary: Mapping[str, Any]) -> str:
    """What was measured at the longest horizon, in one sentence that claims nothing more.

    "At 100 turns, X reaches 80 % of the attainable return at 1/5.2 of RLOO's cost (…)", or that RLOO had
    not reached it, that nothing beats RLOO, that nothing reached it, or that learning was not measured.
    """
    headline = summary["headline"]
    titles = {m["id"]: m["title"] for m in summary["methods"]}
    oracle = {m["id"] for m in summary["methods"] if m["oracle"]}
    place = _place(headline)
    if headline["measure"] != "learning":
        return f"{place}, learning was not measured in this run; see the gradient multipliers."
    here = [r for r in summary["learning"] if r["task"] == headline["task"]]
    base = next((r for r in here if r["method"] == REFERENCE), None)
    rivals = sorted((r for r in here if r["method"] not in oracle and r["method"] != REFERENCE), key=order_key)
    if base is None:
        return f"{place}, RLOO was not run, so there is nothing to compare costs with."
    best = rivals[0] if rivals and isfinite(value_of(rivals[0], "cost")) else None
    own = value_of(base, "cost")
    seeds = f"{base['seeds']} seed{'s' if base['seeds'] != 1 else ''}"
    if best is None:
        if own == inf:
            spent = short(load(base["spent"]))
            return f"{place}, no method reached {GOAL} within its budget (RLOO spent {spent} price units; {seeds})."
        return f"{place}, only RLOO reached {GOAL}, after {short(own)} price units ({seeds})."
    name = titles[best["method"]]
    if own == inf:
        return (
            f"{place}, {name} reaches {GOAL} for {short(value_of(best, 'cost'))} price units; RLOO had not reached it "
            f"after {short(load(base['spent']))}, {short(load(best['at_least']))} times as much ({seeds})."
        )
    value, low, high = (load(best["speedup"][k]) for k in ("value", "low", "high"))
    span = "one seed, no interval" if isnan(low) else f"95 % interval of the factor {_span(low, high)}; {seeds}"
    if value <= 1 or low <= 1:
        return (
            f"{place}, no method reaches {GOAL} at clearly less than RLOO's cost; "
            f"the nearest, {name}, needs {digits(1 / value)} of it ({span})."
        )
    cost = f"1/{digits(value)}" if value >= 2 else digits(1 / value)
    return f"{place}, {name} reaches {GOAL} at {cost} of RLOO's cost ({span})."


def _span(low: float, high: float) -> str:
    return f"{digits(low)} to {digits(high)}" if isfinite(high) else f"at least {digits(low)}"


def _place(headline: Mapping[str, Any]) -> str:
    horizon = headline["horizon"]
    return f"On {headline['task']}" if horizon is None else f"At {horizon} turn{'s' if horizon != 1 else ''}"
