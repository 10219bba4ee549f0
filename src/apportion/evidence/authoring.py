"""Asking a model to write a function, and sending back what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from ..edges.expressions import FUNCTIONS, ExpressionError
from ..errors import OptionError
from .bill import Bill
from .sources import Author

Read = TypeVar("Read")

#: What a request says of the language; ``{functions}`` is filled in.
LANGUAGE = (
    "Write a short Python program of plain lines. Each line is `name = expression`; the last one is `return expression`. "
    "Use only the names below, numbers, + - * /, ** with a number from -8 to 8, comparisons, and, or, not, and these functions, "
    "with arguments by place: {functions}. No import, no attribute, no loop, no 'if', no keyword, no text. "
    "Do not divide by zero. Put the program between ```python and ```."
)
#: What is added to a request after an answer that was refused.
REPAIR = "\n\nYour last answer was\n```python\n{code}\n```\nIt was refused: {error}\nWrite it again, whole."

#: Longer answers are not looked at.
_LONGEST = 100_000


@dataclass(frozen=True)
class Tried(Generic[Read]):
    """What came of a request: the function as read (None: every answer was refused), the refusals, and the bill."""

    read: Read | None
    refused: tuple[str, ...]
    bill: Bill


def ask_for(author: Author, request: str, read: Callable[[str], Read], repairs: int, rng: np.random.Generator) -> Tried[Read]:
    """The first answer that ``read`` accepts. What it refuses (ExpressionError) is sent back, ``repairs`` times at most."""
    refused: list[str] = []
    bill = Bill()
    more = ""
    for _ in range(repairs + 1):
        answer, cost = said(author, request + more, rng)
        bill += cost
        code = code_of(answer)
        try:
            return Tried(read(code), tuple(refused), bill)
        except ExpressionError as error:
            refused.append(str(error))
            more = REPAIR.format(code=code[:4000], error=error)
    return Tried(None, tuple(refused), bill)


def said(author: Author, request: str, rng: np.random.Generator) -> tuple[str, Bill]:
    """One answer, as text of bounded length."""
    answer, bill = author.write(request, rng)
    if not isinstance(answer, str):
        raise OptionError(f"the author answered with a {type(answer).__name__}: expected text")
    return answer[:_LONGEST], bill


def code_of(answer: str) -> str:
    """The first fenced block of an answer, or all of it where it has none."""
    start = answer.find("```")  # not by a pattern: a hostile answer could keep one busy
    opens = answer.find("\n", start) if start >= 0 else -1
    if opens < 0:
        return answer.strip("\n")
    ends = answer.find("```", opens)
    return answer[opens + 1 : ends if ends >= 0 else None].strip("\n")


def language() -> str:
    """The sentence that describes the language to an author."""
    return LANGUAGE.format(functions=", ".join(sorted(FUNCTIONS)))


def listed(names: Mapping[str, str]) -> str:
    """Names with what they are, a line each, as requests list them."""
    return "\n".join(f"- {name}: {about}" for name, about in names.items())
