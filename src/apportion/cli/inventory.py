"""``apportion inventory``: the literature as data, to list, read, count, export and add to."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import AsJson, names_in, takes

app = typer.Typer(no_args_is_help=True, help="The literature as data: one record per paper, every value with its source.")


def _offers(filter_: str) -> Callable[[str], list[tuple[str, str]]]:
    """Completes the words of one filter."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        from ..survey.glossary import WORDS
        from ..survey.query import FILTERS

        meaning = WORDS.get(filter_, {})
        return [(word, meaning.get(word, "")) for word in FILTERS[filter_] if word.startswith(incomplete)]

    return complete


def _ids(incomplete: str) -> list[str]:
    return names_in("survey/papers", ".yaml", incomplete)


def _formats(incomplete: str) -> list[str]:
    from ..survey.export import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


def _words(name: str, help_: str) -> Any:
    option = typer.Option(f"--{name}", help=help_, metavar="WORD", autocompletion=_offers(name))
    return Annotated[list[str] | None, option]


#: Keyword of ``survey.papers`` -> option.
FILTERS: Mapping[str, Any] = {
    "granularity": _words("granularity", "What gets credit: token, segment, step, turn, trajectory, agent."),
    "setting": _words("setting", "reasoning, agentic, multi-agent, alignment, classical."),
    "methodology": _words("methodology", "monte-carlo, temporal-difference, model-based, game-theoretic ..."),
    "needs": _words("needs", "'none': nothing beyond the rollouts; or critic, judge, branching ..."),
    "scope": _words("scope", "core, adjacent, near-core, related, evaluation, baseline."),
    "snapshot": _words("snapshot", "survey (the 47), 2026.05, 2026.07, 2026.08, baseline, other, ours."),
    "evidence": _words("evidence", "Level: S, L, A, E or unknown."),
    "baseline": _words("baseline", "What it compares with: G (GRPO), P (PPO), D, O, T, none, other."),
    "implemented": Annotated[bool | None, typer.Option("--implemented/--not-implemented", help="With or without a method here.")],
    "search": Annotated[str | None, typer.Option("--search", metavar="TEXT", help="Words anywhere in the record.")],
    "labels": Annotated[
        str | None,
        typer.Option("--labels", metavar="WHOSE", help="Whose labels: best, any, survey, companion, primary, secondary, ours.",
                     autocompletion=_offers("labels")),
    ],
}  # fmt: skip

#: Gives a command the filters; each may be given several times, of which any may hold.
filtered = takes("filters", FILTERS)


@app.command("list")
@filtered
def list_(filters: dict[str, Any], as_json: AsJson = False) -> None:
    """List records, one line each: --granularity turn --setting agentic --needs none."""
    from ..survey import papers

    found = papers(**filters)
    if as_json:
        from ..survey.export.flat import row

        typer.echo(json.dumps([row(r) for r in found], indent=1))
        return
    from .inventory_table import table

    table(found)


@app.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id, name, alias or arXiv id.", autocompletion=_ids)],
    as_json: AsJson = False,
) -> None:
    """Show one record: every claim with where it was read, the evidence level with what decides it."""
    from ..survey import find

    found = find(id_)
    if as_json:
        from ..survey.derived import derived, plain_record

        typer.echo(json.dumps({"record": plain_record(found), "derived": derived(found)}, indent=1))
        return
    from ..survey.show import text

    typer.echo(text(found, width=_width()))


@app.command()
@filtered
def export(
    filters: dict[str, Any],
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="csv, json, yaml, bibtex, parquet or md.", autocompletion=_formats),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: print.")] = None,
) -> None:
    """Export records; the format follows from the file's ending where --format is not given."""
    from ..edges.atomic import atomic
    from ..survey import QueryError, papers
    from ..survey.export import ENDINGS, FORMATS
    from ..survey.export import export as exported

    name = format_ or ENDINGS.get(output.suffix.lstrip(".").lower() if output else "")
    if name is None:
        raise QueryError(f"say which --format: {', '.join(FORMATS)}")
    content = exported(papers(**filters), name)
    if output is not None:
        with atomic(output) as file:
            file.write(content)
    elif name == "parquet" and sys.stdout.isatty():
        raise QueryError("parquet is no text: give -o FILE")
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()


@app.command()
@filtered
def stats(filters: dict[str, Any], as_json: AsJson = False) -> None:
    """Count records by axis, setting, evidence and snapshot; what is unknown, and where sources differ."""
    from ..survey import papers
    from ..survey.stats import stats as counted

    found = counted(papers(**filters), labels=filters.get("labels", "best"))
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    from .inventory_table import print_stats

    print_stats(found)


@app.command()
def validate(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Records (YAML), or exports (JSON, YAML).")],
) -> None:
    """Check records that you wrote: every error with its line and reason. Exits with 1 if there is one."""
    from ..survey.validate import validate as examined

    wrong = False
    for path in paths:
        found = examined(path)
        wrong |= bool(found.errors)
        for line in (*found.errors, *(f"note: {note}" for note in found.notes)):
            typer.echo(line)
        if not found.errors:
            typer.echo(f"{path.name}: valid, {found.count} {'record' if found.count == 1 else 'records'}")
    raise typer.Exit(1 if wrong else 0)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a record (draft 2020-12)."""
    from ..survey.schema import schema as made

    typer.echo(json.dumps(made(), indent=1))


def _width() -> int:
    import shutil

    return min(shutil.get_terminal_size((100, 24)).columns, 120)


if importlib.util.find_spec("apportion.cli.inventory_pages"):
    importlib.import_module("apportion.cli.inventory_pages")  # its commands register themselves on ``app``
