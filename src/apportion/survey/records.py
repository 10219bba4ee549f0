"""Records of papers: what each one is, in the survey's words and in its own.

A record is a YAML file in ``survey/papers`` named by its id. Errors name the file and the line.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, field_validator, model_validator

from ..edges.yaml_lines import NotPlain, NotYaml, located, parse, place, plain
from ..errors import ApportionError
from ..words import Status
from . import memory
from .card import Card
from .coded import Coded, Text, best
from .evidence import Facts, Level, level
from .terms import (
    DIAGNOSTICS,
    ITEMS,
    Addressed,
    Answer,
    Baseline,
    Granularity,
    Methodology,
    Need,
    Origin,
    Scope,
    Setting,
    Snapshot,
)

Claims = Annotated[tuple[Coded[Any], ...], Field(min_length=1)]
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class RecordError(ApportionError, ValueError):
    """A record is not usable; the message names its file and line."""


class Result(BaseModel):
    """A headline number, in the paper's own study: never to be compared across papers."""

    model_config = _FROZEN

    says: Text
    against: Coded[Text]
    base_model: Coded[Text]
    from_: Origin = Field(alias="from")
    at: Text | None = None


class Record(BaseModel):
    """One paper. ``status`` says how far its formula was checked against the source (null: no formula here).

    Labels that sources may see differently (setting, granularity, methodology, scope) are lists of
    claims, one per source; :meth:`label` picks the one to go by.
    """

    model_config = _FROZEN

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    name: Text
    aliases: tuple[Text, ...] = ()
    title: Text | None
    authors: Text | None
    date: Annotated[str, Field(pattern=r"^[0-9]{4}(-(0[1-9]|1[0-2]))?$")]
    arxiv: Annotated[str, Field(pattern=r"^[0-9]{4}\.[0-9]{4,5}$")] | None
    arxiv_note: Text | None = None
    venue: Coded[Text]
    peer_reviewed: Coded[StrictBool]
    code: Coded[Text]
    licence: Coded[Text]
    snapshot: Snapshot
    scope: Annotated[tuple[Coded[Scope], ...], Field(min_length=1)]
    setting: Annotated[tuple[Coded[tuple[Setting, ...]], ...], Field(min_length=1)]
    granularity: Annotated[tuple[Coded[tuple[Granularity, ...]], ...], Field(min_length=1)]
    methodology: Annotated[tuple[Coded[Methodology], ...], Field(min_length=1)]
    baseline_family: Coded[tuple[Baseline, ...]]
    facts: Facts
    needs: Coded[tuple[Need, ...]]
    cost: Coded[Text]
    base_models: Coded[tuple[Text, ...]]
    benchmarks: Coded[tuple[Text, ...]]
    results: tuple[Result, ...] = ()
    checklist: dict[str, Coded[Answer]]
    diagnostics: dict[str, Coded[Addressed]]
    notes: tuple[Text, ...] = ()
    status: Status | None
    card: Card | None = None

    @field_validator("arxiv", "date", mode="before")
    @classmethod
    def _not_a_number(cls, value: Any) -> Any:
        if isinstance(value, float | int):
            raise ValueError("write it in quotes: as a number it may lose a digit")
        return value

    @field_validator("checklist", "diagnostics")
    @classmethod
    def _all_of_them(cls, value: dict[str, Any], info: Any) -> dict[str, Any]:
        expected = ITEMS if info.field_name == "checklist" else tuple(DIAGNOSTICS)
        for name in (*expected, *value):
            if (name in expected) != (name in value):
                raise ValueError(f"'{name}' is {'missing (unknown is a value)' if name in expected else 'no item'}")
        return {name: value[name] for name in expected}

    @model_validator(mode="after")
    def _own_work_has_no_source(self) -> Record:
        if (self.snapshot == "ours") != (self.status == "ours"):
            raise ValueError("snapshot and status are both 'ours', or neither is")
        return self

    @property
    def year(self) -> int:
        return int(self.date[:4])

    @property
    def evidence(self) -> Level:
        """S, L, A or E by the rubric of :mod:`apportion.survey.evidence`."""
        return level(self.facts)

    def label(self, field: str) -> Any:
        """The value of a field that sources may see differently: of the most trusted claim; None where unknown."""
        return self.claim(field).value

    def labels(self, field: str) -> tuple[str, ...]:
        """All that the most trusted source says of such a field; none where it is unknown.

        A paper with two mechanisms has two claims on its methodology from one source.
        """
        believed = self.claim(field)
        same = (c.value for c in getattr(self, field) if c.known and c.from_ == believed.from_)
        return tuple(dict.fromkeys(word for said in same for word in ((said,) if isinstance(said, str) else said)))

    def claim(self, field: str) -> Coded[Any]:
        """The most trusted claim of a field that sources may see differently."""
        found: Coded[Any] = best(getattr(self, field))
        return found

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Every setting that any source names, in the vocabulary's order."""
        said = {word for claim in self.setting for word in claim.value or ()}
        return tuple(word for word in get_args(Setting) if word in said)

    @property
    def source(self) -> str:
        """Authors, year, title and where it appeared, in one line."""
        venue = None if self.venue.value == "none" else self.venue.value
        where = [w for w in (venue, f"arXiv {self.arxiv}" if self.arxiv else None) if w]
        return f"{self.authors or 'authors unknown'} ({self.year}), {self.title or self.name}" + "".join(f", {w}" for w in where)


def load(path: Path) -> Record:
    """Read one record; errors name the file and, where there is one, the line."""
    found, errors = read(path.name, text(path), path.stem)
    if found is None:
        raise RecordError("\n".join(errors))
    return found


def text(path: Path) -> str:
    """A file's text; an error that says where it is not UTF-8."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecordError(f"{path.name}:{line}: not UTF-8: byte {content[error.start]:#04x}") from None


def read(name: str, written: str, stem: str | None = None) -> tuple[Record | None, list[str]]:
    """A record from the text of the file ``name``, or everything that is wrong with it, one line each.

    The id is to be ``stem``, where one is given.
    """
    try:
        data = parse(written)
    except NotYaml as error:
        return None, [f"{name}:{error.place.line}: column {error.place.column}: {error.says}"]
    return checked(name, data, data, (), stem)


def checked(name: str, data: Any, whole: Any, at: tuple[Any, ...], stem: str | None = None) -> tuple[Record | None, list[str]]:
    """``data``, which the parsed file ``whole`` has at ``at``, as a record, or everything that is wrong with it."""
    if not isinstance(data, Mapping):
        return None, [f"{name}:{place(whole, at).line}: expected keys and values ({', '.join(Record.model_fields)})"]
    try:
        found = Record.model_validate(plain(data))
    except ValidationError as error:
        return None, [located(name, whole, {**e, "loc": (*at, *e["loc"])}) for e in error.errors()]
    except NotPlain as error:
        where = (*at, *error.path)
        return None, [f"{name}:{place(whole, where).line}: {'.'.join(map(str, where)) or 'record'}: {error}"]
    if stem is not None and found.id != stem:
        line = place(whole, (*at, "id")).line
        return None, [f"{name}:{line}: id = {found.id!r}: expected {stem!r}, the file's name"]
    return found, []


@functools.cache
def records() -> Mapping[str, Record]:
    """All records by id, sorted."""
    paths = sorted(Path(str(files(__package__) / "papers")).glob("*.yaml"))
    key = memory.digest([(path.name, path.read_bytes()) for path in paths])
    if (known := memory.recall(key)) is not None:
        try:
            return {path.stem: Record.model_validate(known[path.stem]) for path in paths}
        except (KeyError, ValidationError):
            pass  # not what was remembered for this version: the files decide
    found = {path.stem: load(path) for path in paths}
    memory.remember(key, {id_: r.model_dump(mode="json", by_alias=True, exclude_unset=True) for id_, r in found.items()})
    return found


def record(id_: str) -> Record:
    """The record with this id."""
    known = records()
    if id_ not in known:
        raise RecordError(f"no record '{id_}' in survey/papers; there are: {', '.join(known)}")
    return known[id_]
