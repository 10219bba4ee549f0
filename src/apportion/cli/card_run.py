"""``apportion card run``: a method's falsification tests, run on tasks whose truth is known."""

from __future__ import annotations

import json as _json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import AsJson

if TYPE_CHECKING:
    from ..bench.falsifiers import Verdict


def _ids(incomplete: str) -> list[str]:
    from .common import names_in

    return names_in("methods", ".py", incomplete)


def _names(incomplete: str) -> Iterator[str]:
    from ..bench.falsifiers import FALSIFIERS

    yield from (name for name in FALSIFIERS if name.startswith(incomplete))


def run(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Methods, or entrants.", autocompletion=_ids)] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every method.")] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="This test only; may be repeated.", autocompletion=_names)
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Say what the tests are and run nothing.")] = False,
    ready: Annotated[
        bool, typer.Option("--shipped", help="Show the results that ship with the package and run nothing.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    rollouts: Annotated[int | None, typer.Option(help="Independent rollouts a method (default: by what it asks).")] = None,
    jobs: Annotated[int, typer.Option(help="Methods at a time, a process each.")] = 2,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the results here as well.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try to falsify methods: what their credit should do on tasks with known truth, and whether it does.

    Six tests (--list says them): credit shuffled in time, units without an effect, signs turned, other words, replica noise,
    and a pair of worlds that no log can tell apart. A method is tried through the entrant that stands for it in the benchmark;
    the id of another entrant (vineppo@k=16) names that one. With several methods, p-values are corrected over them (Holm).
    """
    from ..bench.falsifiers import FALSIFIERS, named
    from ..bench.falsifiers.stored import written
    from ..bench.falsifiers.together import run_all
    from ..edges.atomic import atomic
    from ..errors import BenchError
    from .progress import progress

    if only_list:
        chosen = [FALSIFIERS[name] for name in named(only)]
        rows = [{"name": f.name, "prediction": f.prediction, "procedure": f.procedure, "threshold": f.threshold} for f in chosen]
        typer.echo(_json.dumps(rows, indent=1) if as_json else "\n".join(_described(row) for row in rows), nl=as_json)
        return
    if ready:
        _show(_shipped(ids, only), as_json)
        return
    if bool(ids) == all_:
        raise BenchError("card run: name methods (apportion card run gigpo) or say --all" + (", not both" if ids else ""))
    if jobs < 1:
        raise BenchError(f"--jobs {jobs}: expected at least 1")
    if out is not None and not out.parent.is_dir():
        raise BenchError(f"--out {out}: there is no folder {out.parent}")
    with progress("falsifiers") as watch:
        found = run_all(ids or None, only, seed=seed, rollouts=rollouts, jobs=min(jobs, len(ids or range(jobs))), watch=watch)
    if out is not None:
        with atomic(out) as file:
            file.write(written(found, _command(ids, only, seed, rollouts)))
    _show(found, as_json)


def _show(found: Mapping[str, Sequence[Verdict]], as_json: bool) -> None:
    if as_json:
        typer.echo(_json.dumps({id_: [v.model_dump(mode="json") for v in some] for id_, some in found.items()}, indent=1))
        return
    typer.echo(table(found) if len(found) > 1 else "\n".join(_text(v) for some in found.values() for v in some))


def _shipped(ids: list[str] | None, only: list[str] | None) -> dict[str, list[Verdict]]:
    from ..bench.catalog import unknown
    from ..bench.falsifiers import named
    from ..bench.falsifiers.stored import shipped
    from ..errors import BenchError

    results, chosen = shipped().verdicts, named(only)
    for id_ in ids or ():
        if id_ not in results:
            raise BenchError(unknown("method with results that ship", id_, results, ""))
    return {id_: [v for v in results[id_] if v.name in chosen] for id_ in ids or results}


def _command(ids: list[str] | None, only: list[str] | None, seed: int, rollouts: int | None) -> str:
    words = ["apportion card run", *(ids or ["--all"]), *(f"--only {name}" for name in only or ())]
    words += [f"--seed {seed}"] if seed else []
    return " ".join(words + ([f"--rollouts {rollouts}"] if rollouts is not None else []))


def _described(row: dict[str, str]) -> str:
    import textwrap

    lines = [typer.style(row["name"], bold=True)]
    for part in ("prediction", "procedure", "threshold"):
        lines.append(textwrap.fill(f"{part}: {row[part]}", 100, initial_indent="  ", subsequent_indent="    "))
    return "\n".join(lines) + "\n"


def _text(verdict: Verdict) -> str:
    import textwrap

    head = f"{typer.style(verdict.name, bold=True)}: {_coloured(verdict.status)}  ({verdict.entrant} on {verdict.task})"
    lines = [head, textwrap.fill(verdict.outcome, 100, initial_indent="  ", subsequent_indent="  ")]
    for n in verdict.numbers:
        shown = f"{n.value:.3g}" if n.low is None else f"{n.value:.3g} [{n.low:.3g}, {n.high:.3g}]"
        lines.append(f"    {n.what}: {shown}")
    for what, p in (("wrong", verdict.shown), ("right", verdict.refuted)):
        lines += [f"    p if the prediction were {what}: {'below 1e-12' if p < 1e-12 else f'{p:.2g}'}"] if p is not None else []
    if verdict.oracle:
        lines.append("    (oracle: its evidence touches the truth)")
    return "\n".join([*lines, ""])


def table(found: Mapping[str, Sequence[Verdict]]) -> str:
    """A method a line, a test a column; ``*`` marks evidence that touches the truth."""
    short = {"passed": "passed", "failed": "FAILED", "undecided": "?", "silent": "-", "cannot run": "n/a"}
    names = [v.name for v in next(iter(found.values()))]
    lines = [
        "".join(word.ljust(width) for word, width in zip(["method", *names], [20, *[13] * len(names)], strict=True)).rstrip()
    ]
    for id_, some in found.items():
        words = [id_ + ("*" if some[0].oracle else ""), *(short[v.status] for v in some)]
        lines.append("".join(w.ljust(width) for w, width in zip(words, [20, *[13] * len(names)], strict=True)).rstrip())
    lines.append("\n-: nothing to test   ?: too noisy to say   n/a: cannot run   *: its evidence touches the truth")
    lines.append("p-values are corrected over the methods (Holm); apportion card run ID says more of one")
    return "\n".join(lines)


def _coloured(status: Any) -> str:
    return typer.style(status, fg={"passed": "green", "failed": "red"}.get(status, "yellow"))
