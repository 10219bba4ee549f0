"""A record as text: every claim with its origin and place, labels of several sources one below the other."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from ..edges.escape import plain
from .coded import Coded
from .derived import derived, links
from .glossary import FREE, WORDS
from .query import LABELLED
from .records import Record
from .terms import DIAGNOSTICS

#: A title and its lines: (name, what is said, where).
Section = tuple[str, list[tuple[str, str]]]


def text(found: Record, width: int = 100) -> str:
    """The record for a terminal of ``width`` columns."""
    return "\n\n".join("\n".join([title, *_lines(rows, width)]) for title, rows in sections(found) if rows)


def sections(found: Record) -> Iterator[Section]:
    """Titles and named sentences; what others wrote is one line each, without control characters."""
    more = derived(found)
    yield f"{one_line(found.name)} ({found.id})", list(_head(found, more["implemented"]))
    title = "Labels (* the one to go by)" + (f": sources differ on {', '.join(d)}" if (d := more["sources_differ_on"]) else "")
    yield title, [row for field in LABELLED for row in _claims(found, field)]
    yield f"Evidence {more['evidence']}: {more['evidence_because']}", [(n, claim(getattr(found.facts, n))) for n in _FACTS]
    needs = claim(found.needs)
    if found.needs.known and FREE.issuperset(found.needs.value or ()):
        needs += " (all of it read off the rollouts)"
    yield "Asks for", [("needs", needs), ("cost", claim(found.cost))]
    yield (
        "Study",
        [
            ("compares with", claim(found.baseline_family, WORDS["baseline"])),
            ("base models", claim(found.base_models)),
            ("benchmarks", claim(found.benchmarks)),
            *_results(found),
        ],
    )
    yield "Checklist", [(item.replace("_", " "), claim(said)) for item, said in found.checklist.items()]
    yield "Diagnostics", [(f"{code} {DIAGNOSTICS[code]}", claim(said)) for code, said in found.diagnostics.items()]
    yield "Notes", [("-", one_line(note)) for note in found.notes]


_FACTS = ("role", "comparator", "benchmarks", "seeds", "interval")


def claim(said: Coded[Any], meaning: Any = None) -> str:
    """``value [origin: place] (note)``."""
    where = f" [{': '.join(filter(None, (said.from_, said.at)))}]" if said.from_ else ""
    note = f" ({said.note})" if said.note else ""
    return one_line(f"{words(said.is_, meaning)}{where}{note}")


def words(value: Any, meaning: Any = None) -> str:
    """A value as words; an empty list is known to be empty."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(words(v, meaning) for v in value) or "none"
    return (
        f"{value} = {meaning[value]}"
        if meaning and value in meaning and value not in ("none", "other", "unknown")
        else str(value)
    )


def one_line(said: str) -> str:
    """Without line breaks and control characters."""
    return " ".join(plain(said).split())


def _head(found: Record, here: bool) -> Iterator[tuple[str, str]]:
    to = links(found)
    yield "title", one_line(found.title or "unknown")
    if found.aliases:
        yield "also", one_line(", ".join(found.aliases))
    yield "authors", one_line(found.authors or "unknown")
    yield "date", found.date
    yield "arXiv", one_line(" ".join(filter(None, (to.get("arxiv", "none"), found.arxiv_note and f"({found.arxiv_note})"))))
    yield "venue", claim(found.venue)
    yield "peer reviewed", claim(found.peer_reviewed)
    yield "code", claim(found.code.model_copy(update={"is_": to.get("code", found.code.is_)}))
    yield "licence", claim(found.licence)
    yield "snapshot", f"{found.snapshot}: {WORDS['snapshot'][found.snapshot]}"
    where = f"see apportion explain {found.id}, apportion card show {found.id}"
    yield "here", f"implemented, {found.status}; {where}" if here else "not implemented"


def _claims(found: Record, field: str) -> Iterator[tuple[str, str]]:
    believed = found.claim(field)
    for i, said in enumerate(getattr(found, field)):
        mark = "*" if said.known and said.from_ == believed.from_ else " "
        yield field if i == 0 else "", f"{mark} {claim(said)}"


def _results(found: Record) -> Iterator[tuple[str, str]]:
    for result in found.results:
        where = ": ".join(filter(None, (result.from_, result.at)))
        against, model = words(result.against.is_), words(result.base_model.is_)
        yield "result", one_line(f"{result.says}; against {against}, base model {model} [{where}]")


def _lines(rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    left = max(len(name) for name, _ in rows) + 4
    for name, said in rows:
        # Two columns more for what follows, so that a marked claim stays readable when it is folded.
        first, rest = f"  {name}".ljust(left), " " * (left + 2)
        yield from textwrap.wrap(said, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False) or [first]
