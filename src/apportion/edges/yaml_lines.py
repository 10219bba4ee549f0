"""YAML that people write by hand, read safely and with the places of everything that is wrong.

Nothing in the text is run: tags that would build objects are refused. Aliases of lists and mappings are
refused too, because a few lines of them unfold into more than any memory holds.
"""

from __future__ import annotations

import datetime
import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

#: Forms and records have a few kilobytes.
LARGEST = 1_000_000
#: Tags of plain values; any other would build an object.
_TAGS = frozenset(("map", "seq", "str", "int", "float", "bool", "null", "timestamp"))


class Place(NamedTuple):
    """Where something is, both counted from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


class NotYaml(ValueError):
    """The text cannot be read as YAML; ``place`` is where it stops making sense."""

    def __init__(self, says: str, place: Place) -> None:
        super().__init__(f"{place}: {says}")
        self.says = says
        self.place = place


def parse(text: str) -> Any:
    """The mappings and lists of a YAML text, which know their lines and keep their comments.

    Raises:
        NotYaml: the text is malformed, has a key twice, is nested too deep or longer than a megabyte.
    """
    if len(text) > LARGEST:
        raise NotYaml(f"{len(text)} characters: more than {LARGEST}", Place(1, 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of anchors that are used twice: they are harmless here
            return editor().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        said = (error.problem or error.context or "not YAML").splitlines()[0]
        raise NotYaml(said, place) from None
    except ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n") + 1, error.position - before.rfind("\n"))
        raise NotYaml(f"the character {chr(error.character)!r} is not allowed in YAML", place) from None
    except RecursionError:
        raise NotYaml("nested too deep", Place(1, 1)) from None
    except Exception as error:  # the parser fails in many ways on what it does not foresee, such as "!!set x" or a date of no day
        said = str(error).splitlines()[0] if isinstance(error, ValueError) and str(error) else "not YAML that can be read"
        raise NotYaml(said, Place(1, 1)) from None


def editor() -> YAML:
    """The reader and writer that keeps comments, order and quotes; it builds no objects."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 110
    return yaml


class NotPlain(ValueError):
    """Something that is no plain value stands at ``path``."""

    def __init__(self, says: str, path: tuple[Any, ...]) -> None:
        super().__init__(says)
        self.path = path


def plain(value: Any, seen: set[int] | None = None, path: tuple[Any, ...] = ()) -> Any:
    """A parsed value as Python's own mappings, lists, strings, numbers and booleans; dates as text.

    Raises:
        NotPlain: it is something else (an object's tag, an alias, a number that is not finite); ``path`` is where.
    """
    seen = set() if seen is None else seen
    tag = getattr(getattr(value, "tag", None), "value", None)
    if tag is not None and str(tag).removeprefix("tag:yaml.org,2002:") not in _TAGS:
        raise NotPlain(f"{tag} is not read: write plain values", path)
    if isinstance(value, Mapping | list | tuple):
        if id(value) in seen:
            raise NotPlain("aliases of lists and mappings are not read: write the value out", path)
        seen.add(id(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):  # ruamel's booleans are integers of a class of their own
        return bool(value) if type(value).__name__ == "ScalarBoolean" else int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotPlain("a number must be finite", path)
        return float(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(k): plain(v, seen, (*path, k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, seen, (*path, i)) for i, v in enumerate(value)]
    raise NotPlain(f"{type(value).__name__} is not read: write plain values", path)


def place(data: Any, path: tuple[Any, ...]) -> Place:
    """Place of the deepest key of ``path`` that is there; ``data`` is what :func:`parse` returned."""
    at: Any = data
    found = _start(data)
    for part in path:
        where = getattr(at, "lc", None)
        if where is None or not (part in at if isinstance(at, Mapping) else isinstance(part, int) and part < len(at)):
            break
        try:
            line, column = (where.key if isinstance(at, Mapping) else where.item)(part)
        except (KeyError, TypeError, AttributeError):  # a key that was put in after reading
            break
        found = Place(int(line) + 1, int(column) + 1)
        at = at[part]
    return found


def _start(data: Any) -> Place:
    where = getattr(data, "lc", None)
    return Place(int(where.line or 0) + 1, int(where.col or 0) + 1) if where is not None else Place(1, 1)


def located(name: str, data: Any, error: Any) -> str:
    """One of pydantic's errors as ``file:line: path: what is wrong``."""
    path = tuple(error["loc"])
    said = error["msg"].removeprefix("Value error, ")
    return f"{name}:{place(data, path).line}: {'.'.join(map(str, path)) or 'record'}: {said}"
