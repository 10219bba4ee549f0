"""What became of published claims, where ``apportion bench claims --run RUN`` has stored it beside the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..bench.claims.finding import Verdict
from .read import Run

#: The order in which verdicts are told.
VERDICTS: tuple[Verdict, ...] = ("holds", "holds only when", "does not hold", "undecided")


def claims_rows(run: Run, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The claims of the run folder's ``claims.json``, as they stand there (:mod:`apportion.bench.claims.record`).

    ``stale``: whether they were found by other code than the run's. Empty where the folder has no such file; one that is
    damaged is an error that names it.
    """
    from ..bench.claims.record import FILE, read_claims

    path = run.folder / FILE
    if not path.is_file():
        return []
    held = read_claims(path)
    stale = held.code != run.manifest.get("code")
    return [{**claim.model_dump(mode="json"), "stale": stale} for claim in held.claims]


def claims_text(summary: Mapping[str, Any]) -> list[str]:
    """How many hold, and which do not."""
    rows = summary["claims"]
    by = {verdict: [r["id"] for r in rows if r["verdict"] == verdict] for verdict in VERDICTS}
    parts = [f"{len(ids)} {_word(verdict, len(ids))} ({', '.join(ids)})" for verdict, ids in by.items() if ids]
    said = [f"Of {len(rows)} published claim{'s' if len(rows) != 1 else ''} put to the test, {'; '.join(parts)}."]
    if rows and rows[0]["stale"]:
        said.append("They were tested by other code than this run’s; apportion bench claims --run RUN tests them again.")
    return said


def _word(verdict: str, count: int) -> str:
    one, many = {
        "holds": ("holds", "hold"), "holds only when": ("holds under a condition", "hold under a condition"),
        "does not hold": ("does not hold", "do not hold"), "undecided": ("is undecided", "are undecided"),
    }[verdict]  # fmt: skip
    return one if count == 1 else many
