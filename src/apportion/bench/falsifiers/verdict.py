"""What a falsifier is, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .intervals import LEVEL, Estimate, holm
from .scene import Scene

Status = Literal["passed", "failed", "undecided", "silent", "cannot run"]


class Number(BaseModel):
    """One measured number with its 95 % interval over batches (None: it has none)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Found:
    """What a test saw. ``shown``: p if the prediction were wrong; ``refuted``: p if it were right.

    Neither p small: ``otherwise``. ``fixed`` decides without any p: nothing was random, or there was nothing to test.
    ``note``: what is peculiar to this result, a sentence.
    """

    numbers: tuple[Number, ...] = ()
    shown: float | None = None
    refuted: float | None = None
    otherwise: Status = "undecided"
    fixed: Status | None = None
    note: str = ""


@dataclass(frozen=True)
class Falsifier:
    """A prediction that can fail. ``says``: what each outcome means, a sentence each."""

    name: str
    title: str
    prediction: str
    procedure: str
    threshold: str
    says: Mapping[Status, str]
    test: Callable[[Scene], Found]


class Verdict(BaseModel):
    """The outcome of one falsifier for one entrant, on one task.

    passed: None where the test said neither. shown: p if the prediction were wrong; refuted: p if it were right; both as
    found, adjusted: whether the status was decided after Holm's correction over the methods that were run together.
    needs: what the entrant asked. rollouts: how many independent ones the intervals rest on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    method: str
    entrant: str
    needs: str
    oracle: bool
    task: str
    seed: int
    rollouts: int
    prediction: str
    status: Status
    passed: bool | None
    outcome: str
    numbers: tuple[Number, ...] = ()
    shown: float | None = None
    refuted: float | None = None
    adjusted: bool = False


def number(what: str, found: Estimate) -> Number:
    return Number(what=what, value=_short(found.value), low=_short(found.low), high=_short(found.high))


def plain(what: str, value: float) -> Number:
    return Number(what=what, value=_short(value))


def _short(value: float) -> float:
    """Six digits: what a stored result needs, and the same on every machine but the last of them."""
    return float(f"{value:.6g}")


def status_of(found: Found, shown: float | None, refuted: float | None) -> Status:
    """What these p-values say."""
    if found.fixed is not None:
        return found.fixed
    if shown is not None and shown <= LEVEL:
        return "passed"
    if refuted is not None and refuted <= LEVEL:
        return "failed"
    return found.otherwise


def verdicts(tried: Iterable[tuple[Falsifier, Found, Mapping[str, object]]], *, together: bool = False) -> list[Verdict]:
    """Verdicts of what was found; ``together`` corrects the p-values of each falsifier over all that were tried (Holm)."""
    rows = list(tried)
    shown, refuted = ([getattr(found, side) for _, found, _ in rows] for side in ("shown", "refuted"))
    if together:
        for values in (shown, refuted):
            for name in {falsifier.name for falsifier, _, _ in rows}:
                mine = [i for i, (falsifier, _, _) in enumerate(rows) if falsifier.name == name]
                for i, value in zip(mine, holm([values[i] for i in mine]), strict=True):
                    values[i] = value
    made = []
    for (falsifier, found, facts), p, q in zip(rows, shown, refuted, strict=True):
        status = status_of(found, p, q)
        data: dict[str, object] = {
            **facts, "name": falsifier.name, "prediction": falsifier.prediction, "status": status,
            "passed": {"passed": True, "failed": False}.get(status),
            "outcome": " ".join(part for part in (falsifier.says.get(status, ""), found.note) if part),
            "numbers": found.numbers, "adjusted": together,
            "shown": None if p is None else _short(p), "refuted": None if q is None else _short(q),
        }  # fmt: skip
        made.append(Verdict.model_validate(data))
    return made
