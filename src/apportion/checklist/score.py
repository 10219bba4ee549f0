"""Two fractions, and what they are made of: required and recommended items, never weighted into one number.

A fraction is reported / (items - not applicable). Partial is neither half a point nor none: it is counted
apart. What is unanswered (or unknown, of a paper) stays in the denominator, so a fraction can only rise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .form import WORDS
from .items import extension, items


@dataclass(frozen=True)
class Tally:
    """How many items of one pack have which answer."""

    reported: int
    partial: int
    not_reported: int
    not_applicable: int
    unanswered: int

    @property
    def of(self) -> int:
        """The denominator: all items that apply."""
        return self.reported + self.partial + self.not_reported + self.unanswered

    @property
    def fraction(self) -> float | None:
        """Reported of those that apply; None where none does."""
        return self.reported / self.of if self.of else None

    def __str__(self) -> str:
        beside = [f"{getattr(self, word)} {word.replace('_', ' ')}" for word in WORDS[1:] if getattr(self, word)]
        return f"{self.reported}/{self.of} reported" + "".join(f", {part}" for part in beside)

    def to_plain(self) -> dict[str, Any]:
        return {word: getattr(self, word) for word in WORDS} | {"of": self.of, "fraction": self.fraction}


@dataclass(frozen=True)
class Score:
    """The survey's two packs; ``extension`` where ours was asked for."""

    required: Tally
    recommended: Tally
    extension: Tally | None = None

    def to_plain(self) -> dict[str, Any]:
        found = {"required": self.required.to_plain(), "recommended": self.recommended.to_plain()}
        return found | ({"extension": self.extension.to_plain()} if self.extension else {})


def score(answers: Mapping[str, str], extended: bool = False) -> Score:
    """Count answers (item id -> one of ``WORDS``); an item that is not there is unanswered.

    extended: count the extension too (beside the others).

    Raises:
        ValueError: an id that is no item, or a word that is no answer.
    """
    known = {**items(), **extension()}
    for id_, word in answers.items():
        if id_ not in known or word not in WORDS:
            raise ValueError(f"{id_}: {word}: expected an item's id and one of {', '.join(WORDS)}")
    by_priority = {p: [i.id for i in items().values() if i.priority == p] for p in ("required", "recommended")}
    return Score(
        _tally(answers, by_priority["required"]),
        _tally(answers, by_priority["recommended"]),
        _tally(answers, extension()) if extended else None,
    )


def _tally(answers: Mapping[str, str], ids: Iterable[str]) -> Tally:
    count = Counter(answers.get(id_, "unanswered") for id_ in ids)
    return Tally(**{word: count[word] for word in WORDS})
