"""What the methods would say: credit by length and by position, and signs against RLOO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..batch import Batch
from ..credit import Credit, Preferences
from ..edges.facts import many
from ..errors import ApportionError
from ..feeds import feeds
from ..pipeline import assign
from ..registry import get
from ..structure import Bool, Float
from .buckets import BUCKETS, bucket
from .findings import Finding
from .tally import FEW, Tally, at_turns, percent
from .trends import say_length, say_positions

Signs = NDArray[np.int8]

#: The yardstick of signs: unbiased, free, and what the others refine.
YARDSTICK = "rloo"


@dataclass(frozen=True)
class Said:
    """Credit of one batch, summed once: per turn its mean and the sum of |credit| in the loss; the signs of both levels."""

    credit: Credit
    mean: Float
    size: Float
    turn_sign: Signs
    token_sign: Signs


def look(batch: Batch, tally: Tally) -> None:
    fed = feeds(batch.present)
    ready = {f.method for f in fed if f.ready}
    for f in fed:
        if tally.methods is not None and f.method in tally.methods and not f.ready:
            _refuse(batch, f.method, f.why_not, tally)
    yardstick = _assign(batch, YARDSTICK, tally) if YARDSTICK in ready else None
    for id_ in sorted(ready if tally.methods is None else ready & set(tally.methods)):
        said = yardstick if id_ == YARDSTICK else _assign(batch, id_, tally)
        if said is None:
            continue
        tally.add(f"credited.{id_}", batch.n_trajectories)
        _lengths(said, id_, tally)
        _positions(said, id_, tally)
        if yardstick is not None and id_ != YARDSTICK:
            _signs(said, yardstick, id_, tally)


def _assign(batch: Batch, id_: str, tally: Tally) -> Said | None:
    """What a method says of this batch, or None and why not: no method may stop the examination."""
    # a group of one has a finding of its own: here it gets 0
    options: dict[str, Any] = {"single": "zero"} if "single" in get(id_).options else {}
    try:
        credit = assign(batch, id_, rng=0, **options)
        why = _unlike(credit)
    except (ApportionError, ValueError) as error:
        credit, why = None, str(error)
    if isinstance(credit, Credit) and not why:
        return _said(credit)
    if credit is None or tally.methods is not None:  # nobody asked for what is by nature no credit of these turns
        _refuse(batch, id_, why, tally)
    return None


def _refuse(batch: Batch, id_: str, why: str, tally: Tally) -> None:
    tally.said.setdefault(f"refused.{id_}", why)
    tally.add(f"refused.{id_}", batch.n_trajectories)


def _said(credit: Credit) -> Said:
    batch, begin = credit.batch, credit.batch.turn_offsets[:-1]
    mean = np.add.reduceat(credit.token, begin) / batch.action_count("turn")
    size = np.add.reduceat(np.abs(credit.token) if credit.keep is None else np.abs(credit.token) * credit.keep, begin)
    return Said(credit, mean, size, _sign(mean), _sign(credit.token))


def _unlike(credit: Credit | Preferences) -> str:
    """Why a result cannot be laid beside advantages of the same turns; empty where it can."""
    if isinstance(credit, Preferences):
        return "it gives pairs, not credit"
    if credit.rows is not None:
        return "it picks rows, so its credit is not for the same turns"
    return "" if credit.kind == "advantage" else f"it gives a {credit.kind}, no advantage"


def _lengths(said: Said, id_: str, tally: Tally) -> None:
    """Per bucket of length: trajectories, mean credit, mean |credit|; and the moments within groups."""
    batch = said.credit.batch
    length, begin = batch.action_count("trajectory"), batch.trajectory_turns[:-1]
    mean = np.add.reduceat(said.mean * batch.action_count("turn"), begin) / length
    size = np.add.reduceat(said.size, begin) / length
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


def _positions(said: Said, id_: str, tally: Tally) -> None:
    """Per position: turns, mean credit, the sum of |credit| in the loss, and policy tokens."""
    batch = said.credit.batch
    at = bucket(batch.turn_index)
    tally.span("turn index", batch.turn_index.astype(np.float64))
    table = tally.table(f"position.{id_}", (4, BUCKETS))
    for row, values in enumerate((np.ones(at.size), said.mean, said.size, batch.action_count("turn").astype(np.float64))):
        table[row] += np.bincount(at, weights=values, minlength=BUCKETS)


def _signs(said: Said, yardstick: Said, id_: str, tally: Tally) -> None:
    batch = said.credit.batch
    opinion = _scored(said.credit) & batch.action
    turns: Bool = np.logical_or.reduceat(opinion, batch.turn_offsets[:-1])
    for unit, a, b, mask in (
        ("turns", said.turn_sign, yardstick.turn_sign, turns),
        ("tokens", said.token_sign, yardstick.token_sign, opinion),
    ):
        flipped = mask & (a * b < 0)
        counts = (mask & (a * b != 0), flipped, mask & (a == 0) & (b != 0), mask & (a != 0) & (b == 0), mask)
        for name, which in zip(("both", "flipped", "silenced", "voiced", "all"), counts, strict=True):
            tally.add(f"signs.{id_}.{unit}.{name}", np.count_nonzero(which))
        if unit == "turns" and flipped.any():
            apart = np.where(flipped, np.abs(said.mean - yardstick.mean), 0.0)
            top = np.argsort(-apart, kind="stable")[: min(FEW, int(flipped.sum()))]
            words = [f"{id_} says {said.mean[u]:+.3g}, RLOO {yardstick.mean[u]:+.3g}" for u in top]
            places = [place for u, what in zip(top, words, strict=True) for place in at_turns(batch, np.array([u]), what)]
            tally.see_largest(f"signs.{id_}", apart[top], places)


def _sign(values: Float) -> Signs:
    """-1, 0 or 1; what is only rounding beside the largest value counts as 0."""
    near = 1e-9 * max(float(values.max()), -float(values.min()))
    return (values > near).astype(np.int8) - (values < -near).astype(np.int8)


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
