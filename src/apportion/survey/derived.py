"""What follows from a record and is never written into one: level, links, where sources differ, whether it runs here."""

from __future__ import annotations

import re
from typing import Any

from .evidence import verdict
from .query import LABELLED, registered
from .records import Record


def derived(found: Record) -> dict[str, Any]:
    """Evidence level with its reason, labels to go by, fields on which sources differ, links, whether it is implemented."""
    level, why = verdict(found.facts)
    return {
        "evidence": level,
        "evidence_because": why,
        "labels": {field: list(found.labels(field)) for field in LABELLED},
        "sources_differ_on": differ(found),
        "implemented": found.id in registered(),
        "links": links(found),
    }


def differ(found: Record) -> list[str]:
    """Fields that two sources label differently; the order of several labels does not matter."""
    return [field for field in LABELLED if len({frozenset(words) for words in by_origin(found, field).values()}) > 1]


def by_origin(found: Record, field: str) -> dict[str, list[str]]:
    """Origin -> all that it says of a field that sources may see differently."""
    said: dict[str, list[str]] = {}
    for claim in getattr(found, field):
        if claim.known:
            words = (claim.value,) if isinstance(claim.value, str) else claim.value
            said.setdefault(claim.from_, []).extend(words)
    return said


def links(found: Record) -> dict[str, str]:
    """Addresses of the paper and its code; a repository that is neither owner/name nor an https address has none."""
    said: dict[str, str] = {}
    if found.arxiv:
        said["arxiv"] = f"https://arxiv.org/abs/{found.arxiv}"
    code = found.code.value or ""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", code, re.ASCII):
        said["code"] = f"https://github.com/{code}"
    elif re.fullmatch(r"https://[\w.-]+(/[\w./~%-]*)?", code, re.ASCII):
        said["code"] = code
    return said


def plain_record(found: Record) -> dict[str, Any]:
    """The record as its file has it: mappings, lists and plain values that :func:`load` would read again."""
    return found.model_dump(mode="json", by_alias=True, exclude_unset=True)
