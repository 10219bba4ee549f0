"""Claims that outrank the evidence: words that need items the form does not report."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

from pydantic import TypeAdapter

from ..edges.yaml_lines import parse, plain
from .form import Form
from .items import items

_NOT = re.compile(r"(?i)\b(not|no|never|nor|neither|without|cannot|hardly|\w+n't)\b(?!\s+only)(\W+\w+){0,2}\W+$")


class Kind(NamedTuple):
    """A kind of claim: the words it is known by, what it needs, and what it wants."""

    kind: str
    words: tuple[str, ...]
    needs: tuple[str, ...]
    wants: tuple[str, ...]

    def said_in(self, text: str) -> str | None:
        """The first word of the kind that the text says and does not deny."""
        pattern = r"\b(" + "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in self.words) + r")[\w-]*"
        for found in re.finditer(pattern, text, re.IGNORECASE):
            if not _NOT.search(text[: found.start()]):
                return found[0]
        return None


class Outranked(NamedTuple):
    """A claim (its index in the form) that says ``word`` while ``item`` is only ``answer``; needed, or wanted."""

    claim: int
    kind: str
    word: str
    item: str
    answer: str
    needed: bool


@functools.cache
def kinds() -> tuple[Kind, ...]:
    """The kinds of ``claims.yaml``."""
    text = (files(__package__) / "claims.yaml").read_text(encoding="utf-8")
    return TypeAdapter(tuple[Kind, ...]).validate_python(tuple(Kind(**entry) for entry in plain(parse(text))))


def outranked(form: Form) -> Iterator[Outranked]:
    """Every claim of the form with every item that would have to be reported for it, and is not."""
    for index, claim in enumerate(form.claims):
        for kind in kinds():
            word = kind.said_in(claim)
            if word is None:
                continue
            for id_ in (*kind.needs, *kind.wants):
                answer = form.answer(id_).answer
                if answer != "reported":
                    yield Outranked(index, kind.kind, word, items()[id_].id, answer, id_ in kind.needs)


def outcome_claims(form: Form) -> bool:
    """Whether the form claims that its method does better than another."""
    comparison = next(kind for kind in kinds() if kind.kind == "comparison")
    return any(comparison.said_in(claim) for claim in form.claims)
