"""Who claims to know? Two worlds that no log can tell apart, with opposite credit: silence is the right answer.

In both worlds the policy is sure of itself: it never takes the other action. So the exact advantage is 0 there, a method
that draws alternatives from the policy meets none, and only somebody who forces the other action in the restored state
could learn the contrast. What a method had to go by stands beside its verdict, for it decides what it may know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bench.statistics import resample_index
from .numbers import load
from .pool import mean_estimate, resample_weights
from .read import Run

WORLDS = ("plus", "minus")
#: A method is silent where it says nothing about this share of the choices that decide, in both worlds.
SILENT = 0.99
#: Signs this near to chance, one half, are not worse than it.
NEAR = 0.05

#: What a method goes by, from what its entrant asks.
SOURCES: Mapping[str, str] = {
    "nothing": "the log", "fit": "the log", "author": "the log", "model": "the log and the model", "sampler": "restored states",
}  # fmt: skip
TOLD = "the truth (oracle)"

VERDICTS: Mapping[str, str] = {
    "claims to know": "its signs are surely wrong in at least one world",
    "abstains": "it says nothing about the choices that decide",
    "says nothing wrong": "its signs are surely not worse than chance in either world",
    "tells them apart": "its signs are surely right in both worlds",
    "undecided": "too few seeds to say",
}

Row = dict[str, Any]


def witness_rows(run: Run, found: Mapping[str, Any]) -> list[Row]:
    """One row for each method measured in both worlds: evidence, verdict, and silent, sign and correlation by world.

    sign: how often two credits are ordered as the true contrasts are (.5: no opinion on average). Estimates, 95 % over
    seeds. Whoever goes by the log alone has signs that add up to 1 over the two worlds, to sampling error.
    """
    weights = resample_weights(resample_index(len(run.seeds), int(found["run"]["resamples"]), 0))
    cells = run.values.get("identification", {})
    rows = []
    for method in run.methods():
        both = [cells.get((method, f"witness/{world}", 0, 0.0)) for world in WORLDS]
        if any(cell is None for cell in both):
            continue
        row: Row = {"method": method, "evidence": evidence(run, method), "oracle": run.is_oracle(method)}
        for name, metric in (("silent", "silent"), ("sign", "sign:contrast"), ("correlation", "correlation:contrast")):
            held = [{name: cell[metric]} if cell is not None and metric in cell else {} for cell in both]
            row[name] = {w: mean_estimate(cell, name, weights) for w, cell in zip(WORLDS, held, strict=True)}
        said = [cell["silent"] for cell in both if cell is not None and "silent" in cell]
        silent = [float(np.nanmin(one)) for one in said if not np.isnan(one).all()]
        row["verdict"] = _verdict(silent, row["sign"])
        rows.append(row)
    order = list(VERDICTS)
    return sorted(rows, key=lambda r: (r["oracle"], order.index(r["verdict"]), _wrong(r)))


def witness_text(summary: Mapping[str, Any]) -> list[str]:
    """What was seen, in a sentence or two."""
    rows = [r for r in summary["witness"] if not r["oracle"]]
    if not rows:
        return []
    names = {m["id"]: m["name"] for m in summary["methods"]}
    count = {verdict: [r for r in rows if r["verdict"] == verdict] for verdict in VERDICTS}
    parts = [
        f"{len(found)} {words[0] if len(found) == 1 else words[1]}{_who(found, names)}"
        for found, words in (
            (count["claims to know"], ("claims to know", "claim to know")),
            (count["abstains"], ("abstains", "abstain")),
            (count["says nothing wrong"], ("says nothing wrong", "say nothing wrong")),
            (count["tells them apart"], ("tells the worlds apart", "tell the worlds apart")),
            (count["undecided"], ("was measured too seldom to say", "were measured too seldom to say")),
        )
        if found
    ]
    said = [f"Of {len(rows)} methods that are not told the truth, {'; '.join(parts)}."]
    restored = [r for r in count["claims to know"] if r["evidence"] == SOURCES["sampler"]]
    if restored:
        said.append(
            f"{len(restored)} of those who claim to know asked for states restored exactly{_who(restored, names)}: where "
            "equal texts share one answer, or the outcome itself is part of the credit, what was restored is lost again."
        )
    return said


def evidence(run: Run, method: str) -> str:
    """What a method goes by: the log, restored states, or the truth."""
    return TOLD if run.is_oracle(method) else SOURCES.get(str(run.entrants[method].get("ask", "nothing")), "the log")


def _verdict(silent: list[float], sign: Mapping[str, Mapping[str, Any]]) -> str:
    if len(silent) == len(WORLDS) and min(silent) >= SILENT:
        return "abstains"
    low, high = ([load(sign[w][end]) for w in WORLDS] for end in ("low", "high"))
    if any(h < 0.5 for h in high):
        return "claims to know"
    if all(b > 0.5 for b in low):
        return "tells them apart"
    return "says nothing wrong" if all(b >= 0.5 - NEAR for b in low) else "undecided"


def _wrong(row: Mapping[str, Any]) -> float:
    """Signs in the world where the method is most wrong, for sorting: the most wrong first."""
    values = [load(row["sign"][w]["value"]) for w in WORLDS]
    return min((v for v in values if not np.isnan(v)), default=0.5)


def _who(rows: list[Row], names: Mapping[str, str]) -> str:
    """Up to four names, in brackets."""
    listed = [names[r["method"]] for r in rows]
    return f" ({', '.join(listed)})" if len(listed) <= 4 else f" ({', '.join(listed[:3])} and {len(listed) - 3} more)"
