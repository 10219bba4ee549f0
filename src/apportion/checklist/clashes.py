"""What two values of a form say against each other, and a value against what is known of the form's method."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple

from ..registry import methods
from ..survey import load as load_record
from .claims import outcome_claims
from .form import Form
from .items import items

Level = Literal["error", "warning"]

#: Arms whose compute differs by more than this are not compared at equal compute.
UNEQUAL = 1.1


class Clash(NamedTuple):
    """Two things that do not go together, at one item."""

    level: Level
    item: str
    says: str
    add: str


def clashes(form: Form) -> Iterator[Clash]:
    """All of them."""
    lengths, means = _numbers(form, "length_distribution"), _numbers(form, "mean_length")
    order = [lengths[key] for key in ("min", "median", "max") if key in lengths]
    if order != sorted(order):
        yield Clash("error", "length_distribution", "min, median and max are not in order", "Give them of the same rollouts.")
    unit = (
        form.answer("length_distribution").value["unit"] if lengths and "unit" in form.answer("length_distribution").value else ""
    )
    mean = means.get(str(unit))
    if mean is not None and not lengths.get("min", mean) <= mean <= lengths.get("max", mean):
        says = f"the mean, {mean:g} {unit}, lies outside of length_distribution"
        yield Clash("error", "mean_length", says, "Give mean and distribution of the same rollouts.")
    runs = _numbers(form, "failure_runs")
    if runs.get("failed", 0) > runs.get("of", float("inf")):
        yield Clash("error", "failure_runs", "more runs failed than were begun", "Count those that failed among those begun.")
    budget = _numbers(form, "baseline_budget")
    if outcome_claims(form) and budget.get("method", 0) > UNEQUAL * budget.get("baseline", float("inf")):
        says = f"the method had {budget['method']:g}, the baseline {budget['baseline']:g}, and a claim compares them"
        yield Clash("warning", "baseline_budget", says, "Say so in the claim, or give the baseline as much.")
    yield from _against_the_record(form)


def _against_the_record(form: Form) -> Iterator[Clash]:
    if form.method not in record_ids():
        return
    record = load_record(Path(str(files("apportion.survey") / "papers" / f"{form.method}.yaml")))
    for id_, field, label in (("credit_unit", "unit", "granularity"), ("methodology", "family", "methodology")):
        answer = form.answer(id_)
        said = items()[id_].given(answer.value).get(field)
        claims = [claim.value for claim in getattr(record, label) if claim.known]
        coded = {one for value in claims for one in (value if isinstance(value, tuple) else (value,))}
        if id_ == "credit_unit" and form.method in methods():
            coded.add(methods()[form.method].unit)  # a paper's step may be our turn
        if said in items()[id_].fields[field].choices and coded and said not in coded and answer.why is None:
            says = f"{said}, but the inventory has {form.method} with {', '.join(sorted(coded))}"
            yield Clash("warning", id_, says, "Say in `why` what differs from the paper.")


@functools.cache
def record_ids() -> frozenset[str]:
    """Ids of the inventory's records, by their file names: nothing is read."""
    return frozenset(path.name.removesuffix(".yaml") for path in (files("apportion.survey") / "papers").iterdir())


def _numbers(form: Form, id_: str) -> dict[str, float]:
    value = form.answer(id_).value
    given = value if isinstance(value, dict) else {}
    return {k: v for k, v in given.items() if isinstance(v, int | float) and not isinstance(v, bool)}
