"""Published advice on which method to choose, as data, and how it is walked.

Three trees stay three: the survey's figure, its recommendation table, and the guide of its author's companion list.
Each file in ``survey/trees`` holds nodes and leaves, every one with the place it was read at. A node either chooses one
of its branches or takes all whose predicate holds (the rows of a table; a leaf that stands beside the others).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..edges.yaml_lines import located, parse, plain
from ..errors import ApportionError
from .coded import Text
from .profile import QUESTIONS, Profile, flag

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


class Node(BaseModel):
    """A question; ``choose`` "one" branch, or "all" whose predicates hold."""

    model_config = _FROZEN

    id: Text
    question: Text
    choose: Literal["one", "all"] = "one"
    branches: Annotated[tuple[Branch, ...], Field(min_length=1)]
    source: Text
    version: Text
    note: Text | None = None


class Leaf(BaseModel):
    """Candidates, in the order the source lists them: by design property, not a ranking."""

    model_config = _FROZEN

    id: Text
    title: Text
    candidates: Annotated[tuple[Text, ...], Field(min_length=1)]
    rationale: Text
    requires: tuple[Text, ...] = ()
    source: Text
    version: Text
    note: Text | None = None


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


@dataclass(frozen=True)
class Step:
    """One question of a walk, what was said to it, and what followed."""

    node: str
    question: str
    said: str
    source: str
    version: str
    note: str | None


@dataclass(frozen=True)
class Answer:
    """What a tree says to a profile. ``open``: questions that were not answered, as (node, fields).

    gaps: nodes of which no branch fits what was said: the tree has nothing for it.
    """

    tree: Tree
    steps: tuple[Step, ...]
    leaves: tuple[Leaf, ...]
    open: tuple[tuple[str, tuple[str, ...]], ...]
    gaps: tuple[str, ...]

    @property
    def candidates(self) -> tuple[str, ...]:
        """Of all leaves, in their order, each once."""
        return tuple(dict.fromkeys(c for leaf in self.leaves for c in leaf.candidates))


def walk(tree: Tree, profile: Profile) -> Answer:
    """Ask the tree's questions of a profile; a question without an answer leads nowhere and is reported."""
    steps: list[Step] = []
    leaves: list[Leaf] = []
    unanswered: list[tuple[str, tuple[str, ...]]] = []
    gaps: list[str] = []

    def visit(at: str) -> None:
        node = tree.node(at)
        if node is None:
            leaf = tree.leaf(at)
            assert leaf is not None, "the tree was checked when it was read"
            if leaf not in leaves:
                leaves.append(leaf)
            return
        held = [(b, b.holds(profile)) for b in node.branches]
        taken = [b for b, holds in held if holds]
        asked = dict.fromkeys(p.field for b, holds in held if holds is None for p in b.when if p.holds(profile) is None)
        if asked and (node.choose == "all" or not taken):
            unanswered.append((node.id, tuple(asked)))
        said = ", ".join(_said(node, profile)) or "-"
        if taken or not asked:
            steps.append(Step(node.id, node.question, said, node.source, node.version, node.note))
        if not taken and not asked:
            gaps.append(node.id)
        for branch in taken:
            visit(branch.then)

    visit(tree.root)
    return Answer(tree, tuple(steps), tuple(leaves), tuple(unanswered), tuple(gaps))


def _said(node: Node, profile: Profile) -> list[str]:
    names = dict.fromkeys(p.field for b in node.branches for p in b.when)
    known = {name: getattr(profile, name) for name in names if getattr(profile, name) is not None}
    words = {True: "yes", False: "no"}
    return [f"{name.replace('_', ' ')} = {words.get(v, v) if isinstance(v, bool) else v}" for name, v in known.items()]


def missing(profile: Profile) -> list[str]:
    """Fields that a tree which has to be walked to its end still asks for, in its order; choices only, not parallel leaves."""
    found: dict[str, None] = {}
    for tree in trees().values():
        if tree.required:
            for id_, names in walk(tree, profile).open:
                node = tree.node(id_)
                if node is not None and node.choose == "one":
                    found.update(dict.fromkeys(names[:1]))
    return list(found)


def unanswered(profile: Profile) -> list[str]:
    """All fields that any tree still asks for, the ones that have to be answered first."""
    rest = (name for tree in trees().values() for _, names in walk(tree, profile).open for name in names)
    return list(dict.fromkeys([*missing(profile), *rest]))


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


def how_to_answer(name: str) -> str:
    """A question with its flag, in one sentence."""
    from .profile import CHOICES

    words = f" ({'|'.join(CHOICES[name])})" if name in CHOICES else " (a number)"
    return f"{flag(name)}{words}: {QUESTIONS[name]}"
