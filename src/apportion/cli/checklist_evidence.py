"""``apportion checklist fill``, ``coverage`` and ``scorecards``: what runs and records have to say to the checklist."""

from __future__ import annotations

import json as _json
import shutil
import sys
import textwrap
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from ..errors import OptionError
from .common import AsJson, names_in

if TYPE_CHECKING:
    from ..checklist.fill.apply import Filled
    from ..checklist.form import Document

app = typer.Typer()


def _records(incomplete: str) -> list[str]:
    return names_in("survey/papers", ".yaml", incomplete)


def _origins(incomplete: str) -> list[str]:
    from ..survey.terms import Origin

    return [word for word in get_args(Origin) if word.startswith(incomplete)]


@app.command("fill")
def fill_command(
    run: Annotated[Path, typer.Option("--from-run", metavar="DIR", help="Folder of the run.", show_default=False)],
    form: Annotated[Path, typer.Argument(metavar="FORM", help="The form; a new one with our additions if there is none.")] = Path(
        "report.yaml"
    ),
    method: Annotated[
        str | None, typer.Option(metavar="ID", help="Which method of the run (default: the form's).", autocompletion=_records)
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace answers that the form has already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be filled, and write nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Fill in what a run's files prove, each answer with its place in them; what nothing proves is left, and said.

    DIR is a run of `apportion bench run`, TRL's output folder
    (trainer_state.json), or verl's (.hydra/config.yaml and the .jsonl of its
    file logger). The answers are about that run alone: read them before they
    are about a paper.
    """
    from ..checklist.fill import prove
    from ..checklist.fill.apply import fill

    document, new = _document(form, method)
    kind, findings = prove(run, method=method or document.form.method, setting=document.form.setting)
    if method and not document.form.method:
        document.data["method"] = method
    done = fill(document, findings, replace=replace)
    if not dry_run and (new or done.filled):
        document.save(form)
    if json:
        typer.echo(
            _json.dumps(
                {"form": str(form), "run": str(run), "kind": kind, "written": not dry_run, **_plain_filled(done)}, indent=2
            )
        )
        return
    for proof in done.filled:
        typer.echo(f"{typer.style(f'{proof.item:<34}', bold=True)} {proof.answer.replace('_', ' ')}")
        if proof.value:
            _echo("; ".join(f"{name}: {_short(part)}" for name, part in proof.value.items()), 2)
        _echo(f"at {'; '.join(proof.where)}", 2)
        if proof.why:
            _echo(proof.why, 2)
    for title, rest in (
        (
            "Kept as it was (--replace takes the run's):",
            [(p.item, f"the run says {p.answer.replace('_', ' ')}") for p in done.kept],
        ),
        ("Not filled:", [(g.item, g.why) for g in done.gaps]),
    ):
        if rest:
            typer.secho(f"\n{title}", bold=True)
        for item, why in rest:
            _echo(f"{item}: {why}", 2)
    would = "would be filled" if dry_run else "filled"
    typer.echo(f"\n{form}: {len(done.filled)} {would} from {kind}, {len(done.kept)} kept, {len(done.gaps)} not proven")


@app.command("coverage")
def coverage_command(
    origin: Annotated[
        list[str] | None,
        typer.Option(
            "--origin",
            metavar="WHOSE",
            help="Only claims of survey, companion, primary, secondary or ours; may be given several times.",
            autocompletion=_origins,
        ),
    ] = None,
    brief: Annotated[bool, typer.Option("--brief", help="Without what counts as which answer.")] = False,
    json: AsJson = False,
) -> None:
    """Show how many of the survey's 41 core papers report each item, beside what others published.

    Counted from the claims in the inventory's records, each of which names its
    source. The published audits stand beside ours with their definitions; they
    count other things, or other papers, and are not merged.
    """
    from ..checklist.coverage import coverage, to_plain
    from ..checklist.coverage_view import lines
    from ..checklist.items import items
    from ..survey import records
    from ..survey.terms import Origin

    for word in origin or ():
        if word not in get_args(Origin):
            raise OptionError(f"--origin {word}: {_near(word, list(get_args(Origin)))}")
    found = coverage(records(), origin or None)  # type: ignore[arg-type]
    if json:
        words = {id_: _definition(item) for id_, item in items().items()}
        typer.echo(_json.dumps(to_plain(found, words), indent=2, ensure_ascii=False))
        return
    for line in lines(found, _width(), ascii_only=not _prints("█▒·–"), definitions=not brief):
        typer.echo(line)


@app.command("scorecards")
def scorecards_command(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Records; default: the three the survey scored.", autocompletion=_records),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show papers' checklists side by side, each with its score.

    Without an id: the three scorecards that the survey printed (v2, Table 12),
    as they stand there. With ids: what the inventory's records say, whatever
    their source.
    """
    from ..checklist.score import score
    from ..checklist.scorecards import SCORED, claimed, evidence, published
    from ..survey import records

    known = records()
    for id_ in ids or ():
        if id_ not in known:
            raise OptionError(f"no record '{id_}'; {_near(id_, list(known))}")
    found = {id_: claimed(known[id_]) if ids else published(known[id_]) for id_ in ids or SCORED if id_ in known}
    scores = {id_: score(answers) for id_, answers in found.items()}
    if json:
        plain = {id_: {"answers": evidence(known[id_], found[id_]), "score": scores[id_].to_plain()} for id_ in found}
        typer.echo(_json.dumps(plain, indent=2, ensure_ascii=False))
        return
    from ..survey.terms import ITEMS

    wide = {id_: max(len(known[id_].name), 14) for id_ in found}
    for i, beside in enumerate(_that_fit(wide, _width() - 22)):
        heads = "  ".join(known[id_].name.ljust(wide[id_]) for id_ in beside).rstrip()
        typer.secho("\n" * (i > 0) + " " * 22 + heads, bold=True)
        for item in ITEMS:
            answers = [
                found[id_].get(item, "unknown" if ids else "not scored").replace("_", " ").ljust(wide[id_]) for id_ in beside
            ]
            typer.echo(f"{item:<22}" + "  ".join(answers).rstrip())
    for id_, counted in scores.items():
        typer.echo(f"\n{known[id_].name}")
        typer.echo(f"  required     {counted.required}".replace("unanswered", "unknown"))
        typer.echo(f"  recommended  {counted.recommended}".replace("unanswered", "unknown"))


def _that_fit(wide: dict[str, int], room: int) -> list[list[str]]:
    """Columns (name -> width) in tables that are no wider than the terminal; one column at least in each."""
    tables: list[list[str]] = []
    left = 0
    for name, width in wide.items():
        if not tables or width > left:
            tables.append([])
            left = room
        tables[-1].append(name)
        left -= width + 2
    return tables


def _document(path: Path, method: str | None) -> tuple[Document, bool]:
    """The form, or a new one; and whether it is new."""
    from ..checklist.form import load, read
    from ..checklist.template import blank

    if not path.exists():
        return read(blank(method=method, extended=True), path.name), True
    document = load(path)
    for note in document.notes:
        typer.echo(f"{path}: {note}", err=True)
    return document, False


def _plain_filled(done: Filled) -> dict[str, Any]:
    def proofs(found: Any) -> list[dict[str, Any]]:
        return [{"item": p.item, "answer": p.answer, "value": p.value, "where": list(p.where), "why": p.why} for p in found]

    gaps = [{"item": gap.item, "why": gap.why} for gap in done.gaps]
    return {"filled": proofs(done.filled), "kept": proofs(done.kept), "not_filled": gaps}


def _definition(item: Any) -> dict[str, Any]:
    words = ("reported", "partial", "not_reported", "not_applicable")
    return {"priority": item.priority, "question": item.question, "definitions": {word: getattr(item, word) for word in words}}


def _echo(text: str, indent: int) -> None:
    from ..edges.escape import plain

    typer.echo(textwrap.fill(plain(text), _width(), initial_indent=" " * indent, subsequent_indent=" " * (indent + 2)))


def _short(part: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in part.items()) if isinstance(part, dict) else str(part)


def _near(word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"


def _prints(text: str) -> bool:
    """Whether the terminal can show these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 120)
