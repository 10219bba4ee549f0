"""How often training collapses, over all seeds and the whole grid of settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..bench.collapse import stalled
from ..bench.statistics import Float, wilson
from .numbers import load, store

Cell = Mapping[str, Float]


def collapse_share(hits: int, runs: int) -> dict[str, Any]:
    """``{value, low, high}`` with the score interval; settings that collapse always or never make it wider than needed."""
    return dict(zip(("value", "low", "high"), map(store, wilson(hits, runs)), strict=True))


def collapse_row(cells: Iterable[Cell]) -> dict[str, Any] | None:
    """Share of the training runs in these cells that collapsed, ``{value, low, high, runs, collapsed, certain}``.

    certain: how many of the collapsed ones had become certain (see :mod:`bench.collapse`); the others lost what they had
    gained. None where the run does not tell.
    """
    hits = runs = certain = 0
    for cell in cells:
        if "collapsed" not in cell:
            continue
        known = ~np.isnan(cell["collapsed"])
        runs, hits = runs + int(known.sum()), hits + int((cell["collapsed"][known] > 0.5).sum())
        ends = (cell[name][known].tolist() for name in ("first_entropy", "entropy", "reached"))
        certain += sum(stalled(first, last, reached > 0.5) for first, last, reached in zip(*ends, strict=True))
    return collapse_share(hits, runs) | {"runs": runs, "collapsed": hits, "certain": certain} if runs else None


def collapse_text(summary: Mapping[str, Any]) -> str:
    """Who collapses how often, over all tasks, most often first; empty where the run does not tell."""
    total: dict[str, list[int]] = {}
    for row in summary["learning"]:
        if row["collapse"] is not None:
            at = total.setdefault(row["method"], [0, 0])
            at[0], at[1] = at[0] + row["collapse"]["collapsed"], at[1] + row["collapse"]["runs"]
    if not total:
        return ""
    names = {m["id"]: m["name"] for m in summary["methods"]}
    order = sorted((m for m in total if total[m][0]), key=lambda m: (-total[m][0] / total[m][1], m))
    runs = sum(n for _, n in total.values())
    if not order:
        return f"Collapse: none of {runs:,} training runs lost what it had gained or grew certain before its goal."
    each = []
    for method in order:
        share = collapse_share(*total[method])
        low, high = (load(share[end]) for end in ("low", "high"))
        each.append(f"{names[method]} {load(share['value']):.0%} ({low:.0%} to {high:.0%})")
    rest = len(total) - len(order)
    tail = f"; none of the other {rest}" if rest > 1 else "; not the other" if rest else ""
    return f"Collapse, share of training runs over all settings ({runs:,} runs): {', '.join(each)}{tail}."
