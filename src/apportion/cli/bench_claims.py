"""``apportion bench claims``: what papers say, run as controlled experiments."""

from __future__ import annotations

import json as _json
import math
from collections.abc import Iterator
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
    only_list: Annotated[bool, typer.Option("--list", help="List the claims and run nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Test published claims on tasks whose truth is known: a verdict each, with its numbers."""
    from rich.console import Console

    from ..bench.claims import CLAIMS, run

    if only_list:
        rows: list[dict[str, Any]] = [{"id": c.id, "claim": c.statement, "source": c.source} for c in CLAIMS.values()]
        typer.echo(
            _json.dumps(rows, indent=1) if as_json else "\n".join(f"{r['id']}\n  {r['claim']} ({r['source']})" for r in rows)
        )
        return
    with Console(stderr=True).status("claims") as status:
        found = []
        for claim, finding in run(ids or (), seeds=seeds, say=lambda id_: status.update(f"claim {id_}")):
            found.append((claim, finding))
            if not as_json:
                typer.echo(_text(claim, finding))
    if as_json:
        typer.echo(_json.dumps([_data(claim, finding, seeds) for claim, finding in found], indent=1))


def _text(claim: Claim, finding: Finding) -> str:
    verdict = f"{finding.verdict} {finding.when}".strip()
    lines = [typer.style(claim.id, bold=True), f"  {claim.statement}", f"  ({claim.source})", f"  -> {verdict}"]
    return "\n".join([*lines, *(f"     {number.what}: {_number(number)}" for number in finding.numbers), ""])


def _number(number: Number) -> str:
    shown = f"{number.value:.4g}"
    if not math.isnan(number.low):
        shown += f" [{number.low:.4g}, {number.high:.4g}]"
    return shown if number.claimed is None else f"{shown}, claimed {number.claimed:.4g}"


def _data(claim: Claim, finding: Finding, seeds: int) -> dict[str, Any]:
    def plain(x: float | None) -> float | None:
        return None if x is None or not math.isfinite(x) else x

    return {
        "id": claim.id, "claim": claim.statement, "source": claim.source, "verdict": finding.verdict,
        "when": finding.when or None, "seeds": seeds,
        "numbers": [
            {"what": n.what, "value": plain(n.value), "low": plain(n.low), "high": plain(n.high), "claimed": plain(n.claimed)}
            for n in finding.numbers
        ],
        "command": f"apportion bench claims {claim.id} --seeds {seeds}",
    }  # fmt: skip
