"""The form a paper or run answers the checklist on: a YAML file that keeps its comments when a program fills it.

Reading refuses what cannot be meant (unknown items, answers, keys) and names line and column; whether the
answers hold up is another question, see :mod:`apportion.checklist.lint`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from ..edges.atomic import atomic
from ..edges.yaml_lines import NotPlain, NotYaml, Place, editor, parse, place, plain
from ..errors import ApportionError
from . import migrate
from .items import Setting, extension, items, no_such_item

#: The version of the form that this code writes; :mod:`apportion.checklist.migrate` brings older ones here.
SCHEMA = 1
Word = Literal["reported", "partial", "not_reported", "not_applicable", "unanswered"]
WORDS: tuple[str, ...] = get_args(Word)

_FROZEN = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
_Text = Annotated[str, Field(min_length=1)]


class Problem(NamedTuple):
    """Something in a form that cannot be read: where (line and column from 1, path of keys) and what."""

    place: Place
    path: str
    says: str


class FormError(ApportionError, ValueError):
    """A form is not usable; ``problems`` are all reasons, the message names file, line and column of each."""

    def __init__(self, name: str, problems: tuple[Problem, ...]) -> None:
        lines = (f"{name}: {p.place}: {p.path + ': ' if p.path else ''}{p.says}" for p in problems)
        super().__init__("\n".join(lines))
        self.problems = problems


class Answer(BaseModel):
    """What a form says of an item: the answer, what was reported, where it stands (locators), and why (not)."""

    model_config = _FROZEN

    answer: Word = "unanswered"
    value: Any = None
    where: tuple[_Text, ...] = ()
    why: _Text | None = None

    @field_validator("answer", mode="before")
    @classmethod
    def _a_word(cls, value: Any) -> Any:
        return "unanswered" if value is None else _one_of(value, WORDS, "answer")

    @field_validator("value", mode="before")
    @classmethod
    def _without_blanks(cls, value: Any) -> Any:
        return _filled(value)

    @field_validator("where", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        found = value if isinstance(value, list | tuple) else [] if value in (None, "") else [value]
        return tuple(str(part) for part in found if part not in (None, ""))

    @field_validator("why", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return None if value in (None, "") else str(value) if isinstance(value, int | float) else value


class Form(BaseModel):
    """A form by its contents. Items that are not in it are unanswered; the extension is there or not at all."""

    model_config = _FROZEN

    schema_: Literal[1] = Field(alias="schema")
    title: _Text | None = None
    method: _Text | None = None
    setting: tuple[Setting, ...] = ()
    trained: bool = True
    claims: tuple[_Text, ...] = ()
    items: dict[str, Answer] = {}
    extension: dict[str, Answer] | None = None

    @field_validator("setting", mode="before")
    @classmethod
    def _settings(cls, value: Any) -> Any:
        found = value if isinstance(value, list | tuple) else [] if value is None else [value]
        return tuple(_one_of(one, get_args(Setting), "setting") for one in found)

    @field_validator("trained", mode="before")
    @classmethod
    def _true_or_false(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, bool):
            raise ValueError("write true or false")
        return True if value is None else value

    @field_validator("claims", mode="before")
    @classmethod
    def _claims(cls, value: Any) -> Any:
        return [] if value is None else [value] if isinstance(value, str) else value

    @field_validator("items", "extension", mode="before")
    @classmethod
    def _blank_is_unanswered(cls, value: Any, info: Any) -> Any:
        if value is None:
            return {} if info.field_name == "items" else None
        return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, Mapping) else value

    def answer(self, id_: str) -> Answer:
        """What the form says of an item of either pack; an item that is not there is unanswered."""
        return self.items.get(id_) or (self.extension or {}).get(id_) or Answer()


@dataclass
class Document:
    """A form with its text: what was read, with comments and places; ``notes`` say what migration changed."""

    data: CommentedMap
    name: str
    form: Form
    notes: tuple[str, ...] = ()

    def place(self, *path: Any) -> Place:
        """Place of the deepest key of ``path`` that is there."""
        return place(self.data, path)

    def place_of(self, id_: str, *path: Any) -> Place:
        """Place of an item of either pack, or of something in its answer."""
        return self.place("items" if id_ in items() else "extension", id_, *path)

    def put(self, id_: str, answer: Answer) -> None:
        """Write the answer of an item in its place, comments kept; an item that is not there is added.

        Raises:
            KeyError: there is no such item.
        """
        known = {**items(), **extension()}
        if id_ not in known:
            raise KeyError(no_such_item(id_, known))
        section = _child(self.data, "items" if id_ in items() else "extension")
        entry = _child(section, id_)
        entry["answer"] = answer.answer
        _write(entry, "value", answer.value)
        _write(entry, "where", list(answer.where) if len(answer.where) != 1 else answer.where[0])
        _write(entry, "why", answer.why)
        self.form = _validated(self.data, self.name)

    def text(self) -> str:
        """The form as YAML, with its comments."""
        out = io.StringIO()
        editor().dump(self.data, out)
        return out.getvalue()

    def save(self, path: Path) -> None:
        """Write the form to a file, whole or not at all."""
        with atomic(path) as file:
            file.write(self.text().encode())


def load(path: Path) -> Document:
    """Read a form; of an older schema it is brought to this one.

    Raises:
        FormError: malformed YAML, an unknown schema, items, answers or keys: all of them, each with its place.
        OSError: there is no such file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormError(path.name, (Problem(Place(1, 1), "", f"not UTF-8 text (byte {error.start})"),)) from None
    return read(text, path.name)


def read(text: str, name: str = "form") -> Document:
    """The same from a text."""
    try:
        data = parse(text)
    except NotYaml as error:
        raise FormError(name, (Problem(error.place, "", error.says),)) from None
    if not isinstance(data, CommentedMap):
        raise FormError(name, (Problem(Place(1, 1), "", "expected keys and values; `apportion checklist init` writes a form"),))
    try:
        data, notes = migrate.to_current(data)
    except migrate.CannotMigrate as error:
        raise FormError(name, (Problem(place(data, error.path), ".".join(map(str, error.path)), str(error)),)) from None
    return Document(data, name, _validated(data, name), notes)


def _validated(data: CommentedMap, name: str) -> Form:
    try:
        values = plain(data)
    except NotPlain as error:
        raise FormError(name, (Problem(place(data, error.path), ".".join(map(str, error.path)), str(error)),)) from None
    problems: list[Problem] = []
    form = None
    try:
        form = Form.model_validate(values)
    except ValidationError as error:
        problems = [_problem(data, one) for one in error.errors()]
    for section, known in (("items", items()), ("extension", extension())):
        answers = values.get(section)
        for id_ in answers if isinstance(answers, Mapping) else ():
            if id_ not in known:
                other = "extension" if section == "items" else "items"
                there = id_ in (extension() if section == "items" else items())
                says = f"belongs under {other}" if there else no_such_item(id_, known)
                problems.append(Problem(place(data, (section, id_)), f"{section}.{id_}", says))
    if problems or form is None:
        raise FormError(name, tuple(sorted(problems, key=lambda p: p.place)))
    return form


def _problem(data: CommentedMap, error: Any) -> Problem:
    path = tuple(error["loc"])
    said = error["msg"].removeprefix("Value error, ")
    if error["type"] in ("dict_type", "model_type"):
        said = "expected keys and values"
    if error["type"] == "extra_forbidden":
        known = Answer.model_fields if len(path) > 1 else {f.alias or name: f for name, f in Form.model_fields.items()}
        near = get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        said = "no such key; " + (f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}")
    return Problem(place(data, path), ".".join(map(str, path)), said)


def _one_of(value: Any, choices: tuple[str, ...], what: str) -> Any:
    if value in choices:
        return value
    near = get_close_matches(str(value).replace(" ", "_").lower(), choices, n=1, cutoff=0.5)
    raise ValueError(f"'{value}' is no {what}; " + (f"did you mean {near[0]}?" if near else f"there are: {', '.join(choices)}"))


def _filled(value: Any) -> Any:
    """Without the parts that are blank; None where nothing is left."""
    if isinstance(value, Mapping):
        kept = {k: f for k, v in value.items() if (f := _filled(v)) is not None}
        return kept or None
    if isinstance(value, list | tuple):
        return [f for v in value if (f := _filled(v)) is not None] or None
    return None if isinstance(value, str) and not value.strip() else value


def _child(parent: CommentedMap, key: str) -> CommentedMap:
    if not isinstance(parent.get(key), CommentedMap):
        parent[key] = CommentedMap()
    child: CommentedMap = parent[key]
    return child


def _write(entry: CommentedMap, key: str, value: Any) -> None:
    """Put a value under a key; a mapping goes into the mapping that is there, so that its comments stay."""
    there = entry.get(key)
    if isinstance(there, CommentedMap) and isinstance(value, Mapping):
        for name in there:
            there[name] = _flow(value.get(name))
        for name in value:
            if name not in there:
                there[name] = _flow(value[name])
    elif value not in (None, []) or there is not None:
        entry[key] = None if value in (None, []) else _flow(value) if key != "value" else _block(value)
    else:
        entry.setdefault(key, None)


def _block(value: Any) -> Any:
    return CommentedMap({k: _flow(v) for k, v in value.items()}) if isinstance(value, Mapping) else _flow(value)


def _flow(value: Any) -> Any:
    """Lists and mappings on one line where they fit: one that is broken over lines may not be read back."""
    if isinstance(value, Mapping):
        found: CommentedMap | CommentedSeq = CommentedMap({k: _flow(v) for k, v in value.items()})
    elif isinstance(value, list | tuple):
        found = CommentedSeq([_flow(v) for v in value])
    else:
        return value
    if len(repr(value)) <= _ONE_LINE:
        found.fa.set_flow_style()
    return found


_ONE_LINE = 70
