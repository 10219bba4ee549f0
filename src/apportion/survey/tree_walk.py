"""A user's way through a tree: its questions, what was said to them, where they lead, and what is still open."""

from __future__ import annotations

from dataclasses import dataclass

from .profile import CHOICES, QUESTIONS, Profile, flag
from .trees import Leaf, Node, Tree, trees


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


def how_to_answer(name: str) -> str:
    """A question with its flag, in one sentence."""
    words = f" ({'|'.join(CHOICES[name])})" if name in CHOICES else " (a number)"
    return f"{flag(name)}{words}: {QUESTIONS[name]}"
