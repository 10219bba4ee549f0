"""A blank form with what counts written beside each item."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import get_args

from .form import SCHEMA, WORDS
from .items import Asked, Item, Setting, extension, items

_WIDTH = 110


def blank(title: str | None = None, method: str | None = None, setting: Sequence[str] = (), extended: bool = False) -> str:
    """The YAML of an unanswered form, commented."""
    head = [
        "# Reporting checklist for credit assignment: the survey's 10 required and 4 recommended items",
        "# (arXiv 2604.09459). `apportion checklist lint FILE` says what is missing, `render` makes the table.",
        f"# answer: {' | '.join(WORDS)}",
        "# value: what is reported; where: the place it stands (section, table, file:key); why: what is missing, or why",
        "# it does not apply. What is left blank counts as not said.",
        f"schema: {SCHEMA}",
        f"title: {_scalar(title)}".rstrip(),
        f"method: {_scalar(method)}  # id of the method (apportion methods), or its name".replace(":   #", ":  #"),
        f"setting: [{', '.join(setting)}]  # {', '.join(get_args(Setting))}",
        "trained: true  # false for an analysis that trains nothing: items of training then do not apply",
        "claims: []  # what the paper concludes, a sentence each: lint compares them with what is reported",
    ]
    lines = [*head, "", "items:", *_section(items().values())]
    if extended:
        lines += ["", "# An extension of apportion's own: not the survey's, and counted apart.", "extension:"]
        lines += _section(extension().values())
    return "\n".join(lines) + "\n"


def _section(asked: Iterable[Item]) -> list[str]:
    lines: list[str] = []
    group = ""
    for item in asked:
        if item.group != group:
            group = item.group
            lines += ["", f"  # ---- {group}"]
        lines += ["", *(f"  {line}".rstrip() for line in _item(item))]
    return lines


def _item(item: Item) -> list[str]:
    lines = [f"# {item.number}. {item.question} ({item.priority})"]
    for word in ("reported", "partial", "not_reported", "not_applicable"):
        lines += textwrap.wrap(
            getattr(item, word), _WIDTH, initial_indent=f"#   {word + ':':<16}", subsequent_indent="#" + " " * 19
        )
    lines += [f"{item.id}:", "  answer: unanswered"]
    fields = list(item.fields.items())
    if len(fields) == 1:
        lines.append(f"  value:  # {hint(fields[0][1])}")
    else:
        lines.append("  value:")
        lines += [f"    {name}:  # {hint(asked)}" for name, asked in fields]
    return [*lines, "  where:", "  why:"]


def hint(asked: Asked) -> str:
    """What goes into a part of a value, on one line."""
    kind = {"number": "a number", "whole": "a whole number", "yes": "yes or no", "numbers": "numbers"}.get(asked.kind, "")
    found = " | ".join(asked.choices) if asked.choices else kind
    if asked.at_least:
        found += f", at least {asked.at_least:g}"
    where = f" ({', '.join(asked.settings)})" if asked.settings else ""
    return f"{found}{where}: {asked.says}" if found else f"{asked.says}{where}"


def _scalar(text: str | None) -> str:
    """A string in quotes that YAML reads back as it is."""
    return "" if text is None else json.dumps(text)
