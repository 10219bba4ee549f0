"""What a falsifier is, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    ``note``: what is peculiar to this result, a sentence; ``if_failed``: one that is said beside a failure only.
    """

    numbers: tuple[Number, ...] = ()
    shown: float | None = None
    refuted: float | None = None
    otherwise: Status = "undecided"
    fixed: Status | None = None
    note: str = ""
    if_failed: str = ""


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
    shown, refuted = (
        _decisive([(f.name, getattr(found, side)) for f, found, _ in rows], together) for side in ("shown", "refuted")
    )
    made = []
    for (falsifier, found, facts), p, q in zip(rows, shown, refuted, strict=True):
        status = status_of(found, p, q)
        said = (falsifier.says.get(status, ""), found.note, found.if_failed if status == "failed" else "")
        data: dict[str, object] = {
            **facts, "name": falsifier.name, "prediction": falsifier.prediction, "status": status,
            "passed": {"passed": True, "failed": False}.get(status),
            "outcome": " ".join(part for part in said if part),
            "numbers": found.numbers, "adjusted": together,
            "shown": None if found.shown is None else _short(found.shown),
            "refuted": None if found.refuted is None else _short(found.refuted),
        }  # fmt: skip
        made.append(Verdict.model_validate(data))
    return made


def _decisive(found: Sequence[tuple[str, float | None]], together: bool) -> list[float | None]:
    """The p-values that decide: as found, or corrected among those of the same falsifier."""
    values = [p for _, p in found]
    if together:
        for name in {name for name, _ in found}:
            mine = [i for i, (own, _) in enumerate(found) if own == name]
            for i, p in zip(mine, holm([values[i] for i in mine]), strict=True):
                values[i] = p
    return values
