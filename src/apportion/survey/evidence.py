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

from typing import Literal

from pydantic import BaseModel, ConfigDict

from .coded import Coded

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
    benchmarks: Coded[int]
    seeds: Coded[int]
    interval: Coded[bool]


def level(facts: Facts) -> Level:
    """The level that follows from the facts."""
    if facts.role.value == "enabler":
        return "E"
    if facts.role.value == "analysis" or facts.comparator.value == "none":
        return "A"
    if facts.comparator.value == "unmatched":
        return "L"
    if facts.comparator.value is None:
        return "unknown"
    enough = [(facts.benchmarks.value or 0) >= 2, (facts.seeds.value or 0) >= 3, bool(facts.interval.value)]
    if any(enough):
        return "S"
    # One benchmark is known, and nothing is known of seeds or intervals: what is known does not reach S.
    decided = facts.benchmarks.known and facts.seeds.known and facts.interval.known
    return "L" if decided else "unknown"
