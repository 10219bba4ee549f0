"""The text of a written function: how large it may be, and its syntax tree, which is never run.

The text is cut into tokens first, so that what could exhaust Python's own parser (nesting, long lines, giant
numbers) never reaches it.
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from dataclasses import dataclass
from typing import NoReturn

from ..errors import ApportionError


class ExpressionError(ApportionError, ValueError):
    """A written function that is not in the language, or does not compute; ``line`` and ``column`` count from 1."""

    def __init__(self, says: str, line: int | None = None, column: int | None = None) -> None:
        place = "" if line is None else f"line {line}, column {column or 1}: "
        super().__init__(place + says)
        self.says, self.line, self.column = says, line, column


@dataclass(frozen=True)
class Limits:
    """How large a written function may be, and how much it may compute.

    characters, tokens, line (tokens of one), brackets (open at once): of the text. nodes, depth, steps (assignments),
    results: of what it means. literal: largest number, exponent: largest power, both by size. members: most
    columns of an array. work: element operations of one evaluation, counted before it starts (see
    :func:`.expressions.evaluate`).
    """

    characters: int = 8_000
    tokens: int = 2_000
    line: int = 400
    brackets: int = 32
    nodes: int = 800
    depth: int = 40
    steps: int = 64
    results: int = 16
    literal: float = 1e9
    exponent: float = 8.0
    members: int = 4_096
    work: int = 200_000_000


def refuse(what: str, at: ast.AST | None = None) -> NoReturn:
    line, column = getattr(at, "lineno", None), getattr(at, "col_offset", None)
    raise ExpressionError(f"{what}", line, None if column is None else column + 1)


def shown(text: object) -> str:
    """A piece of the text as it may stand in a message."""
    quoted = repr(str(text)[:60])
    return quoted if len(str(text)) <= 60 else f"{quoted}…"


def syntax(text: str, limits: Limits) -> ast.Module:
    """Python's syntax tree of the text; what might hurt its parser has been refused before."""
    if not isinstance(text, str):
        refuse(f"a {type(text).__name__} is no text")
    if len(text) > limits.characters:
        refuse(f"the text has {len(text)} characters, the most is {limits.characters}")
    text = text.replace("\r\n", "\n")
    for number, row in enumerate(text.split("\n"), 1):
        for column, sign in enumerate(row, 1):
            if not (sign.isprintable() or sign == "\t"):
                raise ExpressionError(f"the character U+{ord(sign):04X} does not belong in a program", number, column)
    try:
        _scan(text, limits)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused afterwards anyway
            return ast.parse(text)
    except ExpressionError:
        raise
    except tokenize.TokenError as error:
        raise ExpressionError(f"not Python: {error.args[0]}", *error.args[1]) from None
    except SyntaxError as error:
        raise ExpressionError(f"not Python: {error.msg}", error.lineno, error.offset) from None
    except (ValueError, MemoryError, RecursionError) as error:
        refuse(f"not Python: {type(error).__name__}, {shown(error)}")


def _scan(text: str, limits: Limits) -> None:
    """Refuse by tokens: names outside ASCII or with a leading underscore, numbers, nesting and lines that are too long."""
    kept = (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = open_ = of_line = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line, column = token.start[0], token.start[1] + 1
        if token.type == tokenize.NEWLINE:
            of_line = 0
            continue
        if token.type in kept:
            continue
        tokens, of_line = tokens + 1, of_line + 1
        open_ += (token.string in "([{") - (token.string in ")]}") if token.type == tokenize.OP else 0
        says = ""
        if token.type == tokenize.NAME and not token.string.isascii():
            says = f"name {shown(token.string)}: only ASCII letters make names"
        elif token.type == tokenize.NAME and token.string.startswith("_"):
            says = f"name {shown(token.string)}: no name begins with an underscore"
        elif token.type == tokenize.NUMBER and len(token.string) > 40:
            says = f"a number of {len(token.string)} digits"
        elif open_ > limits.brackets:
            says = f"more than {limits.brackets} brackets are open at once"
        elif of_line > limits.line:
            says = f"more than {limits.line} words and signs in one line"
        elif tokens > limits.tokens:
            says = f"more than {limits.tokens} words and signs"
        if says:
            raise ExpressionError(says, line, column)
