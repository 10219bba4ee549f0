"""What is wrong with a filled form: items without what they say, and claims that outrank what is reported.

Errors are what a reader would have to ask for: a required item without an answer, "reported" without value
or place, "not applicable" where the item applies. Warnings are gaps that are said: partial and recommended items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..registry import methods
from .claims import outranked
from .clashes import Level, clashes, record_ids
from .form import Answer, Document, Form, FormError, load
from .items import Item, extension, items
from .values import lacks, later


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: of which item (or part of the form), at which line, and what to add."""

    level: Level
    item: str
    line: int
    column: int
    says: str
    add: str

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)


def lint_file(path: Path) -> tuple[Finding, ...]:
    """The findings of a form; one that cannot be read has its reasons as findings.

    Raises ``OSError`` where there is no such file.
    """
    try:
        return lint(load(path))
    except FormError as error:
        add = "`apportion checklist init` writes a form that can be read"
        return tuple(Finding("error", p.path or "form", *p.place, p.says, add) for p in error.problems)


def lint(document: Document) -> tuple[Finding, ...]:
    """Every finding, in the order of the file."""
    form = document.form
    found = [*_head(document)]
    for section, pack, answers in (("items", items(), form.items), ("extension", extension(), form.extension)):
        if answers is None:
            continue
        for id_, item in pack.items():
            there = "" if id_ in answers else "not in the form; "
            for level, part, says, add in _item(item, answers.get(id_, Answer()), form):
                found.append(Finding(level, id_, *document.place(section, id_, *part), there + says, add))
    for level, id_, says, add in clashes(form):
        found.append(Finding(level, id_, *document.place_of(id_, "value"), says, add))
    for one in outranked(form):
        item = items()[one.item]
        level = "error" if one.needed and one.answer != "partial" else "warning"
        says = f"claims '{one.word}' ({one.kind}), but {one.item} is {one.answer.replace('_', ' ')}"
        found.append(Finding(level, "claims", *document.place("claims", one.claim), says, f"{item.add} Or claim less."))
    return tuple(sorted(found, key=lambda f: (f.line, f.column)))


def _head(document: Document) -> Iterator[Finding]:
    form = document.form
    for key, add in (
        ("title", "Give the title of the paper or run."),
        ("method", "Give the method's id, or its name."),
        ("setting", "Give reasoning, agentic or multi-agent: what applies depends on it."),
    ):
        if not getattr(form, key) or later(getattr(form, key)):
            yield Finding("error", key, *document.place(key), "blank", add)
    if form.method:
        known = record_ids() | {*methods()}
        near = get_close_matches(form.method.lower(), known, n=1, cutoff=0.8)
        if near and form.method not in known:
            says = f"no method '{form.method}' here, but {near[0]}"
            yield Finding("warning", "method", *document.place("method"), says, f"Write {near[0]} if that is meant.")


_Said = tuple[Level, tuple[str, ...], str, str]


def _item(item: Item, answer: Answer, form: Form) -> Iterable[_Said]:
    excluded = bool(form.setting) and not {*form.setting} & {*item.applies_to}
    gap: Level = "error" if item.priority == "required" else "warning"
    if answer.answer == "unanswered":
        yield gap, (), "unanswered", "Answer not_applicable: " + item.not_applicable if excluded else item.add
    elif answer.answer == "not_applicable":
        yield from _not_applicable(item, answer, form, excluded)
    elif answer.answer == "not_reported":
        if item.priority != "extension" or answer.why is None:
            yield gap, ("answer",), "not reported" + ("" if answer.why else ", without a reason"), item.add
        if answer.value is not None:
            yield "warning", ("value",), "a value stands under not_reported", "Answer reported or partial, or take it out."
    else:
        yield from _said(item, answer, form)


def _not_applicable(item: Item, answer: Answer, form: Form, excluded: bool) -> Iterable[_Said]:
    if excluded:
        return
    where = ", ".join(form.setting) or "this setting"
    if item.waiver == "never":
        yield "error", ("answer",), f"not applicable, but it applies to {where}", item.add
    elif item.waiver == "untrained" and form.trained:
        yield "error", ("answer",), "not applicable, but the form says trained: true", item.add
    elif item.waiver == "stated" and (answer.why is None or later(answer.why)):
        yield "error", ("why",), "not applicable, without a reason", f"Say why: {item.not_applicable}"
    if answer.value is not None:
        yield "warning", ("value",), "a value stands under not_applicable", "Answer reported or partial, or take it out."


def _said(item: Item, answer: Answer, form: Form) -> Iterable[_Said]:
    reported = answer.answer == "reported"
    if not reported and item.priority != "extension":
        yield "warning", ("answer",), f"partial: {answer.why or 'what is missing is not said'}", item.add
    if answer.value is None or later(answer.value):
        if reported or answer.why is None:
            yield "error", ("value",), f"{answer.answer} without a value", item.add
    else:
        for lack in lacks(item, answer.value, form.setting):
            if lack.wrong or reported:
                yield "error", ("value", lack.field), lack.says, item.add
    if not answer.where or all(map(later, answer.where)):
        yield "error", ("where",), f"{answer.answer} without a place", "Say where it stands: section, table, or file:key."
