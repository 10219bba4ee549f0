"""``apportion card``: what a method's number claims, what the claim rests on, and what is wrong with a card."""

from __future__ import annotations

import json as _json
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OptionError
from . import card_find, card_run
from .card_table import count, findings, section, table
from .common import AsJson, names_in, takes
from .progress import progress

if TYPE_CHECKING:
    from ..survey.card_lint import Finding

app = typer.Typer(
    help="CA-ID cards: what a method's credit claims to be, what that rests on, what would refute it.", no_args_is_help=True
)


def _ids(incomplete: str) -> list[str]:
    return names_in("methods", ".py", incomplete)


def _words(name: str) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        from ..survey.card_view import FILTERS

        return [word for word in FILTERS[name] if word.startswith(incomplete)]

    return complete


def _filter(name: str, help_: str) -> Any:
    return Annotated[str | None, typer.Option(f"--{name}", metavar="WORD", help=help_, autocompletion=_words(name))]


_FILTERS: dict[str, Any] = {
    "unit": _filter("unit", "token, segment, step, turn, trajectory or agent."),
    "estimand": _filter("estimand", "advantage, contrast, leave_one_out, shapley, difference, team_shapley or none."),
    "state": _filter("state", "observed, matched, restored or latent."),
    "intervention": _filter("intervention", "rerun, environment_restore, decoder_restore, log_matching, surrogate or none."),
    "tier": _filter("tier", "restored-interventional, observational-causal, model-relative or predictive."),
    "finding": _filter("finding", "claim (it outranks its tier), state, noise, ablation, estimand or falsifiers."),
}

app.command("run")(card_run.run)

Method = Annotated[str, typer.Argument(metavar="ID", help="A method, as `apportion methods` lists it.", autocompletion=_ids)]


@app.command("list")
@takes("chosen", _FILTERS)
def list_(
    chosen: dict[str, str],
    as_page: Annotated[bool, typer.Option("--markdown", help="Print the page docs/cards.md.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the cards: estimand, state, intervention, the tier that follows, and how many findings the lint has."""
    from ..survey.card_view import FILTERS, rows

    for name, word in chosen.items():
        if word not in FILTERS[name]:
            near = get_close_matches(word, FILTERS[name], n=1, cutoff=0.5)
            rest = f"did you mean {near[0]}?" if near else f"there are: {', '.join(FILTERS[name])}"
            raise OptionError(f"--{name} {word}: {rest}")
    found = rows(**chosen)
    if as_json:
        typer.echo(_json.dumps(found, indent=1))
    elif as_page:
        from .card_page import page

        typer.echo(page(found), nl=False)
    else:
        table(found)


@app.command("show")
def show(
    id_: Method,
    as_page: Annotated[bool, typer.Option("--markdown", help="Print Markdown instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one card: the claim, the six fields, the tier with what decides it, findings, and what its falsifiers found."""
    from ..survey.card_view import as_markdown, sections, whole

    record, card = card_find.found(id_)
    verdicts, current = card_find.tried(record.id)
    if as_json:
        results = [verdict.model_dump(mode="json") for verdict in verdicts]
        typer.echo(_json.dumps(whole(record, card) | {"falsified": results, "falsified_is_current": current}, indent=1))
        return
    if as_page:
        typer.echo(as_markdown(record, card), nl=False)
        return
    for title, lines in sections(record, card):
        if lines:
            section(title, lines)
    if verdicts:
        old = "" if current else ", of an older version of the code"
        section(f"Falsifiers, as found{old}", [(v.name, f"{v.status}: {v.outcome}") for v in verdicts])
    else:
        typer.echo(f"apportion card run {record.id}: runs its falsifiers")


@app.command("lint")
def lint(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID|FILE]...", help="Methods, or files of your own (default: every card here).", autocompletion=_ids
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 on any finding.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is missing in a card, where it contradicts itself, and where its claim outranks its evidence.

    An error is of the card: a field that is missing, misspelt or at odds with another. A finding is of the claim: its verb
    needs a higher tier, a state is only observed where an environment may hide more, replicas or an ablation are not
    reported. Exit status 1 if there is an error or a claim that outranks its tier.
    """
    from ..survey.card import cards
    from ..survey.card_lint import lint_file

    paths = [card_find.path_of(one) for one in what or cards()]
    found: list[Finding] = []
    with progress("reading the cards") as watch:
        for i, (path, name) in enumerate(paths):
            watch(i, len(paths))
            found += lint_file(path, name)
    errors = sum(one.level == "error" for one in found)
    claims = sum(one.kind == "claim" for one in found)
    if as_json:
        facts = {"cards": len(paths), "errors": errors, "claims": claims, "findings": len(found) - errors}
        typer.echo(_json.dumps(facts | {"found": [one.to_plain() for one in found]}, indent=1))
    else:
        findings(found)
        typer.echo(f"{count(len(paths), 'card')}, {count(errors, 'error')}, {count(len(found) - errors, 'finding')}", nl=False)
        typer.echo(f", {count(claims, 'claim')} above {'its' if claims == 1 else 'their'} tier")
    if errors or claims or (strict and found):
        raise typer.Exit(1)


@app.command("new")
def new(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File to write; '-' for the terminal.")] = Path(
        "card.yaml"
    ),
    method: Annotated[str | None, typer.Option(metavar="NAME", help="Id or name of the method.", autocompletion=_ids)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write an empty card to fill in: YAML, with the words of every field beside it."""
    from ..edges.atomic import atomic
    from ..survey.card_blank import blank

    text = blank(method)
    if str(output) == "-":
        typer.echo(text, nl=False)
        return
    if output.exists() and not force:
        raise OptionError(f"{output} exists: give another --output, or --force to replace it")
    with atomic(output) as file:
        file.write(text.encode())
    typer.echo(f"{output}: fill it in, then `apportion card lint {output}`")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a card (draft 2020-12)."""
    from ..survey.card_blank import card_schema

    typer.echo(_json.dumps(card_schema(), indent=1))
