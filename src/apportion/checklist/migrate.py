"""Forms of older versions, brought to the present one.

Version 0 is the survey's table as people transcribe it: items by number, answers by letter. ::

    schema: 0
    paper: A title            # now title
    method: gigpo
    setting: agentic
    items:
      1: y                    # y reported, p partial, n not reported, na not applicable, ? unanswered
      2: {answer: p, value: …, where: …, note: …}       # note is now why
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruamel.yaml.comments import CommentedMap

from .items import items

#: Letters of version 0.
LETTERS = {"y": "reported", "p": "partial", "n": "not_reported", "na": "not_applicable", "?": "unanswered"}
CURRENT = 1


class CannotMigrate(ValueError):
    """The form is of a version that cannot be brought here, or is no form of the version it names."""

    def __init__(self, says: str, path: tuple[Any, ...]) -> None:
        super().__init__(says)
        self.path = path


def to_current(data: CommentedMap) -> tuple[CommentedMap, tuple[str, ...]]:
    """The data of a form in the present version, with its places and comments, and what was changed.

    Raises:
        CannotMigrate: no version, an unknown one, or a version 0 that says what version 0 could not say.
    """
    if "schema" not in data:
        raise CannotMigrate(f"the form does not say its version; add 'schema: {CURRENT}' (or 0 for items by number)", ())
    found = data["schema"]
    if isinstance(found, bool) or not isinstance(found, int):
        raise CannotMigrate(f"{found!r} is no version; this apportion reads 0 and {CURRENT}", ("schema",))
    if found > CURRENT:
        raise CannotMigrate(f"version {found} is newer than this apportion, which reads up to {CURRENT}: upgrade it", ("schema",))
    if found < 0:
        raise CannotMigrate(f"there is no version {found}", ("schema",))
    return (data, ()) if found == CURRENT else _from_0(data)


def _from_0(old: CommentedMap) -> tuple[CommentedMap, tuple[str, ...]]:
    new = _renamed(old, {"paper": "title"})
    new["schema"] = CURRENT
    answers = new.get("items")
    if not isinstance(answers, CommentedMap):
        raise CannotMigrate("version 0 has items by number: 'items: {1: y, 2: p, …}'", ("items",))
    by_number = {item.number: item.id for item in items().values()}
    names: dict[Any, str] = {}
    for key in answers:
        number = int(key) if str(key).isdigit() else None
        if number not in by_number:
            raise CannotMigrate(f"version 0 has the items 1 to {len(by_number)}, there is no {key}", ("items", key))
        names[key] = by_number[number]
    if len({*names.values()}) < len(names):
        raise CannotMigrate("an item is there twice, as a number and as text", ("items",))
    new["items"] = _renamed(answers, names)
    for key, id_ in names.items():
        new["items"][id_] = _answer_of_0(answers[key], ("items", key))
    notes = ("schema 0 -> 1: items by name", *(("paper is now title",) if "paper" in old else ()))
    return new, notes


def _answer_of_0(said: Any, path: tuple[Any, ...]) -> CommentedMap:
    entry = _renamed(said, {"note": "why"}) if isinstance(said, CommentedMap) else CommentedMap(answer=said)
    letter = entry.get("answer")
    letter = "?" if letter is None else str(letter)
    if letter not in LETTERS:
        raise CannotMigrate(f"'{letter}' is no answer of version 0; there are: {', '.join(LETTERS)}", path)
    entry["answer"] = LETTERS[letter]
    return entry


def _renamed(old: CommentedMap, names: Mapping[Any, Any]) -> CommentedMap:
    """The same mapping under other keys, with its places and comments."""
    new = CommentedMap()
    new.ca.comment = old.ca.comment
    new.lc.line, new.lc.col = old.lc.line, old.lc.col
    for key, value in old.items():
        name = names.get(key, key)
        new[name] = value
        if old.lc.data and key in old.lc.data:
            new.lc.add_kv_line_col(name, old.lc.data[key])
        if key in old.ca.items:
            new.ca.items[name] = old.ca.items[key]
    return new
