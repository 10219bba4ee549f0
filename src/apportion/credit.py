"""Credit and Preferences: the only two things a method returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np

from .batch import Batch
from .errors import CreditError
from .evidence.bill import Bill
from .structure import Bool, Float, Int
from .words import Denominator, Kind, Ratio, Unit, check_word


@dataclass(frozen=True)
class Loss:
    """How the credit wants to enter the loss; an adapter that cannot do so refuses by field name.

    ratio: what the importance ratio is taken over. form: whether that of several tokens is the
    "geometric" mean of theirs or their "product". clip: (low, high) bounds of the ratio per unit,
    overriding the trainer's range. denominator: what the loss is averaged over. rescale: name of a
    step that needs the new log-probs (SORL divides by the norm of the clipped part: never by less
    than 1, or "raw", by whatever it is where anything was clipped).
    """

    ratio: Ratio = "token"
    form: Literal["geometric", "product"] = "geometric"
    clip: Float | None = None
    denominator: Denominator = "trajectory"
    rescale: Literal["clipped_norm", "clipped_norm_raw"] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Credit:
    """Credit for every unit of ``batch``, and for every token.

    ``unit`` has one value per unit of the level ``level``; ``token`` one per token, zero on
    observation tokens. ``keep`` (per token) False leaves the loss *and* its denominator;
    ``scored`` (per unit) False means null: the method has no opinion, and its value is 0.
    ``parts`` are summands worth seeing apart, ``targets`` what a critic should regress on. A method
    that resamples names the ``rows`` of its input that ``batch`` consists of (``batch.take(rows)``).
    ``evidence`` says how each piece of recorded evidence came: given, a column, asked or learned.
    """

    batch: Batch
    level: Unit
    unit: Float
    token: Float
    kind: Kind = "advantage"
    keep: Bool | None = None
    scored: Bool | None = None
    parts: Mapping[str, Float] = field(default_factory=dict)
    targets: Mapping[str, Float] = field(default_factory=dict)
    loss: Loss = field(default_factory=Loss)
    bill: Bill = Bill()
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    method: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    segment: str | None = None
    rows: Int | None = None

    @classmethod
    def of(cls, batch: Batch, level: Unit, values: Float, **more: Any) -> Credit:
        """Credit whose tokens all carry the value of their unit (zero on observation tokens)."""
        values = np.asarray(values, dtype=np.float64)
        if level == "segment":
            raise CreditError("segment credit needs explicit token values: spans may overlap")
        if values.shape != (batch.count(level),):
            raise CreditError(f"unit has shape {values.shape}, expected ({batch.count(level)},): one per {level}")
        if level == "token":
            token = np.where(batch.action, values, 0.0) if _stray(batch, values).any() else values
        else:
            token = np.where(batch.action, values[batch.within("token", level)], 0.0)
        return cls(batch=batch, level=level, unit=values, token=token, **more)

    def __post_init__(self) -> None:
        check_word(self.level, Unit, "level")
        check_word(self.kind, Kind, "kind")
        n = self._count()
        _shape("unit", self.unit, n, self.level)
        if self.level != "token" or self.token is not self.unit:
            _shape("token", self.token, self.batch.n_tokens, "token")
        if self.keep is not None:
            _shape("keep", self.keep, self.batch.n_tokens, "token")
        if self.scored is not None:
            _shape("scored", self.scored, n, self.level)
        if self.loss.clip is not None and self.loss.clip.shape != (n, 2):
            raise CreditError(f"loss.clip has shape {self.loss.clip.shape}, expected ({n}, 2): (low, high) per {self.level}")
        for name, part in self.parts.items():
            _shape(f"parts[{name!r}]", part, n, self.level)
        stray = _stray(self.batch, self.token)
        if stray.any():
            raise CreditError(f"token[{int(np.argmax(stray))}] has credit but is an observation token")
        for array in (self.unit, self.token, self.keep, self.scored):
            if array is not None:
                array.setflags(write=False)

    def _count(self) -> int:
        if self.level != "segment":
            return self.batch.count(self.level)
        if self.segment is None or self.segment not in self.batch.spans:
            raise CreditError(f"segment = {self.segment!r}: the batch has spans {sorted(self.batch.spans)}")
        return int(self.batch.spans[self.segment].start.size)

    @property
    def kept(self) -> Bool:
        """Which tokens enter the loss: policy tokens that ``keep`` does not exclude."""
        return self.batch.action if self.keep is None else self.batch.action & self.keep

    def on(self, level: Unit) -> Float:
        """Mean credit of the policy tokens of each unit at another level, shape (count,)."""
        if level == self.level:
            return self.unit
        owner = self.batch.within("token", level)
        total = np.bincount(owner, weights=self.token, minlength=self.batch.count(level))
        mean: Float = total / np.maximum(self.batch.action_count(level), 1)
        return mean

    def with_fields(self, **fields: Any) -> Credit:
        return replace(self, **fields)

    def to_padded(self, values: str = "token") -> Any:
        """The trainer's (B, T): its shape, library, dtype and device; zeros outside action tokens.

        ``values`` is ``"token"`` (the credit), ``"keep"`` (the loss mask) or a name in ``targets``
        that holds one value per token.
        """
        from .edges.padded import to_padded

        if values in ("token", "keep"):
            array: Any = self.token if values == "token" else self.kept
        elif values in self.targets:
            array = self.targets[values]
        else:
            raise CreditError(f"values = {values!r}: expected 'token', 'keep' or one of {sorted(self.targets)}")
        return to_padded(self.batch, array)

    def to_table(self, **how: Any) -> Any:
        """The long credit table, one row per unit: see ``apportion.edges.credit_table``. how: level=, source=, stderr=."""
        from .edges.credit_table import credit_table

        return credit_table(self, **how)

    @classmethod
    def from_table(cls, table: Any, batch: Batch, **which: Any) -> Credit:
        """The credit of ``batch`` that a table holds (``ap.read_credit`` reads one). which: method=, config=, level= …"""
        from .edges.credit_join import from_table

        return from_table(table, batch, **which)

    def __repr__(self) -> str:
        from .edges.show import credit_repr

        return credit_repr(self)

    def _repr_html_(self) -> str:
        from .edges.show import credit_html

        return credit_html(self)


def _stray(batch: Batch, token: Float) -> Bool:
    stray: Bool = (token != 0) & ~batch.action
    return stray


def _shape(name: str, array: Any, n: int, what: str) -> None:
    if not isinstance(array, np.ndarray) or array.shape != (n,):
        raise CreditError(f"{name} has shape {getattr(array, 'shape', None)}, expected ({n},): one per {what}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise CreditError(f"{name}[{int(np.argmax(~np.isfinite(array)))}] is not finite")


@dataclass(frozen=True, eq=False)
class Preferences:
    """Pairs of units of ``batch``: ``chosen[i]`` should become likelier than ``rejected[i]``."""

    batch: Batch
    level: Unit
    chosen: Int
    rejected: Int
    margin: Float | None = None
    bill: Bill = Bill()
    method: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.batch.count(self.level) if self.level != "segment" else np.inf
        if self.chosen.shape != self.rejected.shape:
            raise CreditError(f"chosen has shape {self.chosen.shape}, rejected {self.rejected.shape}")
        for name in ("chosen", "rejected"):
            index = getattr(self, name)
            bad = (index < 0) | (index >= n)
            if bad.any():
                raise CreditError(f"{name}[{int(np.argmax(bad))}] = {index[bad][0]}: there are {n} {self.level}s")


Result = TypeVar("Result", bound="Credit | Preferences")


def relabelled(result: Result, **labels: Any) -> Result:
    """The same values with other labels (batch of the same rollouts, method, options, bill, diagnostics), not checked again."""
    new = object.__new__(type(result))
    new.__dict__.update({**result.__dict__, **labels})
    return new
