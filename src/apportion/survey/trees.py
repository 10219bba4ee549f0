"""Published advice on which method to choose, as data, and how it is walked.

Three trees stay three: the survey's figure, its recommendation table, and the guide of its author's companion list.
Each file in ``survey/trees`` holds nodes and leaves, every one with the place it was read at. A node either chooses one
of its branches or takes all whose predicate holds (the rows of a table; a leaf that stands beside the others).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..edges.yaml_lines import located, parse, plain
from ..errors import ApportionError
from .coded import Text
from .profile import Profile

_FROZEN = ConfigDict(frozen=True, extra="forbid")
Op = Literal["==", "!=", "<=", "<", ">=", ">", "between"]
_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt,
    "between": lambda x, ends: bool(ends[0] <= x <= ends[1]),
}  # fmt: skip


class TreeError(ApportionError, ValueError):
    """A tree is not usable; the message names its file and line."""


class Predicate(BaseModel):
    """``field op value``, of the user's profile; "between" includes both ends."""

    model_config = _FROZEN

    field: str
    op: Op
    value: bool | int | str | tuple[int, int]

    def holds(self, profile: Profile) -> bool | None:
        """None where the profile does not say."""
        said = getattr(profile, self.field)
        return None if said is None else bool(_HOLDS[self.op](said, self.value))

    def __str__(self) -> str:
        name = self.field.replace("_", " ")
        if isinstance(self.value, bool):
            return f"{name}: {'yes' if (self.value == (self.op == '==')) else 'no'}"
        if isinstance(self.value, tuple):
            return f"{self.value[0]} to {self.value[1]} {name}"
        if isinstance(self.value, str):
            return f"{name} {'is' if self.op == '==' else 'is not'} {self.value}"
        return f"{name} {self.op} {self.value:,}"


class Branch(BaseModel):
    """Where to go on (a node or a leaf) if all predicates hold; none: always."""

    model_config = _FROZEN

    when: tuple[Predicate, ...]
    then: Text

    def holds(self, profile: Profile) -> bool | None:
        """False where one predicate fails, None where none fails but one is not answered."""
        found = [p.holds(profile) for p in self.when]
        return False if False in found else None if None in found else True


class _Read(BaseModel):
    """What was read somewhere: ``source`` says where, ``version`` in which text, ``note`` what a reader should know."""

    model_config = _FROZEN

    id: Text
    source: Text
    version: Text
    note: Text | None = None


class Node(_Read):
    """A question; ``choose`` "one" branch, or "all" whose predicates hold."""

    question: Text
    choose: Literal["one", "all"] = "one"
    branches: Annotated[tuple[Branch, ...], Field(min_length=1)]


class Leaf(_Read):
    """Candidates, in the order the source lists them: by design property, not a ranking."""

    title: Text
    candidates: Annotated[tuple[Text, ...], Field(min_length=1)]
    rationale: Text
    requires: tuple[Text, ...] = ()


class Tree(BaseModel):
    """One piece of advice, whole. ``required``: whether a walk that lacks an answer asks for it before anything is said."""

    model_config = _FROZEN

    id: Text
    title: Text
    source: Text
    version: Text
    read_from: Text
    caveats: tuple[Text, ...] = ()
    required: bool = False
    root: Text
    nodes: Annotated[tuple[Node, ...], Field(min_length=1)]
    leaves: Annotated[tuple[Leaf, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _joined(self) -> Tree:
        from .tree_check import wrong

        if found := wrong(self):
            raise ValueError("; ".join(found))
        return self

    def node(self, id_: str) -> Node | None:
        return next((n for n in self.nodes if n.id == id_), None)

    def leaf(self, id_: str) -> Leaf | None:
        return next((x for x in self.leaves if x.id == id_), None)

    def paths(self, at: str | None = None) -> dict[str, list[tuple[Predicate, ...]]]:
        """Leaf -> the ways to it, each as the predicates that have to hold."""
        here = self.root if at is None else at
        node = self.node(here)
        if node is None:
            return {here: [()]}
        found: dict[str, list[tuple[Predicate, ...]]] = {}
        for branch in node.branches:
            for leaf, ways in self.paths(branch.then).items():
                found.setdefault(leaf, []).extend((*branch.when, *way) for way in ways)
        return found


def load(path: Path) -> Tree:
    """Read one tree; errors name the file and the line."""
    data = parse(path.read_text("utf-8"))
    try:
        tree = Tree.model_validate(plain(data))
    except ValidationError as error:
        raise TreeError("\n".join(located(path.name, data, e) for e in error.errors())) from None
    if tree.id != path.stem:
        raise TreeError(f"{path.name}: id = {tree.id!r}: expected {path.stem!r}, the file's name")
    return tree


@functools.cache
def trees() -> Mapping[str, Tree]:
    """The three trees by id: the figure first, then the table, then the guide."""
    folder = Path(str(files(__package__) / "trees"))
    return {name: load(folder / f"{name}.yaml") for name in ("figure", "table", "guide")}
