"""Putting findings into a form: what is answered already is kept, unless it is to be replaced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..form import Document
from ..items import items
from .proof import Finding, Gap, Proof


@dataclass(frozen=True)
class Filled:
    """What became of each finding. kept: proofs of items that had an answer; gaps: items that nothing proves."""

    filled: tuple[Proof, ...]
    kept: tuple[Proof, ...]
    gaps: tuple[Gap, ...]


def fill(document: Document, findings: Iterable[Finding], *, replace: bool = False) -> Filled:
    """Write every proof into the form's text; items of the extension only where the form has it."""
    filled: list[Proof] = []
    kept: list[Proof] = []
    gaps: list[Gap] = []
    extended = document.form.extension is not None
    for finding in findings:
        if finding.item not in items() and not extended:
            continue
        if isinstance(finding, Gap):
            gaps.append(finding)
        elif document.form.answer(finding.item).answer != "unanswered" and not replace:
            kept.append(finding)
        else:
            document.put(finding.item, finding.as_answer())
            filled.append(finding)
    return Filled(tuple(filled), tuple(kept), tuple(gaps))
