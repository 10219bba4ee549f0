"""A record as the page shows it: one row of the table, and its claims in sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...edges.escape import plain
from ..coded import Coded
from ..derived import derived
from ..glossary import WORDS
from ..query import LABELLED, texts, values
from ..records import Record
from ..show import one_line, words
from ..terms import DIAGNOSTICS

#: Filters of the page -> heading. A record has one word or several of each.
FILTERS: Mapping[str, str] = {
    "granularity": "Granularity",
    "methodology": "Methodology",
    "setting": "Setting",
    "needs": "Needs",
    "evidence": "Evidence",
    "baseline": "Compares with",
    "scope": "Scope",
    "snapshot": "List",
    "implemented": "Runs here",
}
#: What a word means where the glossary says it otherwise or not at all.
SAID = {
    ("needs", "none"): "nothing beyond the rollouts",
    ("implemented", "yes"): "a method here computes it",
    ("implemented", "no"): "no method here yet",
}


@dataclass(frozen=True)
class Line:
    """One claim: what is said of what, where it was read, and whether it is the one to go by."""

    name: str
    says: str
    origin: str = ""
    at: str = ""
    note: str = ""
    chosen: bool = False
    known: bool = True


@dataclass(frozen=True)
class Section:
    title: str
    lines: tuple[Line, ...]
    lead: str = ""


@dataclass(frozen=True)
class Entry:
    """One record: ``words`` are what filters look at, ``search`` is what a search looks at."""

    id: str
    name: str
    title: str
    authors: str
    date: str
    arxiv_note: str
    aliases: str
    words: dict[str, tuple[str, ...]]
    needs: str
    differ: tuple[str, ...]
    links: dict[str, str]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    search: str = field(repr=False)


def entry(record: Record) -> Entry:
    """What the page shows of a record; text of others without control characters, not yet escaped."""
    more = derived(record)
    found: dict[str, Sequence[str]] = {name: _ordered(record, name) for name in FILTERS if name != "implemented"}
    found["implemented"] = ("yes" if more["implemented"] else "no",)
    return Entry(
        id=record.id,
        name=one_line(record.name),
        title=one_line(record.title or ""),
        authors=one_line(record.authors or "authors unknown"),
        date=record.date,
        arxiv_note=one_line(record.arxiv_note or ""),
        aliases=one_line(", ".join(record.aliases)),
        words={name: tuple(said) for name, said in found.items()},
        needs=words(record.needs.is_).replace("_", " ") if record.needs.value != () else "nothing",
        differ=tuple(more["sources_differ_on"]),
        links=more["links"],
        sections=tuple(s for s in _sections(record, more) if s.lines),
        notes=tuple(one_line(note) for note in record.notes),
        search=plain(" ".join(texts(record))).casefold(),
    )


def meaning(name: str, word: str) -> str:
    """A word of a filter in words of one line; empty where it speaks for itself."""
    return SAID.get((name, word)) or WORDS.get(name, {}).get(word, "")


def _ordered(record: Record, name: str) -> list[str]:
    """The record's words for a filter, in the vocabulary's order."""
    order = list(WORDS[name])
    return sorted(values(record, name), key=lambda w: order.index(w) if w in order else len(order))


def _sections(record: Record, more: Mapping[str, Any]) -> list[Section]:
    labels = [
        _line(name if k == 0 else "", claim, chosen=name in more["sources_differ_on"] and claim is record.claim(name))
        for name in LABELLED
        for k, claim in enumerate(getattr(record, name))
    ]
    facts = [_line(name, getattr(record.facts, name)) for name in ("role", "comparator", "benchmarks", "seeds", "interval")]
    study = [
        _line("compares with", record.baseline_family, WORDS["baseline"]),
        _line("base models", record.base_models),
        _line("benchmarks", record.benchmarks),
        *(Line("result", _result(r), r.from_, one_line(r.at or "")) for r in record.results),
    ]
    source = [_line(name.replace("_", " "), getattr(record, name)) for name in ("venue", "peer_reviewed", "code", "licence")]
    return [
        Section("Labels", tuple(labels), f"Sources differ on {', '.join(d)}." if (d := more["sources_differ_on"]) else ""),
        Section("Asks for", (_line("needs", record.needs, spaced=True), _line("cost", record.cost))),
        Section(f"Evidence: {record.evidence}", tuple(facts), _sentence(more["evidence_because"])),
        Section("Study", tuple(study), "Figures of a paper’s own study are never to be compared across papers."),
        Section("Source", tuple(source)),
        Section("Reporting checklist", tuple(_line(k.replace("_", " "), c) for k, c in record.checklist.items())),
        Section("Diagnostics", tuple(_line(f"{k}: {DIAGNOSTICS[k]}", c) for k, c in record.diagnostics.items())),
    ]


def _line(name: str, claim: Coded[Any], meaning: Any = None, *, chosen: bool = False, spaced: bool = False) -> Line:
    says = one_line(words(claim.is_, meaning))
    says = says.replace("_", " ") if spaced else says
    return Line(name, says, claim.from_ or "", one_line(claim.at or ""), one_line(claim.note or ""), chosen, claim.known)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _result(result: Any) -> str:
    return one_line(f"{result.says}; against {words(result.against.is_)}, base model {words(result.base_model.is_)}")
