"""What the methods would say: credit by length and by position, and signs against RLOO."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..batch import Batch
from ..credit import Credit, Preferences
from ..errors import ApportionError
from ..feeds import feeds
from ..pipeline import assign
from ..registry import get
from ..structure import Bool, Float
from .buckets import BUCKETS, bucket
from .findings import Finding
from .tally import Tally, at_turns, many, percent
from .trends import say_length, say_positions

#: The yardstick of signs: unbiased, free, and what the others refine.
YARDSTICK = "rloo"


def look(batch: Batch, tally: Tally) -> None:
    ready = [f.method for f in feeds(batch.present) if f.ready and (tally.methods is None or f.method in tally.methods)]
    if tally.methods is not None:
        for id_ in set(tally.methods) - set(ready):
            lacking = next(f.why_not for f in feeds(batch.present) if f.method == id_)
            tally.said.setdefault(f"refused.{id_}", lacking)
            tally.add(f"refused.{id_}", batch.n_trajectories)
    yardstick = _assign(batch, YARDSTICK, tally) if YARDSTICK in {f.method for f in feeds(batch.present) if f.ready} else None
    for id_ in ready:
        credit = yardstick if id_ == YARDSTICK else _assign(batch, id_, tally)
        if credit is None:
            continue
        tally.add(f"credited.{id_}", batch.n_trajectories)
        _lengths(credit, id_, tally)
        _positions(credit, id_, tally)
        if yardstick is not None and id_ != YARDSTICK:
            _signs(credit, yardstick, id_, tally)


def _assign(batch: Batch, id_: str, tally: Tally) -> Credit | None:
    """Credit of every unit of this batch, or None and why not: no method may stop the examination."""
    # a group of one has a finding of its own: here it gets 0
    options: dict[str, Any] = {"single": "zero"} if "single" in get(id_).options else {}
    try:
        credit = assign(batch, id_, rng=0, **options)
        why = _unlike(credit)
    except (ApportionError, ValueError) as error:
        credit, why = None, str(error)
    if isinstance(credit, Credit) and not why:
        return credit
    tally.said.setdefault(f"refused.{id_}", why)
    tally.add(f"refused.{id_}", batch.n_trajectories)
    return None


def _unlike(credit: Credit | Preferences) -> str:
    """Why a result cannot be laid beside advantages of the same turns; empty where it can."""
    if isinstance(credit, Preferences):
        return "it gives pairs, not credit"
    if credit.rows is not None:
        return "it picks rows, so its credit is not for the same turns"
    return "" if credit.kind == "advantage" else f"it gives a {credit.kind}, no advantage"


def _lengths(credit: Credit, id_: str, tally: Tally) -> None:
    """Per bucket of length: trajectories, mean credit, mean |credit|; and the moments within groups."""
    batch = credit.batch
    length = batch.action_count("trajectory")
    mean = credit.on("trajectory")
    owner = batch.within("token", "trajectory")
    size = np.bincount(owner, weights=np.abs(credit.token), minlength=length.size) / length
    at = bucket(length)
    table = tally.table(f"length.{id_}", (3, BUCKETS))
    for row, values in enumerate((np.ones(length.size), mean, size)):
        table[row] += np.bincount(at, weights=values, minlength=BUCKETS)
    over = batch.within("trajectory", "group")
    members = np.bincount(over)
    x = length - (np.bincount(over, weights=length) / members)[over]
    y = mean - (np.bincount(over, weights=mean) / members)[over]
    several = members[over] > 1
    moments = tally.table(f"moments.{id_}", (5,))
    moments += [several.sum(), x @ x, y @ y, x @ y, np.count_nonzero(members > 1)]


def _positions(credit: Credit, id_: str, tally: Tally) -> None:
    """Per position: turns, mean credit, and the sum of |credit| over the policy tokens in the loss."""
    batch = credit.batch
    at = bucket(batch.turn_index)
    mass = np.bincount(batch.within("token", "turn"), weights=np.abs(credit.token) * credit.kept, minlength=batch.n_turns)
    tally.span("turn index", batch.turn_index.astype(np.float64))
    table = tally.table(f"position.{id_}", (4, BUCKETS))
    tokens = batch.action_count("turn").astype(np.float64)
    for row, values in enumerate((np.ones(at.size), credit.on("turn"), mass, tokens)):
        table[row] += np.bincount(at, weights=values, minlength=BUCKETS)


def _signs(credit: Credit, yardstick: Credit, id_: str, tally: Tally) -> None:
    batch = credit.batch
    said = _scored(credit)
    for unit, ours, theirs, mask in (
        ("turns", credit.on("turn"), yardstick.on("turn"), np.logical_or.reduceat(said & batch.action, batch.turn_offsets[:-1])),
        ("tokens", credit.token, yardstick.token, said & batch.action),
    ):
        a, b = _sign(ours), _sign(theirs)
        flipped = mask & (a * b < 0)
        counts = (mask & (a * b != 0), flipped, mask & (a == 0) & (b != 0), mask & (a != 0) & (b == 0), mask)
        for name, which in zip(("both", "flipped", "silenced", "voiced", "all"), counts, strict=True):
            tally.add(f"signs.{id_}.{unit}.{name}", which.sum())
        if unit == "turns" and flipped.any():
            apart = np.where(flipped, np.abs(ours - theirs), 0.0)
            top = np.argsort(-apart, kind="stable")[: min(3, int(flipped.sum()))]
            places = [
                next(iter(at_turns(batch, np.array([u]), f"{id_} says {ours[u]:+.3g}, RLOO {theirs[u]:+.3g}"))) for u in top
            ]
            tally.see_largest(f"signs.{id_}", apart[top], places)


def _sign(values: Float) -> Float:
    """-1, 0 or 1; what is only rounding beside the largest value counts as 0."""
    scale = float(np.abs(values).max()) if values.size else 0.0
    return np.where(np.abs(values) <= 1e-9 * scale, 0.0, np.sign(values))


def _scored(credit: Credit) -> Bool:
    """Tokens of units the method has an opinion on."""
    if credit.scored is None or credit.level == "segment":
        return np.ones(credit.batch.n_tokens, dtype=np.bool_)
    return credit.scored[credit.batch.within("token", credit.level)]


def say(tally: Tally) -> Iterator[Finding]:
    count = tally.count
    for name in sorted(n for n in count if n.startswith("refused.")):
        id_ = name.removeprefix("refused.")
        says = f"{id_} cannot credit {many(count[name], 'trajectory')} of {count['trajectories']:,}: {tally.said[name]}"
        yield Finding("method-refused", "note", says, {"method": id_, "trajectories": count[name]})
    methods = sorted(n.removeprefix("credited.") for n in count if n.startswith("credited."))
    if not methods:
        return
    yield say_length(tally, methods)
    yield say_positions(tally, methods)
    compared = [m for m in methods if count[f"signs.{m}.turns.all"]]
    if compared:
        yield _say_signs(tally, compared)


def _say_signs(tally: Tally, methods: list[str]) -> Finding:
    count = tally.count
    figures = {
        m: {
            unit: {name: count[f"signs.{m}.{unit}.{name}"] for name in ("all", "both", "flipped", "silenced", "voiced")}
            for unit in ("turns", "tokens")
        }
        for m in methods
    }
    shares = {m: count[f"signs.{m}.turns.flipped"] / count[f"signs.{m}.turns.all"] for m in methods}
    most = max(methods, key=lambda m: shares[m])
    flips = [m for m in sorted(methods, key=lambda m: -shares[m]) if shares[m]]
    never = [m for m in methods if not shares[m]]
    tokens = {m: count[f"signs.{m}.tokens.flipped"] / count[f"signs.{m}.tokens.all"] for m in methods}
    parts = [f"{m} {percent(shares[m])} of turns ({percent(tokens[m])} of tokens)" for m in flips]
    says = f"RLOO's sign is flipped by {', '.join(parts)}. " if flips else ""
    says += f"Never flipped by {', '.join(never)}." if never else ""
    says = says.rstrip()
    return Finding("sign-flips", "note" if flips else "fine", says, figures, tally.seen_largest(f"signs.{most}") if flips else ())
