"""``apportion checklist``: what a paper should report of its credit assignment, and what a form reports."""

from __future__ import annotations

import json as _json
import shutil
import textwrap
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OptionError
from . import checklist_evidence
from .common import AsJson, names_in

if TYPE_CHECKING:
    from ..checklist.form import Document
    from ..checklist.items import Item

_SETTINGS = ("reasoning", "agentic", "multi-agent")


def _ids(incomplete: str) -> list[tuple[str, str]]:
    from ..checklist.items import extension, items

    return [(id_, item.question) for id_, item in {**items(), **extension()}.items() if id_.startswith(incomplete)]


def _methods(incomplete: str) -> list[str]:
    return names_in("survey/papers", ".yaml", incomplete)


def _settings(incomplete: str) -> list[str]:
    return [word for word in _SETTINGS if word.startswith(incomplete)]


def _formats(incomplete: str) -> list[str]:
    from ..checklist.render import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


app = typer.Typer(
    help="The survey's reporting checklist: 14 items, a form, what is missing in it, and a table for the appendix.",
    no_args_is_help=True,
)

FormPath = Annotated[
    Path, typer.Argument(metavar="FORM", help="A form, as `apportion checklist init` writes it.", show_default=False)
]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write (default: the terminal).")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]


@app.command("items")
def items_command(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Only these, with what counts as which answer.", autocompletion=_ids),
    ] = None,
    extension: Annotated[bool, typer.Option("--extension", help="Our additions too.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of docs/checklist.md instead.")] = False,
    json: AsJson = False,
) -> None:
    """List the items, or explain some of them."""
    from ..checklist import items as data
    from ..checklist.page import table

    every = {**data.items(), **data.extension()}
    for id_ in ids or ():
        if id_ not in every:
            raise OptionError(data.no_such_item(id_, every))
    chosen = [every[id_] for id_ in ids or (every if extension else data.items())]
    if json:
        typer.echo(_json.dumps([item.model_dump() for item in chosen], indent=2))
        return
    if markdown:
        typer.echo(table(chosen), nl=False)
        return
    for item in chosen:
        _show(item, whole=bool(ids))
    if not ids:
        typer.echo("\napportion checklist items ID: what counts as reported, partial, not reported and not applicable")


@app.command("init")
def init_command(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File to write; '-' for the terminal.")] = Path(
        "report.yaml"
    ),
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Title of the paper or run.")] = None,
    method: Annotated[
        str | None, typer.Option(metavar="ID", help="Id of the method, or its name.", autocompletion=_methods)
    ] = None,
    setting: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS", help="reasoning, agentic, multi-agent; several separated by commas.", autocompletion=_settings
        ),
    ] = None,
    extension: Annotated[bool, typer.Option("--extension", help="With our additions to the survey's items.")] = False,
    force: Force = False,
) -> None:
    """Write a blank form: YAML, with what counts as reported beside each item."""
    from ..checklist.template import blank

    settings = [_setting(one.strip()) for one in setting.split(",") if one.strip()] if setting else []
    text = blank(title, method, settings, extension)
    if str(output) == "-":
        typer.echo(text, nl=False)
        return
    _write(output, text, force)
    typer.echo(f"{output}: fill it in, then `apportion checklist lint {output}`")


@app.command("lint")
def lint_command(
    form: FormPath,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 on warnings too.")] = False,
    json: AsJson = False,
) -> None:
    """Say what is missing in a form, item by item, and which claims outrank what it reports.

    Exit status 1 if there is an error: a required item that is not reported, "reported" without value or place,
    "not applicable" where the item applies, a claim without its evidence. Partial and recommended items are warnings.
    """
    from ..checklist.lint import lint_file

    findings = lint_file(form)
    counts = {level: sum(f.level == level for f in findings) for level in ("error", "warning")}
    if json:
        facts = {"file": str(form), "errors": counts["error"], "warnings": counts["warning"]}
        typer.echo(_json.dumps(facts | {"findings": [f.to_plain() for f in findings]}, indent=2))
    else:
        for f in findings:
            level = typer.style(f.level, fg="red" if f.level == "error" else "yellow", bold=True)
            typer.echo(f"{form}:{f.line}:{f.column}: {level}: {_plain(f.item)}: {_plain(f.says)}")
            typer.echo(textwrap.fill(_plain(f.add), _width(), initial_indent="    ", subsequent_indent="    "))
        typer.echo(f"{_count(counts['error'], 'error')}, {_count(counts['warning'], 'warning')}")
    if counts["error"] or (strict and counts["warning"]):
        raise typer.Exit(1)


@app.command("render")
def render_command(
    form: FormPath,
    format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="md, latex or html.", autocompletion=_formats)] = "md",
    output: Output = None,
    force: Force = False,
) -> None:
    """Make a table of a form, to paste in an appendix; all that the form says is escaped."""
    from ..checklist.render import FORMATS, render

    if format not in FORMATS:
        raise OptionError(f"--format {format}: {_near(format, [*FORMATS])}")
    text = render(_opened(form).form, format)
    if output is None:
        typer.echo(text, nl=False)
    else:
        _write(output, text, force)


@app.command("score")
def score_command(form: FormPath, json: AsJson = False) -> None:
    """Count a form: required and recommended items, two fractions that are never added up.

    What is not applicable leaves the denominator; what is unanswered stays in it; partial is counted apart.
    """
    from ..checklist.score import score

    found = _opened(form).form
    answers = {**found.items, **(found.extension or {})}
    counted = score({id_: answer.answer for id_, answer in answers.items()}, found.extension is not None)
    if json:
        typer.echo(_json.dumps({"file": str(form), "title": found.title, "method": found.method} | counted.to_plain(), indent=2))
        return
    typer.echo(f"required     {counted.required}")
    typer.echo(f"recommended  {counted.recommended}")
    if counted.extension:
        typer.echo(f"extension    {counted.extension}  (ours, beside the survey's)")


@app.command("migrate")
def migrate_command(form: FormPath, output: Output = None, force: Force = False) -> None:
    """Bring a form of an older version to the present one, comments kept."""
    document = _opened(form)
    if not document.notes:
        typer.echo(f"{form}: of the present version already", err=True)
    if output is None:
        typer.echo(document.text(), nl=False)
    else:
        _write(output, document.text(), force)


def _opened(path: Path) -> Document:
    """The form; what migration changed is said on standard error."""
    from ..checklist.form import load

    document = load(path)
    for note in document.notes:
        typer.echo(f"{path}: {note}", err=True)
    return document


def _show(item: Item, whole: bool) -> None:
    number = f"E{item.number}" if item.priority == "extension" else str(item.number)
    typer.echo(typer.style(f"{number:>3}  {item.id:<35}", bold=True) + item.priority)
    lines = [item.question]
    if whole:
        lines += [item.meaning, *(f"{word.replace('_', ' ')}: {getattr(item, word)}" for word in _ANSWERS), f"add: {item.add}"]
        lines.append(f"asked in: {', '.join(item.applies_to)}")
    for line in lines:
        typer.echo(textwrap.fill(line, _width(), initial_indent="     ", subsequent_indent="       "))


_ANSWERS = ("reported", "partial", "not_reported", "not_applicable")


def _setting(word: str) -> str:
    if word not in _SETTINGS:
        raise OptionError(f"--setting {word}: {_near(word, _SETTINGS)}")
    return word


def _near(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"


def _write(path: Path, text: str, force: bool) -> None:
    from ..edges.atomic import atomic

    if path.exists() and not force:
        raise OptionError(f"{path} exists: give another --output, or --force to replace it")
    with atomic(path) as file:
        file.write(text.encode())


def _plain(text: str) -> str:
    from ..edges.escape import plain

    return plain(text)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 120)


app.registered_commands.extend(checklist_evidence.app.registered_commands)
