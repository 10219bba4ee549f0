"""The three scorecards that the survey printed, and any paper's checklist, as answers that can be scored.

The survey scored twelve of its fourteen items for three papers (v2, Table 12); metric and length
distribution are not scored there. A record holds the claims with their places, so the table can be made again
from the records: only claims that name it count, whatever others were added since.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..survey import Record
from ..survey.coded import Coded

#: Record ids of the papers in the survey's table, in its order.
SCORED = ("hicra", "gigpo", "m_grpo")
#: Where a claim of that table says it was read.
TABLE = "v2 Table 12"


def published(record: Record) -> dict[str, str]:
    """Item -> answer as the survey's table prints it; items it does not score are left out."""
    return {item: str(c.value) for item, c in record.checklist.items() if c.known and _printed(c)}


def claimed(record: Record) -> dict[str, str]:
    """Item -> answer by whatever source the record names; unknown items are left out."""
    return {item: str(c.value) for item, c in record.checklist.items() if c.known}


def evidence(record: Record, answers: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The answers with what the record says of each: origin, place and note, for a form or a table."""
    return {item: {"answer": answer, "where": _where(record.checklist[item]), "why": record.checklist[item].note or ""}
            for item, answer in answers.items()}  # fmt: skip


def _printed(claim: Coded[Any]) -> bool:
    return claim.from_ == "survey" and (claim.at or "").startswith(TABLE)


def _where(claim: Coded[Any]) -> str:
    return f"{claim.from_}: {claim.at}" if claim.at else str(claim.from_)
