"""What a run's files say of an item: a proof with its places, or a gap with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ApportionError
from ..form import Answer, Word
from ..items import extension, items


class FillError(ApportionError, ValueError):
    """A run cannot be read, or it is open what is to be read from it."""


@dataclass(frozen=True)
class Proof:
    """An item that the files answer. ``where``: locators, ``file:key``; ``why``: what the value alone does not say."""

    item: str
    answer: Word
    value: Mapping[str, Any] | None
    where: tuple[str, ...]
    why: str = ""

    def as_answer(self) -> Answer:
        """The answer as a form holds it: an item with one field takes its value as it is."""
        value: Any = dict(self.value) if self.value else None
        if value and len({**items(), **extension()}[self.item].fields) == 1 and len(value) == 1:
            value = next(iter(value.values()))
        return Answer(answer=self.answer, value=value, where=self.where, why=self.why or None)


@dataclass(frozen=True)
class Gap:
    """An item that the files do not prove, and why; it stays as it is in the form."""

    item: str
    why: str


Finding = Proof | Gap


def collect(asked: Mapping[str, Callable[[], tuple[Any, ...] | str]], why_not: str) -> tuple[Finding, ...]:
    """Ask for every item of both packs in their order.

    asked: item -> a function that returns the arguments of a :class:`Proof` after the item, or a string,
    which is why there is none; items that are not asked for are gaps for the reason ``why_not``.
    """
    found: list[Finding] = []
    for id_ in (*items(), *extension()):
        given = asked[id_]() if id_ in asked else why_not
        found.append(Gap(id_, given) if isinstance(given, str) else Proof(id_, *given))
    return tuple(found)


def tidy(value: float) -> float | int:
    """A number as a form holds it: six digits, whole numbers whole."""
    found = float(f"{float(value):.6g}") if abs(float(value)) < 1e6 else float(round(float(value)))
    return int(found) if found.is_integer() else found
