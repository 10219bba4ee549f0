"""A coded value: what is said, where it was read, and at which place; "unknown" is a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .terms import Origin

T = TypeVar("T")
Text = Annotated[str, Field(min_length=1)]
UNKNOWN: Literal["unknown"] = "unknown"


class Coded(BaseModel, Generic[T]):
    """``{is: value, from: origin, at: place, note: words}``; plain ``unknown`` is short for ``{is: unknown}``.

    A value that is known says where it comes from; ``at`` is the place there (section, table, file).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_: T | Literal["unknown"] = Field(alias="is")
    from_: Origin | None = Field(default=None, alias="from")
    at: Text | None = None
    note: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if value == UNKNOWN:
            return {"is": UNKNOWN}
        if not isinstance(value, Mapping | BaseModel):
            raise ValueError(f"say where it comes from: {{is: …, from: {' | '.join(get_args(Origin))}, at: …}}, or unknown")
        return value

    @model_validator(mode="after")
    def _has_an_origin(self) -> Coded[T]:
        if self.is_ != UNKNOWN and self.from_ is None:
            raise ValueError("'from' is missing: a value that is known says where it was read")
        return self

    @property
    def known(self) -> bool:
        return self.is_ != UNKNOWN

    @property
    def value(self) -> T | None:
        """What is said; None where unknown."""
        return None if self.is_ == UNKNOWN else self.is_


#: Which origin to believe first where several label the same thing.
TRUST: tuple[Origin, ...] = ("primary", "survey", "companion", "secondary", "ours")


def best(claims: tuple[Coded[T], ...]) -> Coded[T]:
    """The claim to go by: known before unknown, the primary source first, our own judgement last."""
    known = [c for c in claims if c.known]
    return min(known, key=lambda c: TRUST.index(c.from_ or "ours")) if known else claims[0]
