"""What is wrong with a card: fields that are missing, fields that contradict each other, claims that outrank their evidence.

error    the card itself is wrong: something is missing, misspelt, or two fields cannot both be true
finding  the card may be right, and says something that a reader should know of the claim; ``kind`` is
         claim (the verb outranks the tier), state, noise, ablation, estimand or falsifiers
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from ..edges.yaml_lines import NotPlain, NotYaml, parse, place, plain
from .card import Card, Protocol, Support
from .card_rules import Said, clashes, findings, missing
from .records import Record, RecordError, checked, text

Level = Literal["error", "finding"]


@dataclass(frozen=True)
class Finding:
    """One sentence about a card, with the file and line it is about."""

    level: Level
    kind: str
    file: str
    line: int
    field: str
    says: str

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)


def shipped(id_: str) -> Path:
    """The record's file of a method that has a card."""
    from .card import card

    card(id_)
    return Path(str(files(__package__) / "papers" / f"{id_}.yaml"))


def lint_file(path: Path, name: str | None = None) -> tuple[Finding, ...]:
    """The findings of a file: a card, or a record of the inventory that has one; ``name`` is what they call the file.

    Raises ``OSError`` where there is no such file.
    """
    name = str(path) if name is None else name
    try:
        data = parse(text(path))
    except NotYaml as error:
        return (Finding("error", "yaml", name, error.place.line, "file", error.says),)
    except RecordError as error:
        return (Finding("error", "yaml", name, 1, "file", str(error)),)
    if not isinstance(data, Mapping):
        return (Finding("error", "yaml", name, 1, "file", "expected a card: `apportion card new` writes an empty one"),)
    return _record(name, data) if "id" in data or "card" in data else _alone(name, data)


def lint(card: Card, record: Record | None = None) -> tuple[Said, ...]:
    """What is wrong with a card, without lines; ``record`` holds its diagnostics and the ablation."""
    known = card.diagnostics or {}
    codes = {code: said.is_ for code, said in (record.diagnostics if record else known).items()}
    ablation = card.ablation or (record.checklist["credit_ablation"] if record else None)
    return (*missing(card, ablation, alone=record is None), *clashes(card), *findings(card, codes, ablation))


def _record(name: str, data: Any) -> tuple[Finding, ...]:
    found, wrong = checked(name, data, data, (), None)
    if found is None:
        return tuple(_of_line(name, one) for one in wrong)
    if found.card is None:
        return (Finding("error", "missing", name, 1, "card", "the record has no card"),)
    return tuple(_placed(name, data, ("card",), said) for said in lint(found.card, found))


def _alone(name: str, data: Any) -> tuple[Finding, ...]:
    try:
        card = Card.model_validate(plain(data))
    except NotPlain as error:
        where = ".".join(map(str, error.path)) or "card"
        return (Finding("error", "value", name, place(data, error.path).line, where, str(error)),)
    except ValidationError as error:
        return tuple(_invalid(name, data, dict(one)) for one in error.errors())
    found = [_placed(name, data, (), said) for said in lint(card)]
    return tuple(sorted(found, key=lambda f: f.line))


def _placed(name: str, data: Any, at: tuple[str, ...], said: Said) -> Finding:
    line = place(data, (*at, *said.field.split("."))).line
    return Finding("error" if said.kind in ("missing", "clash") else "finding", said.kind, name, line, said.field, said.says)


def _of_line(name: str, said: str) -> Finding:
    line, _, rest = said.removeprefix(f"{name}:").partition(":")
    field, _, why = rest.strip().partition(": ")
    return Finding("error", "value", name, int(line) if line.isdigit() else 1, field, why or field)


def _invalid(name: str, data: Any, error: dict[str, Any]) -> Finding:
    where = tuple(error["loc"])
    says = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        says = _no_field(where)
    return Finding("error", "value", name, place(data, where).line, ".".join(map(str, where)), says)


def _no_field(where: tuple[Any, ...]) -> str:
    models: dict[str, type[BaseModel]] = {"protocol": Protocol, "support": Support}
    known = list((models.get(str(where[0]), Card) if len(where) > 1 else Card).model_fields)
    near = get_close_matches(str(where[-1]), known, n=1, cutoff=0.5)
    return f"no such field; did you mean {near[0]}?" if near else f"no such field; there are: {', '.join(known)}"


def each(record: Record) -> Iterator[Said]:
    """The findings of a record's card; nothing where it has none."""
    if record.card is not None:
        yield from lint(record.card, record)
