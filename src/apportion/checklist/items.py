"""The checklist's items: the survey's 14, and an extension of our own that is never counted with them.

Data in ``items.yaml`` and ``extension.yaml``; what each key means stands at the head of the first.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..edges.yaml_lines import parse, plain
from ..survey.terms import ITEMS

#: Where a paper's experiments are at home; what length is counted in depends on it.
Setting = Literal["reasoning", "agentic", "multi-agent"]
Priority = Literal["required", "recommended", "extension"]
Kind = Literal["text", "number", "whole", "yes", "numbers", "one_of"]
#: When "not applicable" may be said.
Waiver = Literal["never", "untrained", "stated"]

_FROZEN = ConfigDict(frozen=True, extra="forbid")
_Text = Annotated[str, Field(min_length=1)]


class Asked(BaseModel):
    """One part of an item's value: what kind it is, and what makes it too little."""

    model_config = _FROZEN

    kind: Kind
    says: _Text
    choices: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    at_least: float | None = None
    settings: tuple[Setting, ...] = ()
    by_setting: dict[Setting, str] = {}

    @model_validator(mode="after")
    def _choices_are_choices(self) -> Asked:
        if (self.kind == "one_of") != bool(self.choices):
            raise ValueError("choices are for one_of, and one_of has choices")
        if strangers := {*self.partial, *self.by_setting.values()} - {*self.choices}:
            raise ValueError(f"no choices: {', '.join(sorted(strangers))}")
        return self

    def asked_of(self, setting: tuple[Setting, ...]) -> bool:
        """Whether it is asked in (one of) these settings."""
        return not self.settings or not setting or bool({*self.settings} & {*setting})


class Item(BaseModel):
    """One item. ``reported`` … ``not_applicable`` say what counts as which answer, ``add`` what to do about a gap."""

    model_config = _FROZEN

    id: Annotated[str, Field(pattern=r"^[a-z][a-z_]*$")]
    number: int
    group: _Text
    title: _Text
    priority: Priority
    question: _Text
    meaning: _Text
    reported: _Text
    partial: _Text
    not_reported: _Text
    not_applicable: _Text
    waiver: Waiver
    applies_to: tuple[Setting, ...]
    fields: dict[str, Asked]
    add: _Text

    def given(self, value: Any) -> dict[str, Any]:
        """A value by the item's fields: of an item with one field (in these words or in their place) it is the value itself.

        What is no mapping, where several fields are asked for, has no name: it is given under ``""``.
        """
        if isinstance(value, Mapping) and (len(self.fields) > 1 or {*value} <= {*self.fields}):
            return dict(value)
        if value is None:
            return {}
        return {next(iter(self.fields)) if len(self.fields) == 1 else "": value}


@functools.cache
def items() -> Mapping[str, Item]:
    """The survey's 14 by id, in its order."""
    found = _load("items.yaml")
    assert tuple(found) == ITEMS, "items.yaml and survey.terms.ITEMS differ"
    return found


@functools.cache
def extension() -> Mapping[str, Item]:
    """Our additions by id."""
    return _load("extension.yaml")


def item(id_: str) -> Item:
    """The item with this id, of either pack; raises ``KeyError`` with the nearest ids."""
    known = {**items(), **extension()}
    if id_ not in known:
        raise KeyError(no_such_item(id_, known))
    return known[id_]


def no_such_item(id_: str, known: Mapping[str, Any]) -> str:
    """In words: there is no such item; perhaps another was meant."""
    near = get_close_matches(id_, known, n=3, cutoff=0.5)
    return f"'{id_}' is no item; " + (f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}")


def _load(name: str) -> dict[str, Item]:
    text = (files(__package__) / name).read_text(encoding="utf-8")
    return {found.id: found for found in map(Item.model_validate, plain(parse(text)))}
