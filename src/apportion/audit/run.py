"""An audit from the design to the table."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..bench.entrants import Entrant
from ..bench.tabular import Bool, Float
from ..errors import ApportionError, BenchError
from ..evidence import Bill
from .ask import Changes, ask
from .budget import Components, best_per_unit, components, settles
from .credit import at_units, chosen, credit_of, refuse_unfed
from .design import design
from .estimate import Agreement, Figure, agreement, difference
from .subjects import Subject

#: A correlation needs so many units.
ENOUGH = 8


class Line(NamedTuple):
    """One method. verdict: "with the change in value", "against it" or "open", by whether the covariance leaves 0 out.

    needs: continuations that would settle an open verdict (None: more than 1,000 times as many). coverage: share of the
    audited units it has in its loss. refused: why it gave no credit, empty where it did. bill: what it asked itself.
    oracle: it reads the truth, stands below the others and is compared with nobody.
    """

    method: str
    found: Agreement | None
    verdict: str
    needs: float | None
    coverage: float
    bill: Bill
    refused: str = ""
    oracle: bool = False


class Pair(NamedTuple):
    """Two methods over the units that both have: the first less the second, and what would tell them apart."""

    better: str
    worse: str
    difference: Figure
    apart: bool
    needs: float | None


@dataclass(frozen=True, eq=False)
class Report:
    """What an audit found. lines: best first. pairs: neighbours in that order. best: continuations a unit that would make
    the interval of the first line shortest. checked: what having the places again before the start showed.
    """

    subject: Subject
    changes: Changes
    spent: int
    parts: Components
    lines: tuple[Line, ...]
    pairs: tuple[Pair, ...]
    best: int | None
    checked: str


def audit(
    subject: Subject,
    methods: Sequence[str],
    *,
    budget: int = 4096,
    per_unit: int = 16,
    seed: int = 0,
    watch: Callable[[int, int], None] | None = None,
) -> Report:
    """Audit the credit of ``methods`` on a subject's rollouts, with ``budget`` continuations, ``per_unit`` a unit.

    Everything that can be refused is refused before the first continuation.
    """
    who = chosen(methods, truth=subject.exact is not None)
    refuse_unfed(who, subject)
    rng = np.random.default_rng([seed, 11])
    plan = design(subject.batch, subject.level, budget, per_unit, rng)
    checked = subject.verified(plan.units) if subject.verified is not None else ""
    changes = ask(subject.batch, subject.sampler(), plan, rng, watch)
    spent = changes.design.continuations
    given: dict[str, tuple[Float, Bool]] = {}
    lines = []
    for one in who:
        line, values = _line(one, subject, changes, spent, seed)
        lines.append(line)
        if values is not None:
            given[one.id] = values
    lines.sort(key=_place)
    parts = components(changes)
    first = next((line.found for line in lines if line.found is not None and not line.found.undefined and not line.oracle), None)
    ratio = parts.noise / parts.signal.value if parts.signal.value > 0 else float("nan")
    best = None if first is None else best_per_unit(first.correlation.value, ratio)
    return Report(subject, changes, spent, parts, tuple(lines), tuple(_pairs(lines, given, changes, spent)), best, checked)


def _line(one: Entrant, subject: Subject, changes: Changes, spent: int, seed: int) -> tuple[Line, tuple[Float, Bool] | None]:
    try:
        credit = credit_of(one, subject, np.random.default_rng([seed, 12]))
        values, known = at_units(credit, subject.batch, changes.design.level, changes.design.units)
        if known.sum() < ENOUGH:
            raise BenchError(f"{one.id} has {int(known.sum())} of the audited units in its loss: expected at least {ENOUGH}")
    except ApportionError as error:
        return Line(one.id, None, "", None, 0.0, Bill(), str(error)), None
    found = agreement(values[known], changes.halves[:, known], changes.design.cluster[known])
    open_ = not abs(found.correlation.t) > found.quantile
    verdict = "open" if open_ else "with the change in value" if found.correlation.t > 0 else "against it"
    needs = settles(found.correlation.t, spent) if open_ else None
    return Line(one.id, found, verdict, needs, float(known.mean()), credit.bill, oracle=one.ask == "truth"), (values, known)


def _place(line: Line) -> tuple[int, float]:
    if line.found is None or np.isnan(line.found.correlation.t):
        return 3, 0.0
    if line.oracle:
        return 2, 0.0
    value = line.found.correlation.value
    return (1, -line.found.correlation.t) if np.isnan(value) else (0, -value)


def _pairs(lines: Sequence[Line], given: dict[str, tuple[Float, Bool]], changes: Changes, spent: int) -> list[Pair]:
    ranked = [line for line in lines if line.found is not None and not line.found.undefined and not line.oracle]
    made = []
    for one, other in itertools.pairwise(ranked):
        (a, has), (b, too) = given[one.method], given[other.method]
        both = has & too
        if both.sum() < ENOUGH:
            continue
        found = difference(a[both], b[both], changes.halves[:, both], changes.design.cluster[both])
        apart = found.low > 0 or found.high < 0
        made.append(Pair(one.method, other.method, found, apart, None if apart else settles(found.t, spent)))
    return made
