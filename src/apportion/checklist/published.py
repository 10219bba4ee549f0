"""Audits of the literature that others published: their numbers with their definitions, never merged with ours."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator
from ruamel.yaml import YAML

from ..survey.terms import ITEMS

_FROZEN = ConfigDict(frozen=True, extra="forbid")
Text = Annotated[str, Field(min_length=1)]


class AuditField(BaseModel):
    """One thing an audit counted. ``counts``: value -> papers; ``item``: our item that asks nearly the same;
    ``differs``: why the two numbers are not one."""

    model_config = _FROZEN

    name: Text
    item: str
    definition: Text
    counts: dict[str, int]
    differs: Text

    @field_validator("item")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ITEMS:
            raise ValueError(f"'{value}' is no item of the checklist")
        return value


class Audit(BaseModel):
    """One published audit: which papers, how many (``of``), read how, printed where.
    ``same_papers``: whether they are the papers that our own counts are of."""

    model_config = _FROZEN

    id: Text
    title: Text
    source: Text
    at: Text
    of: int
    same_papers: bool
    papers: Text
    how: Text
    fields: tuple[AuditField, ...]


@functools.cache
def audits() -> tuple[Audit, ...]:
    """The published audits, oldest first."""
    text = (files(__package__) / "published.yaml").read_text(encoding="utf-8")
    return tuple(Audit.model_validate(one) for one in YAML(typ="safe").load(text))
