"""How good must evidence be before it pays, and how large a group? Net multipliers along a knob of an entrant
(``pure-judge80@accuracy=0.9``, ``gigpo@group=16``), in units of RLOO with the suite's own groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan, log
from typing import Any

from .numbers import load, ratio, store

#: Knobs in words, where "KNOB of the evidence" is not what they are.
LABELS: Mapping[str, str] = {
    "group": "rollouts of a prompt (group size)",
    "k": "continuations at each place (k)",
    "forks": "rollouts of a group that are forks",
    "branches": "branches of a prompt in each round",
}


def breakeven_rows(gradient: Sequence[Mapping[str, Any]], batch: int | None) -> list[dict[str, Any]]:
    """One curve per (task, entrant, knob), at the reference batch: points by value of the knob, and where net reaches 1.

    label: what the knob is, in words. best: the point with the highest net, null where none is known.

    even: the value of the knob from which on the method is worth its price, between two points by interpolation of
    log net; null where it never is within the sweep, and the first value where it always is.
    """
    curves: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in gradient:
        base, _, knob = str(row["method"]).partition("@")
        name, found, value = knob.partition("=")
        if row["batch"] != batch or not found or "," in knob or name == "epochs":  # those show in learning only
            continue
        try:
            at = float(value)
        except ValueError:
            continue
        point = {"at": at, "verdict": row["verdict"], **{k: row["net"][k] for k in ("value", "low", "high")}}
        curves.setdefault((row["task"], base, name), []).append(point)
    rows = []
    for (task, base, knob), points in curves.items():
        points.sort(key=lambda p: float(p["at"]))
        known = [p for p in points if p["value"] is not None]
        best = max(known, key=lambda p: load(p["value"]), default=None)
        row = {"task": task, "base": base, "knob": knob, "label": LABELS.get(knob, f"{knob} of the evidence")}
        rows.append(row | {"points": points, "even": store(_even(points)), "best": best})
    return rows


def _even(points: Sequence[Mapping[str, Any]]) -> float:
    """Where net crosses 1 for the last time and stays above; NaN where it does not."""
    net = [load(p["value"]) for p in points]
    worth = [not isnan(v) and v >= 1.0 for v in net]
    if not worth[-1]:
        return float("nan")
    first = len(worth) - 1
    while first > 0 and worth[first - 1]:
        first -= 1
    if first == 0 or isnan(net[first - 1]) or net[first - 1] <= 0 or net[first] == float("inf"):
        return float(points[first]["at"])
    low, high = log(net[first - 1]), log(net[first])
    share = -low / (high - low)
    return float(points[first - 1]["at"] + share * (points[first]["at"] - points[first - 1]["at"]))


def breakeven_text(summary: Mapping[str, Any]) -> list[str]:
    """A sentence per curve."""
    said = []
    for row in summary["breakeven"]:
        where, last, best = f"{row['base']} on {row['task']}", row["points"][-1], row["best"]
        top = ratio(load(None if best is None else best["value"]))
        if row["knob"] == "group":  # more is not better: batches are equally large, so larger groups are fewer prompts
            said.append(
                f"{where}: no group is known to help" if best is None else f"{where}: best at group {best['at']:g} ({top})"
            )
        elif row["even"] is None:
            said.append(f"{where}: not worth its price up to {row['knob']} {last['at']:g} (best net {top})")
        else:
            said.append(f"{where}: worth its price from {row['knob']} {load(row['even']):.3g} on")
    return said
