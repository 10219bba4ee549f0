"""What a reported value lacks, by the fields its item declares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from .items import Asked, Item, Setting

#: What people write where they mean to write something later.
_LATER = re.compile(
    r"(?i)(todo|tbd|tba|fixme|xxx+|\?+|\.{2,}|…|-+|see (the )?(paper|text|above|below)|n/?a|none given|unknown)\W*"
)


class Lack(NamedTuple):
    """A part of a value (a field's name; "" is the whole) that is wrong, or too little to be "reported"."""

    field: str
    says: str
    wrong: bool


def later(text: Any) -> bool:
    """Whether a text only holds the place of one."""
    return isinstance(text, str) and bool(_LATER.fullmatch(text.strip()))


def lacks(item: Item, value: Any, setting: tuple[Setting, ...]) -> Iterator[Lack]:
    """Everything in a value that keeps the item from being reported; ``wrong`` ones should be mended in any case."""
    given = item.given(value)
    for name in given:
        if name not in item.fields:
            near = get_close_matches(name, item.fields, n=1, cutoff=0.5)
            names = ", ".join(n for n, a in item.fields.items() if a.asked_of(setting))
            hint = f"; did you mean {near[0]}?" if near else ""
            yield Lack(name, f"'{name}' is not asked for{hint}" if name else f"give it by name: {names}", True)
    for name, asked in item.fields.items():
        if name in given:
            yield from _of_field(name, asked, given[name], setting)
        elif asked.asked_of(setting):
            yield Lack(name, f"{name} is missing: {asked.says}", False)


def _of_field(name: str, asked: Asked, value: Any, setting: tuple[Setting, ...]) -> Iterator[Lack]:
    if wrong := _not_of_kind(asked, value):
        yield Lack(name, f"{name} is {_short(value)}: {wrong}", True)
        return
    numbers = value.values() if isinstance(value, Mapping) else [value]
    if asked.at_least is not None and any(number < asked.at_least for number in numbers):
        negative = any(number < 0 for number in numbers)
        says = "it cannot be negative" if negative else f"fewer than {asked.at_least:g} are partial at best"
        yield Lack(name, f"{name} is {_short(value)}: {says}", negative)
    if value in asked.partial:
        yield Lack(name, f"{name} is {value}: that is partial", False)
    right = {asked.by_setting[one] for one in setting if one in asked.by_setting}
    if right and value not in right:
        yield Lack(name, f"{name} is {value}: in the setting {', '.join(setting)} it is {' or '.join(sorted(right))}", False)


def _not_of_kind(asked: Asked, value: Any) -> str | None:
    """What was expected, where the value is something else."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if asked.kind == "text":
        return "say it" if later(value) or isinstance(value, Mapping) or value is False else None
    if asked.kind == "one_of":
        near = get_close_matches(str(value), asked.choices, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(asked.choices)}"
        return None if value in asked.choices else hint
    if asked.kind == "yes":
        return None if value is True or value == "yes" else "reported needs yes"
    if asked.kind == "numbers" and isinstance(value, Mapping):
        fine = all(isinstance(v, int | float) and not isinstance(v, bool) for v in value.values())
        return None if fine else "expected numbers by name"
    if asked.kind == "whole":
        return None if number and value == int(value) else "expected a whole number"
    return None if number else "expected a number"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
