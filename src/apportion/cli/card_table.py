"""What ``apportion card`` prints: the table of cards, one card, and what the lint found."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..survey.card_lint import Finding


def table(found: list[dict[str, Any]]) -> None:
    """A card a line; on a narrow terminal a tier is its first word."""
    wide_enough = width() >= 96
    heads = ("method", "estimand", "state", "intervention", "tier", "lint")
    lines = [heads]
    for one in found:
        tier = one["tier"] if wide_enough else one["tier"].removesuffix("-interventional").removesuffix("-causal")
        number = f"{len(one['findings'])}{'*' if one['outranks'] else ''}"
        lines.append((one["method"], one["estimand"] or "-", one["state"] or "-", one["intervention"] or "-", tier, number))
    wide = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    for i, line in enumerate(lines):
        text = (" " * (1 + wide_enough)).join(cell.ljust(size) for cell, size in zip(line, wide, strict=True)).rstrip()
        typer.secho(text, bold=i == 0)
    said = (
        f"{count(len(found), 'card')}; lint: findings, * a claim above its tier; apportion card show ID, apportion card lint ID"
    )
    typer.echo("\n" + textwrap.fill(said, width()))


def findings(found: list[Finding]) -> None:
    """file:line: level: field: sentence."""
    from ..edges.escape import plain

    for one in found:
        level = typer.style(one.level, fg="red" if one.level == "error" else "yellow", bold=True)
        typer.echo(f"{plain(one.file)}:{one.line}: {level}: {plain(one.field)}: {plain(one.says)}")


def section(title: str, lines: list[tuple[str, str]]) -> None:
    """A title, and named sentences below it."""
    from ..survey.card_view import one_line

    typer.secho(one_line(title), bold=True)
    left = max(len(name) for name, _ in lines) + 4
    for name, said in lines:
        first, rest = f"  {name}".ljust(left), " " * left
        typer.echo(textwrap.fill(one_line(said), width(), initial_indent=first, subsequent_indent=rest, break_on_hyphens=False))


def count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def width() -> int:
    return min(shutil.get_terminal_size((100, 24)).columns, 120)
