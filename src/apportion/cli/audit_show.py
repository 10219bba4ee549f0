"""An audit as a table, and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from ..audit.budget import FAR
from ..audit.estimate import Figure
from ..audit.run import Line, Pair, Report
from ..edges.escape import plain

WIDTH = 98

WHAT = {
    "advantage": "each unit's action was taken again with fresh dice (Q - V), so the world's luck is not in it",
    "change": "value after a unit less value before it: the luck of the world's answer is in it, where that is random",
}


def text(report: Report) -> str:
    """The table, and what stands behind it, in 98 columns."""
    changes, design = report.changes, report.changes.design
    parts, batch = report.parts, report.subject.batch
    head = [
        f"{report.subject.name}: {design.units.size} {design.level}s of {batch.n_trajectories} rollouts, "
        f"{report.spent:,} continuations, {4 * design.each} each",
        f"restore: {report.subject.restore}" + (f"; {report.checked}" if report.checked else ""),
        f"measured: {WHAT[changes.measured]}",
        f"replica noise: the same prefix asked twice, {design.each} continuations each, differs by {changes.replica:.3f}"
        + ("" if math.isnan(changes.expected) else f" (their own scatter alone: {changes.expected:.3f})"),
        f"units differ by {_root(parts.signal.value)} (standard deviation), one estimate errs by "
        f"{math.sqrt(parts.noise / (2 * design.each)):.3f}; reliability {_short(parts.reliability)}",
        *(f"note: {note}" for note in report.subject.notes),
    ]
    if changes.lost:
        head.append(f"{changes.lost} units left out: nothing came back for them")
    shown = [line for one in head for line in wrap(one, WIDTH, subsequent_indent="  ")]
    shown += ["", f"{'method':<22}{'correlation':<22}{'sign agreement':<22}{'verdict':<20}{'would settle':>12}"]
    shown += [_row(line) for line in report.lines if line.found is not None]
    for pair in report.pairs:
        shown += wrap(_pair(pair), WIDTH, subsequent_indent="  ")
    tail = [f"{line.method}: {line.found.undefined}" for line in report.lines if line.found is not None and line.found.undefined]
    tail += [f"{line.method}: in its loss are {line.coverage:.0%} of these {design.level}s" for line in report.lines
             if line.found is not None and line.coverage < 1]  # fmt: skip
    tail += [f"{plain(line.method)} refused: {plain(line.refused)}" for line in report.lines if line.refused]
    these = ", so they speak of these prompts" if design.over == "rollouts" and batch.group is not None else ""
    tail.append(f"intervals: 95 %, jackknife over {design.clusters} {design.over}{these}")
    if report.best is not None:
        tail.append(f"the interval of the first correlation would be shortest at about --per-unit {report.best}")
    return "\n".join([*shown, "", *(line for one in tail for line in wrap(one, WIDTH, subsequent_indent="  "))])


def _row(line: Line) -> str:
    assert line.found is not None
    found = line.found
    needs = "-" if line.verdict != "open" else _needs(line.needs)
    verdict = {"with the change in value": "with the change"}.get(line.verdict, line.verdict)
    name = f"{line.method} (oracle)" if line.oracle else plain(line.method)
    return f"{name[:21]:<22}{_figure(found.correlation):<22}{_figure(found.sign):<22}{verdict:<20}{needs:>12}"


def _pair(pair: Pair) -> str:
    said = f"{pair.better} before {pair.worse} by {_figure(pair.difference)}"
    return f"{said}: apart" if pair.apart else f"{said}: not told apart; would settle: {_needs(pair.needs)}"


def _needs(count: float | None) -> str:
    return f"over {FAR:,.0f} x" if count is None else f"{float(f'{count:.2g}'):,.0f}"


def _figure(figure: Figure) -> str:
    if math.isnan(figure.value):
        return "-"
    return f"{_short(figure.value)} [{_short(figure.low)}, {_short(figure.high)}]"


def _short(value: float) -> str:
    """Two decimals, without the zero before the point."""
    if math.isnan(value):
        return "-"
    shown = f"{value:.2f}"
    return shown.replace("0.", ".", 1) if shown.lstrip("-").startswith("0.") else shown


def _root(variance: float) -> str:
    return f"{math.sqrt(variance):.3f}" if variance > 0 else "nothing that shows"


def data(report: Report) -> dict[str, Any]:
    """Everything of a report, JSON-able; null where undefined."""
    changes, design, parts = report.changes, report.changes.design, report.parts
    return {
        "env": report.subject.name, "restore": report.subject.restore, "notes": list(report.subject.notes),
        "checked": report.checked or None, "measured": changes.measured, "level": design.level,
        "rollouts": report.subject.batch.n_trajectories, "units": int(design.units.size), "per_unit": 4 * design.each,
        "continuations": report.spent, "lost": changes.lost, "bill": asdict(changes.bill),
        "replica_noise": _known(changes.replica), "expected_noise": _known(changes.expected),
        "signal": {k: _known(v) for k, v in parts.signal._asdict().items()}, "noise": _known(parts.noise),
        "reliability": _known(parts.reliability), "clusters": design.clusters, "over": design.over,
        "best_per_unit": report.best,
        "methods": [_line_data(line) for line in report.lines],
        "pairs": [
            {"better": p.better, "worse": p.worse, "difference": _numbers(p.difference), "apart": p.apart,
             "would_settle": p.needs} for p in report.pairs
        ],
    }  # fmt: skip


def _line_data(line: Line) -> dict[str, Any]:
    if line.found is None:
        return {"method": line.method, "refused": line.refused}
    found = line.found
    return {
        "method": line.method, "correlation": _numbers(found.correlation), "sign": _numbers(found.sign),
        "uncorrected": _known(found.plain), "undefined": found.undefined or None, "verdict": line.verdict,
        "would_settle": line.needs, "oracle": line.oracle,
        "coverage": line.coverage, "units": found.units, "clusters": found.clusters,
        "bill": asdict(line.bill),
    }  # fmt: skip


def _numbers(figure: Figure) -> dict[str, float | None]:
    return {name: _known(value) for name, value in figure._asdict().items()}


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
