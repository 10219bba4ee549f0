"""Coverage as lines for a terminal: one character a paper, and every number with its definition."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ..edges.escape import plain
from .coverage import STATES, Coverage, Covered
from .items import items
from .published import Audit

#: state -> (its sign, the same where only ASCII can be printed); a core paper without a record is last.
_SIGNS = {
    "reported": ("█", "#"), "partial": ("▒", "+"), "not_reported": ("·", "."), "not_applicable": ("–", "/"),
    "unknown": ("?", "?"), "no record": (" ", " "),
}  # fmt: skip


def lines(found: Coverage, width: int = 100, ascii_only: bool = False, definitions: bool = True) -> Iterator[str]:
    """The picture, the published numbers beside it, and why they part. definitions: what counts, below each item."""
    which = int(ascii_only)
    entered = f"{len(found.ids)} have a record" if found.missing else "all have a record"
    yield f"{found.of} core papers of the survey, {entered}. One character a paper:"
    shown = [*STATES, *(["no record"] if found.missing else [])]
    yield (
        "  "
        + "   ".join(f"{_SIGNS[s][which]} {_words(s)}" for s in shown if _SIGNS[s][which].strip())
        + (f"   blank: no record ({found.missing})" if found.missing else "")
    )
    yield "unknown: no source that was read says; not that the paper is silent."
    for priority in ("required", "recommended"):
        yield ""
        yield priority
        for one in found.items:
            if items()[one.item].priority == priority:
                yield from _item(one, found, width, which, definitions)
    for audit in found.published:
        yield ""
        yield from _audit(audit, found, width)


def _item(one: Covered, found: Coverage, width: int, which: int, definitions: bool) -> Iterator[str]:
    item = items()[one.item]
    bar = "".join(_SIGNS[state][which] * one.count(state) for state in STATES)
    drawn, counts = f"{item.number:>3} {item.id:<20}|{bar.ljust(found.of)}|", _counts(one)
    if len(drawn) + 1 + len(counts) <= width:
        yield f"{drawn} {counts}"
    else:
        yield drawn
        yield from _wrapped(counts, width, 25)
    if definitions:
        yield from _wrapped(f"reported: {item.reported} Partial: {item.partial}", width, 4)


def _counts(one: Covered) -> str:
    """A count for each state: reported and unknown always, the others where there are some."""
    always = ("reported", "unknown")
    return ", ".join(f"{one.count(s)} {_words(s)}" for s in STATES if s in always or one.count(s))


def _audit(audit: Audit, found: Coverage, width: int) -> Iterator[str]:
    yield f"Published, not ours: {audit.title}"
    yield from _wrapped(f"{audit.source}; {audit.of} papers, {audit.papers}; {audit.how}. Read {audit.at}.", width, 2)
    ours = {one.item: one for one in found.items}
    for field in audit.fields:
        theirs = ", ".join(f"{count} {name}" for name, count in field.counts.items())
        yield f"  {field.name}: {theirs}, of {audit.of}"
        yield from _wrapped(f"counts: {field.definition}", width, 4)
        yield from _wrapped(f"ours ({field.item}), of {found.of}: {_counts(ours[field.item])}", width, 4)
        yield from _wrapped(f"why they part: {field.differs}", width, 4)
        if audit.same_papers and (own := ours[field.item].origins.get("survey")):
            yield from _wrapped(f"{own} of ours are the survey's own word: agreement there is no second reading.", width, 4)
        if audit.same_papers and (reported := ours[field.item].papers["reported"]):
            yield from _wrapped(f"we count as reported: {', '.join(reported)}", width, 4)


def _words(state: str) -> str:
    return state.replace("_", " ")


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    return textwrap.wrap(plain(text), width, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))
