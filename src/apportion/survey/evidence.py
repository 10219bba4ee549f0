"""The evidence level of a paper, derived from facts by a written rubric; never typed in.

    E  an enabler: infrastructure, shaping or a framework; no claim of its own on credit
    S  strong: an episode-level comparator on the same base model, and two benchmarks or three
       training seeds or an interval
    L  limited: a comparator, but not on the same base model; or matched, with one benchmark and no spread
    A  analysis: an argument without an empirical comparison
    unknown  where the facts that decide are unknown

The codes S, L, A and E are the survey's; it prints levels without a rubric, so the rubric is ours.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from .coded import Coded

Count = Annotated[int, Field(strict=True, ge=0)]
Level = Literal["S", "L", "A", "E", "unknown"]


class Facts(BaseModel):
    """comparator: an episode-level method (GRPO, PPO …) trained beside it: "matched" on the same base
    model, "unmatched", or "none". benchmarks: how many. seeds: training runs of the main result.
    interval: whether a confidence interval or a standard deviation over runs is given. role: "method",
    "enabler" or "analysis".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Coded[Literal["method", "enabler", "analysis"]]
    comparator: Coded[Literal["matched", "unmatched", "none"]]
    benchmarks: Coded[Count]
    seeds: Coded[Count]
    interval: Coded[StrictBool]


def level(facts: Facts) -> Level:
    """The level that follows from the facts."""
    return verdict(facts)[0]


def verdict(facts: Facts) -> tuple[Level, str]:
    """The level that follows from the facts, and which of them decide it."""
    if facts.role.value == "enabler":
        return "E", "an enabler: no claim of its own on credit"
    if facts.role.value == "analysis":
        return "A", "an analysis: an argument without an empirical comparison"
    if facts.comparator.value == "none":
        return "A", "no episode-level method was trained beside it"
    if facts.comparator.value == "unmatched":
        return "L", "the comparator was not on the same base model"
    if facts.comparator.value is None:
        return "unknown", "whether an episode-level method was trained beside it is unknown"
    enough = {
        f"{facts.benchmarks.value} benchmarks": (facts.benchmarks.value or 0) >= 2,
        f"{facts.seeds.value} seeds": (facts.seeds.value or 0) >= 3,
        "an interval": bool(facts.interval.value),
    }
    if any(enough.values()):
        return "S", f"a comparator on the same base model, and {', '.join(said for said, holds in enough.items() if holds)}"
    # One benchmark is known, and nothing is known of seeds or intervals: what is known does not reach S.
    open_ = [name for name in ("benchmarks", "seeds", "interval") if not getattr(facts, name).known]
    if open_:
        return "unknown", f"a comparator on the same base model, but unknown: {', '.join(open_)}"
    return "L", "a comparator on the same base model, but one benchmark, fewer than three seeds and no interval"
