"""Sweeps: what happens to each method as one knob of a family moves and everything else stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite, isnan, log, nan
from typing import Any

from ..bench.sweeps import SWEEPS, Sweep
from ..bench.sweeps import said as said_value
from .gradient import REFERENCE
from .numbers import digits, load, ratio
from .read import Run

#: Lines drawn in full beside the reference and exact credit; the others are faint.
SHOWN = 4
#: Changes named in the sentence.
NAMED = 4

Row = dict[str, Any]


def sweeps_rows(run: Run, found: Mapping[str, Any]) -> list[Row]:
    """One row for each knob of which the run holds at least two points, at the reference batch.

    points: {value, task} in order. lines: per method ``net`` and ``rho`` (estimates) and ``verdict``, one entry a point,
    null where it was not measured. changes: methods whose intervals at two points lie apart, the largest change first:
    between the two ends of a knob with numbers, else between the method's lowest and highest point. shown: methods to
    draw in full. said: one sentence.
    """
    rows = {(r["task"], r["method"]): r for r in found["gradient"] if r["batch"] == found["reference_batch"]}
    made = []
    for sweep in SWEEPS.values():
        points = [(value, task) for value, task in sweep.points if any(key[0] == task for key in rows)]
        if len(points) < 2:
            continue
        lines = [_line(m, points, rows) for m in run.methods()]
        lines = [line for line in lines if sum(r is not None for r in line["rho"]) >= 2]
        changes = [c for line in lines if line["method"] != REFERENCE and (c := change(line, points)) is not None]
        changes.sort(key=lambda c: -c["size"])
        row: Row = {
            "knob": sweep.knob, "title": sweep.title, "separates": sweep.separates,
            "points": [{"value": v, "task": t} for v, t in points], "batch": found["reference_batch"],
            "lines": lines, "changes": changes,
        }  # fmt: skip
        row["shown"] = _shown(run, row)
        row["said"] = _said(run, sweep, row)
        made.append(row)
    return made


def sweeps_text(summary: Mapping[str, Any]) -> list[str]:
    """A sentence for each knob."""
    return [row["said"] for row in summary["sweeps"]]


def _line(method: str, points: Sequence[tuple[float | str, str]], rows: Mapping[tuple[str, str], Row]) -> Row:
    at = [rows.get((task, method)) for _, task in points]
    line: Row = {name: [None if r is None else r[name] for r in at] for name in ("net", "rho", "verdict")}
    return {"method": method, **line}


def change(line: Mapping[str, Any], points: Sequence[tuple[float | str, str]]) -> Row | None:
    """How a method surely changes along a knob; None where no two intervals lie apart.

    of: "net" where the net multiplier is known at both points, else "rho". size: |log ratio| of net, or ten times the
    difference of rho, so that the worst (a method that turns round) stands first.
    """
    known = [i for i, r in enumerate(line["rho"]) if r is not None]
    ordered = all(isinstance(value, float) for value, _ in points)
    pairs = [(known[0], known[-1])] if ordered else [(i, j) for i in known for j in known if i < j]
    found = [c for i, j in pairs if (c := _between(line, i, j)) is not None]
    return max(found, key=lambda c: float(c["size"]), default=None)


def _between(line: Mapping[str, Any], i: int, j: int) -> Row | None:
    whole = all(_bounds(line["net"][k]) is not None and load(line["net"][k]["low"]) > 0 for k in (i, j))
    of = "net" if whole else "rho"
    a, b = _bounds(line[of][i]), _bounds(line[of][j])
    if a is None or b is None or (a[1] <= b[2] and b[1] <= a[2]):
        return None
    size = abs(log(b[0] / a[0])) if whole else 10.0 * abs(b[0] - a[0])
    return {"method": line["method"], "from": i, "to": j, "of": of, "rises": b[0] > a[0], "size": round(size, 6)}


def _bounds(found: Mapping[str, Any] | None) -> tuple[float, float, float] | None:
    """Value, low and high of an estimate; None where one of them is unknown or never."""
    three = (nan, nan, nan) if found is None else tuple(load(found[k]) for k in ("value", "low", "high"))
    return (three[0], three[1], three[2]) if all(isfinite(x) for x in three) else None


def _shown(run: Run, row: Mapping[str, Any]) -> list[str]:
    """The reference and exact credit, then methods that change most, then those worth most; oracles stay faint."""
    there = [line["method"] for line in row["lines"]]
    fair = [m for m in there if m != REFERENCE and not run.is_oracle(m)]
    moved = [c["method"] for c in row["changes"] if c["method"] in fair][: SHOWN // 2]
    worth = sorted((line for line in row["lines"] if line["method"] in fair), key=_worth)
    chosen = list(dict.fromkeys([*moved, *(line["method"] for line in worth)]))[:SHOWN]
    return [m for m in (REFERENCE, "exact") if m in there] + chosen


def _worth(line: Mapping[str, Any]) -> tuple[float, str]:
    """For sorting: mean log net, where known, largest first; a point without one counts as nothing."""
    nets = [load(n["value"]) if n is not None else nan for n in line["net"]]
    logs = [log(n) if n > 0 and n != inf else (log(1e6) if n == inf else -log(1e6)) for n in nets if not isnan(n)]
    return (-sum(logs) / len(nets) if logs else inf, str(line["method"]))


def _said(run: Run, sweep: Sweep, row: Mapping[str, Any]) -> str:
    names, fair = run.names(), [c for c in row["changes"] if not run.is_oracle(c["method"])]
    lines = {line["method"]: line for line in row["lines"]}
    start = f"{sweep.title[:1].upper()}{sweep.title[1:]}: separates {sweep.separates}."
    others = sum(1 for m in lines if m != REFERENCE and not run.is_oracle(m)) - len(fair)
    if not fair:
        return f"{start} Seen here: nothing; the intervals of all {others} methods beside RLOO overlap."
    told = "; ".join(_told(names[c["method"]], lines[c["method"]], c, row["points"]) for c in fair[:NAMED])
    more = [f"{len(fair) - NAMED} more change surely"] if len(fair) > NAMED else []
    more += [f"of {others} the intervals overlap"] if others else []
    return f"{start} Seen: {told}" + (f" ({', '.join(more)})." if more else ".")


def _told(name: str, line: Mapping[str, Any], c: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> str:
    i, j = c["from"], c["to"]
    ends = [said_value(points[k]["value"]) for k in (i, j)]
    a, b = (load(line[c["of"]][k]["value"]) for k in (i, j))
    way = "rises" if c["rises"] else "falls"
    if c["of"] == "net":
        return f"{name} {way} from {ratio(a)} at {ends[0]} to {ratio(b)} at {ends[1]}"
    turned = ", the wrong way," if line["verdict"][j] == "pushes the wrong way" else ""
    return f"{name}’s alignment {way} from {digits(a)} at {ends[0]} to {digits(b)}{turned} at {ends[1]}"
