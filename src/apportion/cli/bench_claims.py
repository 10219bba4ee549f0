"""``apportion bench claims``: what papers say, run as controlled experiments."""

from __future__ import annotations

import json as _json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import AsJson

if TYPE_CHECKING:
    from ..bench.claims.finding import Claim, Finding, Number


def _ids(incomplete: str) -> Iterator[str]:
    from ..bench.claims import CLAIMS

    yield from (id_ for id_ in CLAIMS if id_.startswith(incomplete))


def claims(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Default: all.", autocompletion=_ids)] = None,
    seeds: Annotated[int, typer.Option(help="How often each experiment is repeated; intervals are over them.")] = 10,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write what was found to this JSON file.")] = None,
    run_folder: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="Store it in this run folder, for its report to show.")
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="List the claims and run nothing.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print one page of Markdown (docs/claims.md).")] = False,
    as_json: AsJson = False,
) -> None:
    """Test published claims on tasks whose truth is known: a verdict each, with its numbers."""
    from rich.console import Console

    from ..bench.claims import CLAIMS, run
    from ..bench.claims.page import markdown as page
    from ..bench.claims.record import document, row
    from ..bench.store import write_bytes

    if only_list:
        rows = [{"id": c.id, "claim": c.statement, "source": c.source, "experiment": c.experiment} for c in CLAIMS.values()]
        typer.echo(
            _json.dumps(rows, indent=1) if as_json else "\n".join(f"{r['id']}\n  {r['claim']} ({r['source']})" for r in rows)
        )
        return
    targets = _targets(out, run_folder)
    with Console(stderr=True).status("claims") as status:
        found: list[dict[str, Any]] = []
        for claim, finding in run(ids or (), seeds=seeds, say=lambda id_: status.update(f"claim {id_}")):
            found.append(row(claim, finding, seeds))
            if not as_json and not markdown:
                typer.echo(_text(claim, finding))
    for path in targets:
        write_bytes(path, document(found))
    if as_json:
        typer.echo(_json.dumps(found, indent=1))
    elif markdown:
        typer.echo(page(found, " ".join(["apportion bench claims", *(ids or ()), f"--seeds {seeds} --markdown"])), nl=False)
    for path in targets:
        typer.echo(f"written: {path}", err=as_json or markdown)


def _targets(out: Path | None, run_folder: Path | None) -> list[Path]:
    """Where the findings go, looked at before anything is run."""
    from ..bench.claims.record import FILE
    from ..errors import BenchError

    if run_folder is not None and not (run_folder / "manifest.json").is_file():
        raise BenchError(f"--run {run_folder}: no manifest.json here; expected a run folder made by 'apportion bench run --out'")
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        what = "a folder" if out.is_dir() else f"in {out.parent}, which does not exist"
        raise BenchError(f"--out {out}: is {what}; expected the name of a file in a folder that exists")
    return [path for path in (out, run_folder and run_folder / FILE) if path is not None]


def _text(claim: Claim, finding: Finding) -> str:
    verdict = f"{finding.verdict} {finding.when}".strip()
    lines = [typer.style(claim.id, bold=True), f"  {claim.statement}", f"  ({claim.source})", f"  -> {verdict}"]
    return "\n".join([*lines, *(f"     {number.what}: {_number(number)}" for number in finding.numbers), ""])


def _number(number: Number) -> str:
    shown = f"{number.value:.4g}"
    if not math.isnan(number.low):
        shown += f" [{number.low:.4g}, {number.high:.4g}]"
    return shown if number.claimed is None else f"{shown}, claimed {number.claimed:.4g}"
