"""``apportion methods`` and ``apportion explain``: what there is, and how one of them works."""

from __future__ import annotations

import inspect
import json
import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..batch import Batch, what_it_is
from ..credit import Credit, Preferences
from ..registry import Function, Method, get, keywords, methods
from .common import AsJson, names_in

if TYPE_CHECKING:
    from ..survey import Record


def list_methods(
    as_json: AsJson = False,
    as_page: Annotated[bool, typer.Option("--markdown", help="Print the page docs/methods.md.")] = False,
) -> None:
    """List the methods: what they credit, how, what they need and what that costs."""
    rows = [summary(spec) for spec in methods().values()]
    if as_page:
        from .methods_page import page

        typer.echo(page(rows), nl=False)
        return
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    width = min(shutil.get_terminal_size().columns, 120)
    typer.secho(_columns(["id", "unit", "granularity", "methodology"]), bold=True)
    for row in rows:
        bias = {"yes": "unbiased", "no": "biased"}.get(row["unbiased"].partition(":")[0], row["unbiased"])
        words = [row["id"], row["unit"], row["granularity"] or "-", row["methodology"] or "-"]
        needs = " + ".join([*[", ".join(row["reads"])] * bool(row["reads"]), *(f"evidence {name}" for name in row["evidence"])])
        cost = "costs nothing extra" if row["cost"] == "0" else f"costs {row['cost']}"
        more = " · ".join([", ".join(row["setting"]) or "-", row["status"], f"needs {needs}", cost, bias])
        typer.echo(_columns(words))
        typer.secho(textwrap.fill(more, width, initial_indent=" " * 11, subsequent_indent=" " * 13), dim=True)
    typer.echo("\napportion explain ID: formula, how to give or get what it needs, an example")


#: Of the columns of the list: the longest word of each and a blank.
WIDTHS = (18, 11, 20, 22)


def _columns(words: Sequence[str]) -> str:
    return "".join(word.ljust(width) for word, width in zip(words, WIDTHS, strict=True)).rstrip()


def _complete_ids(incomplete: str) -> list[str]:
    return names_in("methods", ".py", incomplete)


def explain(
    id_: Annotated[
        str, typer.Argument(metavar="ID", help="A method, as `apportion methods` lists it.", autocompletion=_complete_ids)
    ],
    as_json: AsJson = False,
) -> None:
    """Explain one method: formula, needs, cost, options, and the smallest batch that works."""
    spec = get(id_)
    facts = summary(spec) | details(spec)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for title, lines in _sections(facts):
        if lines:
            typer.secho(title, bold=True)
            typer.echo("\n".join(f"  {line}".rstrip() for line in lines) + "\n")


def summary(spec: Method) -> dict[str, Any]:
    """One line of the list, as plain data; survey words are null for a method without a record."""
    found = _record(spec)
    return {
        "id": spec.id,
        "unit": spec.unit,
        "granularity": "/".join(found.label("granularity") or ()) or None if found else None,
        "methodology": found.label("methodology") if found else None,
        "setting": list(found.settings) if found else [],
        "reads": sorted(spec.reads),
        "may_read": sorted(spec.may_read),
        "evidence": dict(spec.evidence),
        "source": spec.source,
        "can_fit": spec.fit is not None,
        "cost": spec.cost,
        "status": spec.status,
        "unbiased": spec.unbiased,
        "gives": _gives(spec.example()),
        "file": f"{spec.function.__module__.rpartition('.')[2]}.py",
        "arxiv": found.arxiv if found else None,
        "paper": found.source if found else None,
    }


def _gives(result: Credit | Preferences) -> dict[str, str]:
    """What the result is to a trainer, on the method's smallest batch."""
    if isinstance(result, Preferences):
        return {"kind": "preferences", "level": result.level}
    loss = result.loss
    return {"kind": result.kind, "level": result.level, "ratio": loss.ratio, "denominator": loss.denominator}


def details(spec: Method) -> dict[str, Any]:
    """What ``explain`` adds: formula, how to give what it needs, options, a batch that works."""
    return {
        "formula": spec.doc,
        "give": {name: what_it_is(name) for name in sorted(spec.reads | spec.may_read)},
        "ways": {name: ways(spec, name) for name in spec.evidence},
        "options": {name: _default(parameter) for name, parameter in spec.options.items()},
        "collect_options": _own_options(spec.collect),
        "fit_options": _own_options(spec.fit),
        "smallest": spec.smallest,
        "example": _values(spec.example()),
    }


def ways(spec: Method, name: str) -> list[str]:
    """How this evidence can be had."""
    found = [f"pass {name}=, one per {spec.evidence[name]}"]
    if name in Batch.columns():
        found.append(f"give the batch the column {name}")
    if spec.source and spec.collect:
        found.append(f"ask a live source: {spec.source}=")
    if spec.fit:
        found.append("learn it from the batch: fit=True")
    return found


def _sections(facts: dict[str, Any]) -> list[tuple[str, list[str]]]:
    needs = [f"{name}: {facts['give'][name]}" for name in facts["reads"]]
    needs += [f"{name} (used when given): {facts['give'][name]}" for name in facts["may_read"]]
    evidence = [f"{name}: {'; or '.join(found)}" for name, found in facts["ways"].items()]
    expression = facts["smallest"]
    given = "batch, evidence" if expression.startswith("(") else "batch"
    call = f"ap.assign(batch, {facts['id']!r}{', **evidence' if ',' in given else ''})"
    return [
        (facts["id"], [f"credits: {facts['unit']} · extra cost: {facts['cost']} · status: {facts['status']}",
                       f"unbiased: {facts['unbiased']}"]),
        ("How it works", facts["formula"].splitlines()),
        ("Needs", needs),
        ("Evidence", evidence),
        ("Options", [f"{name} = {default}" for name, default in facts["options"].items()]),
        (f"Options with {facts['source']}=", [f"{n} = {default}" for n, default in facts["collect_options"].items()]),
        ("Options with fit=True", [f"{name} = {default}" for name, default in facts["fit_options"].items()]),
        ("The smallest batch that works", [
            f">>> import apportion as ap{', numpy as np' if 'np.' in expression else ''}; from apportion import Batch"
            f"{', Spans' if 'Spans(' in expression else ''}",
            f">>> {given} = {expression}",
            f">>> {call}.{facts['example']['field']}",
            str(facts["example"]["values"]),
        ]),
        ("Paper", [facts["paper"]] if facts["paper"] else []),
    ]  # fmt: skip


def _own_options(function: Function | None) -> dict[str, str]:
    return {n: _default(p) for n, p in keywords(function).items() if n != "rng"} if function else {}


def _default(parameter: inspect.Parameter) -> str:
    return "required" if parameter.default is inspect.Parameter.empty else repr(parameter.default)


def _values(result: Credit | Preferences) -> dict[str, Any]:
    if isinstance(result, Preferences):
        return {"field": "chosen", "values": result.chosen.tolist()}
    return {"field": "unit", "values": [round(v, 4) for v in result.unit.tolist()]}


def _record(spec: Method) -> Record | None:
    from ..survey import records  # pydantic and a YAML reader: only when something is listed

    return records().get(spec.id)
