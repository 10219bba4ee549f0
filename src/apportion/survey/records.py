"""Records of papers: what each one is, in the survey's words.

A record is a YAML file in ``survey/papers`` named by its id. Errors name the file and the line.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from ..errors import ApportionError
from ..words import Setting, Status

#: What the paper gives credit to; "agent" is one agent of several, "trajectory" the baselines' level.
Granularity = Literal["token", "segment", "step", "turn", "trajectory", "agent"]

#: How the credit is computed: the survey's second axis.
Methodology = Literal["monte-carlo", "temporal-difference", "model-based", "game-theoretic", "information-theoretic", "heuristic"]

#: Where the paper stands: what everyone compares with, in the survey (core or adjacent), or ours.
Collection = Literal["baseline", "survey core", "survey adjacent", "ours"]

Text = Annotated[str, Field(min_length=1)]


class RecordError(ApportionError, ValueError):
    """A record is not usable; the message names its file and line."""


class Record(BaseModel):
    """One paper. ``status`` says how far its formula was checked against the source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    name: Text
    title: Text
    authors: Text
    year: Annotated[int, Field(ge=1900, le=2100)]
    arxiv: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")] | None
    venue: Text | None
    setting: Annotated[tuple[Setting, ...], Field(min_length=1)]
    granularity: Granularity
    methodology: Methodology
    collection: Collection
    code: Text | None
    status: Status

    @field_validator("arxiv", mode="before")
    @classmethod
    def _not_a_number(cls, value: Any) -> Any:
        if isinstance(value, float):
            raise ValueError("write it in quotes: as a number, 2402.14740 loses its last digit")
        return value

    @model_validator(mode="after")
    def _own_work_has_no_source(self) -> Record:
        if (self.collection == "ours") != (self.status == "ours"):
            raise ValueError("collection and status are both 'ours', or neither is")
        return self

    @property
    def source(self) -> str:
        """Authors, year, title and where it appeared, in one line."""
        where = [w for w in (self.venue, f"arXiv {self.arxiv}" if self.arxiv else None) if w]
        return f"{self.authors} ({self.year}), {self.title}" + "".join(f", {w}" for w in where)


def load(path: Path) -> Record:
    """Read one record; errors name the file and, where there is one, the line."""
    try:
        data = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RecordError(f"{path.name}:{line}: {error.problem or 'not YAML'}") from None
    if not isinstance(data, Mapping):
        raise RecordError(f"{path.name}:1: expected keys and values ({', '.join(Record.model_fields)})")
    try:
        found = Record.model_validate({k: _plain(v) for k, v in data.items()})
    except ValidationError as error:
        raise RecordError("\n".join(_located(path.name, data, e) for e in error.errors())) from None
    if found.id != path.stem:
        raise RecordError(f"{path.name}:{_line(data, 'id')}: id = {found.id!r}: expected {path.stem!r}, the file's name")
    return found


@functools.cache
def records() -> Mapping[str, Record]:
    """All records by id, sorted."""
    folder = Path(str(files(__package__) / "papers"))
    return {path.stem: load(path) for path in sorted(folder.glob("*.yaml"))}


def record(id_: str) -> Record:
    """The record with this id."""
    known = records()
    if id_ not in known:
        raise RecordError(f"no record '{id_}' in survey/papers; there are: {', '.join(known)}")
    return known[id_]


def _plain(value: Any) -> Any:
    """ruamel's strings, floats and lists as Python's own."""
    if isinstance(value, str):
        return str(value)
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _located(name: str, data: Any, error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    key = error["loc"][0] if error["loc"] else None
    return f"{name}:{_line(data, key)}: {where or 'record'}: {error['msg']}"


def _line(data: Any, key: Any) -> int:
    """Line of a key, from 1; the record's first line where the key is missing."""
    return int(data.lc.key(key)[0]) + 1 if key in data else int(data.lc.line) + 1
