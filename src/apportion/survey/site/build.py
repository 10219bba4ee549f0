"""The page, from records: table, filters, map of the taxonomy, and every record with its claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import OptionError
from ...pages.embed import packaged, page, write_text
from ..glossary import WORDS
from ..records import Record
from .view import FILTERS, Entry, entry, meaning

HERE = "apportion.survey.site"
#: Column -> heading; the keys of filters sort by the vocabulary's order.
COLUMNS = {
    "name": "Method",
    "date": "Date",
    "setting": "Setting",
    "granularity": "Granularity",
    "methodology": "Methodology",
    "needs": "Needs",
    "evidence": "Evidence",
    "implemented": "Here",
}


@dataclass(frozen=True)
class Choice:
    """One word of a filter, as the page writes it, what it means, and how many records have it."""

    word: str
    label: str
    meaning: str
    count: int


def write_site(records: Iterable[Record], folder: str | Path) -> Path:
    """Write ``index.html`` into ``folder``, which is made where it is missing; returns the page's path.

    The page needs nothing else: no network, no server. Raises ``OptionError`` without records, before
    anything is written.
    """
    html = site_html(records)
    at = Path(folder)
    at.mkdir(parents=True, exist_ok=True)
    return write_text(html, at / "index.html")


def site_html(records: Iterable[Record]) -> str:
    """The page as text. Whatever a record says is text in it: no markup, no script, no address that it did not check."""
    entries = sorted((entry(record) for record in records), key=lambda e: (e.name.casefold(), e.id))
    if not entries:
        raise OptionError("there is nothing to show: no record was chosen")
    return page(
        packaged(HERE, "page.html.jinja"),
        [packaged(HERE, "page.js")],
        packaged(HERE, "style.css"),
        {},
        entries=entries,
        columns=COLUMNS,
        filters={name: (heading, choices(entries, name)) for name, heading in FILTERS.items()},
        origins=WORDS["origin"],
        meaning=meaning,
        rank=rank,
        map=taxonomy(entries),
        differ=sum(bool(e.differ) for e in entries),
    )


def choices(entries: Sequence[Entry], name: str) -> list[Choice]:
    """The words of a filter that occur, in the vocabulary's order."""
    counts = Counter(word for e in entries for word in e.words[name])
    order = ["none", *WORDS.get(name, {}), "unknown"] if name == "needs" else [*WORDS.get(name, {"yes": "", "no": ""}), "unknown"]
    return [Choice(word, label(name, word), meaning(name, word), counts[word]) for word in dict.fromkeys(order) if counts[word]]


def label(name: str, word: str) -> str:
    """A word with its short meaning where it is a code."""
    if (name, word) == ("needs", "none"):
        return meaning(name, word)
    if name in ("evidence", "baseline") and len(word) == 1:
        return f"{word}: {meaning(name, word).split(':')[0]}"
    return word.replace("_", " ")


def rank(name: str, e: Entry) -> str:
    """What a column sorts by: the vocabulary's order where it has one; text sorts as text."""
    if name == "name":
        return e.name.casefold()
    if name == "date":
        return e.date
    if name == "needs":  # what the rollouts hold first, then by how much is asked for, the unknown last
        words = e.words["needs"]
        return "99" if words == ("unknown",) else f"{('none' not in words) * 50 + len(words):02d}"
    order = ["yes", "no"] if name == "implemented" else [*WORDS[name], "unknown"]
    return " ".join(f"{order.index(word):02d}" for word in e.words[name])


def taxonomy(entries: Sequence[Entry]) -> tuple[list[str], list[tuple[str, list[tuple[str, int]]]]]:
    """Counts by unit and way: the ways that occur, and for each unit that occurs its (way, count)."""
    ways = [c.word for c in choices(entries, "methodology")]
    units = [c.word for c in choices(entries, "granularity")]
    both = Counter((u, w) for e in entries for u in e.words["granularity"] for w in e.words["methodology"])
    return ways, [(u, [(w, both[u, w]) for w in ways]) for u in units]
