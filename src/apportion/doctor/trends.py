"""Credit by length of the trajectory and by position of the turn, in words and pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..edges.facts import many
from ..structure import Float
from .buckets import bucket, equal_parts, label, positions, smallest
from .findings import Finding, Line, Picture
from .tally import Tally, percent

#: A correlation of this size, and this many standard errors from 0, is called a bias.
_STRONG, _SURE = 0.2, 3.0


def say_length(tally: Tally, methods: Sequence[str]) -> Finding:
    figures, biased, lines, sizes = {}, [], [], []
    counts = tally.tables[f"length.{methods[0]}"][0]
    for m in methods:  # a method may have refused some of the batches
        if tally.tables[f"length.{m}"][0].sum() > counts.sum():
            counts = tally.tables[f"length.{m}"][0]
    parts = equal_parts(counts, 10)
    for m in methods:
        n, xx, yy, xy, groups = tally.tables[f"moments.{m}"].tolist()
        r = xy / np.sqrt(xx * yy) if xx > 0 and yy > 1e-18 * max(n, 1) else float("nan")
        free = n - groups  # degrees of freedom left by the group means
        sure = abs(r) * np.sqrt(free) > _SURE if np.isfinite(r) else False
        mean, size = _means(tally.tables[f"length.{m}"], parts)
        figures[m] = {"correlation": r, "trajectories": n, "mean_by_length": mean, "mean_size_by_length": size}
        if sure and abs(r) >= _STRONG:
            biased.append((m, r))
        beside = f"correlation {r:+.2f}" if np.isfinite(r) else "no correlation: nothing varies"
        lines.append(Line(m, tuple(mean), beside))
        sizes.append(Line(m, tuple(size), f"{min(size):.2g} to {max(size):.2g}"))
    columns = tuple(label(smallest(a), max(smallest(b) - 1, smallest(a))) for a, b in parts)
    pictures = (
        Picture("mean credit, short to long (policy tokens)", columns, tuple(lines), signed=True),
        Picture("mean |credit|, short to long", columns, tuple(sizes)),
    )
    figures["_lengths"] = {"labels": list(columns)}
    if biased:
        way = ", ".join(f"{m} {r:+.2f}" for m, r in biased)
        longer = "longer" if biased[0][1] > 0 else "shorter"
        says = f"Within groups, credit goes with length: correlation {way} ({longer} earns more)."
        return Finding("length-bias", "warning", says, figures, (), pictures)
    n = max(f["trajectories"] for name, f in figures.items() if name != "_lengths")
    few = n < 30
    says = (
        f"Only {many(n, 'trajectory')} can be compared within groups: too few to judge whether credit goes with length."
        if few
        else "Credit does not go with length within groups."
    )
    return Finding("length-bias", "note" if few else "fine", says, figures, (), pictures)


def say_positions(tally: Tally, methods: Sequence[str]) -> Finding:
    figures, lines, weights = {}, [], []
    last = int(tally.highs["turn index"])
    ranges = positions(last)
    parts = [(int(bucket(np.array([a]))[0]), int(bucket(np.array([b]))[0])) for a, b in ranges]
    columns = tuple(label(a + 1, min(b, last + 1)) for a, b in ranges)
    begin = []
    for m in methods:
        turns, total, mass, tokens = (_sums(row, parts) for row in tally.tables[f"position.{m}"])
        mean = np.where(turns > 0, total / np.maximum(turns, 1), np.nan)
        share = mass / mass.sum() if mass.sum() > 0 else np.zeros(mass.size)
        figures[m] = {"mean": mean, "share_of_weight": share, "share_of_tokens": tokens / max(tokens.sum(), 1), "turns": turns}
        top = int(np.argmax(share))
        begin.append(f"{m} {percent(float(share[0]))}")
        near = 1e-9 * np.nanmax(np.abs(mean))
        low, high = (0.0 if abs(v) <= near else v for v in (np.nanmin(mean), np.nanmax(mean)))
        lines.append(Line(m, tuple(mean.tolist()), f"{low:+.2g} to {high:+.2g}"))
        weights.append(Line(m, tuple(share.tolist()), f"most at turn {columns[top]}: {percent(float(share[top]))}"))
    figures["_positions"] = {"labels": list(columns)}
    weighs = "share of gradient weight (sum of |credit| over policy tokens) by turn; later bars hold several"
    pictures = (
        Picture("mean credit by turn, from the first", columns, tuple(lines), signed=True),
        Picture(weighs, columns, tuple(weights)),
    )
    if len(columns) == 1:
        return Finding("credit-by-position", "fine", "Every trajectory is one turn: there are no positions to compare.", figures)
    tokens = figures[methods[0]]["share_of_tokens"]
    says = (
        f"Turns stand at positions 1 to {last + 1:,}. The first turn holds {percent(float(tokens[0]))} of the "
        f"policy's tokens and this share of the gradient's weight: {', '.join(begin)}."
    )
    return Finding("credit-by-position", "note", says, figures, (), pictures)


def _sums(row: Float, parts: Sequence[tuple[int, int]]) -> Float:
    return np.array([row[a:b].sum() for a, b in parts])


def _means(table: Float, parts: Sequence[tuple[int, int]]) -> tuple[list[float], list[float]]:
    n, mean, size = (_sums(row, parts) for row in table)
    return (np.where(n > 0, mean / np.maximum(n, 1), np.nan)).tolist(), (
        np.where(n > 0, size / np.maximum(n, 1), np.nan)
    ).tolist()
