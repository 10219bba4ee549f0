"""Questions to the inventory: records by label, need, evidence or words, and one record by any of its names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args

from ..errors import ApportionError
from . import terms
from .coded import Coded
from .glossary import FREE, WORDS
from .records import Record, records

#: Whose labels count: "best" is what the most trusted source of each record says, "any" all claims.
Labels = Literal["best", "any", "survey", "companion", "primary", "secondary", "ours"]

Words = str | Iterable[str] | None

#: Fields that sources may label differently.
LABELLED = ("scope", "setting", "granularity", "methodology")

#: Filter -> the words it takes.
FILTERS: Mapping[str, tuple[str, ...]] = {
    "granularity": (*get_args(terms.Granularity), "unknown"),
    "setting": (*get_args(terms.Setting), "unknown"),
    "methodology": (*get_args(terms.Methodology), "unknown"),
    "scope": (*get_args(terms.Scope), "unknown"),
    "snapshot": get_args(terms.Snapshot),
    "evidence": tuple(WORDS["evidence"]),
    "baseline": (*get_args(terms.Baseline), "unknown"),
    "needs": ("none", *get_args(terms.Need), "unknown"),
    "labels": get_args(Labels),
}

#: What people type for a word of a vocabulary.
_ALSO = {
    "mc": "monte-carlo", "td": "temporal-difference", "llm": "model-based", "gt": "game-theoretic", "it": "information-theoretic",
    "grpo": "G", "ppo": "P", "dpo": "D", "orm": "O", "multiagent": "multi-agent", "agent": "agentic", "nothing": "none",
}  # fmt: skip


class QueryError(ApportionError, ValueError):
    """A question the inventory cannot answer: an unknown word or name; the message names the nearest."""


def papers(
    *,
    granularity: Words = None,
    setting: Words = None,
    methodology: Words = None,
    scope: Words = None,
    snapshot: Words = None,
    evidence: Words = None,
    baseline: Words = None,
    needs: Words = None,
    implemented: bool | None = None,
    search: str | None = None,
    labels: str = "best",
) -> list[Record]:
    """Records that pass every filter given, by id.

    A filter takes one word or several, of which any may hold; "unknown" asks for records that do not say.
    needs: "none" asks for what is known to need nothing that has to be trained, asked, generated or scored
    beyond what the rollouts hold (boundaries, groups, states, the policy's own log-probs:
    ``glossary.FREE``). implemented: with (True) or without (False) a method here. search: every word of it
    occurs somewhere in the record's names, title, authors, venue, models, benchmarks, results or notes.
    labels: whose scope, setting, granularity and methodology count (default: all that the most trusted source says).
    Raises :class:`QueryError` for an unknown word, with the nearest ones.
    """
    asked: dict[str, Words] = {
        "granularity": granularity, "setting": setting, "methodology": methodology, "scope": scope,
        "snapshot": snapshot, "evidence": evidence, "baseline": baseline, "needs": needs,
    }  # fmt: skip
    whose = checked("labels", labels)
    wanted = {name: {checked(name, word) for word in _several(words)} for name, words in asked.items() if words is not None}
    sought = search.casefold().split() if search else []
    here = registered() if implemented is not None else frozenset()
    return [
        found
        for found in records().values()
        if all(words & values(found, name, whose) for name, words in wanted.items())
        and (implemented is None or (found.id in here) == implemented)
        and (not sought or _says(found, sought))
    ]


def values(found: Record, name: str, labels: str = "best") -> set[str]:
    """The words a record has for a filter; {"unknown"} where it does not say."""
    if name == "snapshot":
        return {found.snapshot}
    if name == "evidence":
        return {found.evidence}
    if name == "needs":
        needs = found.needs.value
        if needs is None:
            return {"unknown"}
        return set(needs) | ({"none"} if FREE.issuperset(needs) else set())
    if name == "baseline":
        compared = found.baseline_family.value
        return {"unknown"} if compared is None else set(compared) or {"none"}
    said = found.labels(name) if labels == "best" else (word for claim in _claims(found, name, labels) for word in _words(claim))
    return set(said) or {"unknown"}


def _claims(found: Record, name: str, labels: str) -> list[Coded[Any]]:
    return [c for c in getattr(found, name) if c.known and labels in ("any", c.from_)]


def _words(claim: Coded[Any]) -> tuple[str, ...]:
    return (claim.value,) if isinstance(claim.value, str) else tuple(claim.value or ())


def checked(name: str, word: str) -> str:
    """``word`` as the vocabulary of the filter ``name`` writes it, or an error with the nearest ones."""
    return checked_word(name, word, FILTERS[name])


def checked_word(name: str, word: str, known: tuple[str, ...]) -> str:
    """``word`` as ``known`` writes it: case, hyphens and what people say for it do not matter."""
    plain = word.strip().casefold().replace("_", "-")
    spelt = {also: w for also, w in _ALSO.items() if w in known} | {w.casefold().replace("_", "-"): w for w in known}
    if plain in spelt:
        return spelt[plain]
    near = [spelt[s] for s in difflib.get_close_matches(plain, spelt, n=3)]
    near += [w for s, w in spelt.items() if len(plain) > 2 and plain in f"{s} {_meaning(name, w)}".casefold()]
    if near:
        raise QueryError(f"no {name} {word!r}; did you mean {' or '.join(list(dict.fromkeys(near))[:3])}?")
    raise QueryError(f"no {name} {word!r}; there are: {', '.join(known)}")


def _meaning(name: str, word: str) -> str:
    return WORDS.get(name, {}).get(word, "")


def registered() -> frozenset[str]:
    """Ids of the methods that are implemented here."""
    from ..registry import methods

    return frozenset(methods())


def find(text: str) -> Record:
    """The record with this id, name, alias or arXiv id, however it is spelt; an error with the nearest ones."""
    known = records()
    if text in known:
        return known[text]
    arxiv = re.search(r"\d{4}\.\d{4,5}", text)
    if arxiv:
        of_paper = [r for r in known.values() if r.arxiv == arxiv[0]]
        noted = [f"see {r.id}: {r.arxiv_note}" for r in known.values() if arxiv[0] in (r.arxiv_note or "")]
        return _only(of_paper, text, "; ".join([f"no record of arXiv {arxiv[0]}", *noted]))
    sought = spelling(text)
    named: dict[str, list[Record]] = {}
    for found in known.values():
        for name in {spelling(n) for n in (found.id, found.name, *found.aliases)}:
            named.setdefault(name, []).append(found)
    if sought in named:
        return _only(named[sought], text, "")
    near = [n for n in named if len(sought) > 2 and sought in n] + difflib.get_close_matches(sought, named, n=3)
    ids = list(dict.fromkeys(r.id for n in near for r in named[n]))
    hint = f"did you mean {' or '.join(ids[:3])}?" if ids else "apportion inventory list prints all"
    raise QueryError(f"no record {text!r}; {hint}")


def _only(found: list[Record], text: str, none: str) -> Record:
    if not found:
        raise QueryError(f"{none}; apportion inventory list prints all")
    if len(found) > 1:
        raise QueryError(f"{text!r} names several records: {', '.join(r.id for r in found)}; ask by id")
    return found[0]


def spelling(name: str) -> str:
    """A name without case, blanks and signs: what two spellings of it have in common."""
    return re.sub(r"[\W_]+", "", name.casefold())


def _several(words: str | Iterable[str]) -> Iterable[str]:
    return (words,) if isinstance(words, str) else words


def _says(found: Record, sought: list[str]) -> bool:
    text = "\n".join(texts(found)).casefold()
    return all(word in text for word in sought)


def texts(found: Record) -> Iterator[str]:
    """What a search looks at."""
    yield from filter(None, (found.id, found.name, found.title, found.authors, found.arxiv, found.venue.value, found.code.value))
    yield from (*found.aliases, *(found.base_models.value or ()), *(found.benchmarks.value or ()), *found.notes)
    yield from (result.says for result in found.results)
