"""What the doctor says: findings, the places they were seen at, and the diagnosis they add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from ..edges.facts import many
from ..errors import ApportionError
from .advice import ADVICE

#: problem: signal is lost or wrong. warning: likely to cost you. note: worth knowing. fine: looked at, nothing to say.
Severity = Literal["problem", "warning", "note", "fine"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Place:
    """Where a finding was seen: a trajectory (by name) and perhaps one of its turns (from 0)."""

    trajectory: str
    turn: int | None = None
    what: str = ""

    def __str__(self) -> str:
        where = f"trajectory {self.trajectory}" + ("" if self.turn is None else f", turn {self.turn}")
        return f"{where}: {self.what}" if self.what else where


@dataclass(frozen=True)
class Line:
    """One row of a picture: a name, a value per column (NaN: nothing there), and a few words beside it."""

    name: str
    values: tuple[float, ...]
    beside: str = ""


@dataclass(frozen=True)
class Picture:
    """Rows of small bars over the same columns. ``signed``: above and below zero, else heights from zero."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    signed: bool = False


@dataclass(frozen=True)
class Finding:
    """One thing the doctor found: what it is with its figures, and where it was seen first."""

    id: str
    severity: Severity
    says: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @property
    def why(self) -> str:
        """Why it matters, in one line."""
        return ADVICE[self.id][0]

    @property
    def do(self) -> str:
        """What to do about it."""
        return ADVICE[self.id][1]

    @property
    def section(self) -> str:
        """Where the documentation says more."""
        return f"docs/doctor.md#{self.id}"

    def to_plain(self) -> dict[str, Any]:
        """Everything as what JSON holds; NaN becomes null."""
        plain: dict[str, Any] = {
            "id": self.id,
            "severity": self.severity,
            "says": self.says,
            "why": self.why,
            "do": self.do,
            "section": self.section,
            "figures": _plain(self.figures),
            "places": [asdict(place) for place in self.places],
        }
        if self.pictures:
            plain["pictures"] = _plain([asdict(picture) for picture in self.pictures])
        return plain


@dataclass(frozen=True)
class Diagnosis:
    """All findings about some rollouts, worst first; prints as a report.

    holds: how much was looked at (trajectories, groups, turns, tokens, policy_tokens). assumed:
    what was taken for granted of the input, one sentence each.
    """

    findings: tuple[Finding, ...]
    holds: Mapping[str, int]
    assumed: tuple[str, ...] = ()

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(f for f in self.findings if f.severity == severity)

    @property
    def problems(self) -> tuple[Finding, ...]:
        return self.of("problem")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return self.of("warning")

    @property
    def healthy(self) -> bool:
        """Whether there are neither problems nor warnings."""
        return not self.problems and not self.warnings

    def finding(self, id_: str) -> Finding | None:
        """The finding with this id, if there is one."""
        return next((f for f in self.findings if f.id == id_), None)

    def raise_for_problems(self) -> None:
        """Raise ``ApportionError`` if there are problems: a check at the start of a training run."""
        if self.problems:
            raise ApportionError("; ".join(f"{f.id}: {f.says}" for f in self.problems))

    @property
    def verdict(self) -> str:
        """One line: how it stands, and what to begin with."""
        looked = f"{many(len(self.findings), 'check')} made"
        if self.healthy:
            notes = len(self.of("note"))
            return f"Healthy: nothing to mend ({looked}, {many(notes, 'note')})."
        parts = [many(len(found), word) for word, found in (("problem", self.problems), ("warning", self.warnings)) if found]
        return f"{' and '.join(parts)} ({looked}): begin with {self.findings[0].id}."

    def to_plain(self) -> dict[str, Any]:
        """Everything as what JSON holds."""
        return {
            "verdict": self.verdict,
            "healthy": self.healthy,
            "holds": _plain(self.holds),
            "assumed": list(self.assumed),
            "findings": [finding.to_plain() for finding in self.findings],
        }

    def __str__(self) -> str:
        from .show import text

        return text(self)

    __repr__ = __str__


def worst_first(findings: list[Finding]) -> tuple[Finding, ...]:
    """By severity; in the order they were made within one."""
    return tuple(sorted(findings, key=lambda f: SEVERITIES.index(f.severity)))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
