"""One BibTeX entry a paper; what is unknown is left out, and what others wrote is text, never a command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ...edges.escape import bibtex as escaped
from ..derived import links
from ..records import Record

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def bibtex(found: Sequence[Record]) -> bytes:
    """The entries, keyed by the records' ids."""
    return "\n".join(map(entry, found)).encode()


def entry(found: Record) -> str:
    """``@inproceedings`` where it appeared after peer review, ``@misc`` otherwise."""
    kind = "inproceedings" if _appeared(found) and found.authors else "misc"
    fields = ",\n".join(f"  {name} = {value}" for name, value in _fields(found, kind))
    return f"@{kind}{{{found.id},\n{fields},\n}}\n"


def _appeared(found: Record) -> bool:
    return bool(found.peer_reviewed.value) and found.venue.value not in (None, "preprint", "none")


def _fields(found: Record, kind: str) -> Iterator[tuple[str, str]]:
    # Twice in braces: styles keep the capitals.
    yield "title", f"{{{{{escaped(found.title or found.name)}}}}}"
    if found.authors:
        yield "author", f"{{{' and '.join(names(found.authors))}}}"
    if kind == "inproceedings":
        yield "booktitle", f"{{{escaped(found.venue.value or '')}}}"
    yield "year", f"{{{_appeared_in(found, kind)}}}"
    if kind == "misc" and len(found.date) > 4:
        yield "month", _MONTHS[int(found.date[5:]) - 1]
    if found.arxiv:
        yield "eprint", f"{{{found.arxiv}}}"
        yield "archiveprefix", "{arXiv}"
    if "arxiv" in links(found):
        yield "url", f"{{{links(found)['arxiv']}}}"


def _appeared_in(found: Record, kind: str) -> str:
    """The venue's year where it names one; the first version's otherwise."""
    named = re.search(r"\b(?:19|20)\d\d\b", found.venue.value or "") if kind == "inproceedings" else None
    return named[0] if named else str(found.year)


def names(authors: str) -> list[str]:
    """Names as BibTeX separates them; "et al." is "others", and which version someone joined in is left out.

    Where most names are a surname alone, one of several words is a surname too and stands in braces.
    """
    others = re.search(r"\bet al\b\.?", authors)
    listed = re.sub(r"\bet al\b\.?|\bfrom v\d+\b", " ", authors)
    found = [" ".join(name.split()) for name in re.split(r"[,;]|\band\b", listed) if name.strip()]
    surnames = sum(" " not in name for name in found) * 2 > len(found)
    said = [f"{{{escaped(name)}}}" if surnames and " " in name else escaped(name) for name in found]
    return [*said, "others"] if others or not said else said
