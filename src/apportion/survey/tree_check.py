"""What is wrong with a tree: names that lead nowhere, what nobody can reach, choices that are not choices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

from .profile import CHOICES, QUESTIONS, YES_NO, Profile

if TYPE_CHECKING:
    from .trees import Node, Predicate, Tree


def wrong(tree: Tree) -> list[str]:
    """Everything, one clause each; empty for a sound tree."""
    ids = [*(n.id for n in tree.nodes), *(x.id for x in tree.leaves)]
    found = [f"'{id_}' stands {n} times" for id_, n in Counter(ids).items() if n > 1]
    found += [f"{n.id}: leads to '{b.then}', which is not there" for n in tree.nodes for b in n.branches if b.then not in ids]
    if tree.root not in ids:
        found.append(f"root '{tree.root}' is not there")
    found += [says for n in tree.nodes for b in n.branches for p in b.when if (says := _predicate(n.id, p))]
    if found:
        return found
    if loop := _loop(tree):
        return [f"'{loop}' leads back to itself"]
    reached = _reached(tree)
    found += [f"'{id_}' cannot be reached from '{tree.root}'" for id_ in ids if id_ not in reached]
    found += [says for n in tree.nodes if n.choose == "one" for says in _overlaps(n)]
    return found + _unknown(tree)


def _predicate(node: str, p: Predicate) -> str | None:
    if p.field not in QUESTIONS:
        return f"{node}: no question is called '{p.field}'"
    words = CHOICES.get(p.field)
    if words == YES_NO:
        ok = isinstance(p.value, bool) and p.op in ("==", "!=")
    elif words:
        ok = p.value in words and p.op in ("==", "!=")
    elif p.op == "between":
        ok = isinstance(p.value, tuple) and p.value[0] < p.value[1]
    else:
        ok = isinstance(p.value, int) and not isinstance(p.value, bool)
    return None if ok else f"{node}: {p.field} {p.op} {p.value!r} can never be asked"


def _loop(tree: Tree) -> str | None:
    """A node that can be come back to."""
    done: set[str] = set()

    def visit(at: str, above: frozenset[str]) -> str | None:
        if at in above:
            return at
        node = tree.node(at)
        if node is None or at in done:
            return None
        found = next((f for b in node.branches if (f := visit(b.then, above | {at}))), None)
        done.add(at)
        return found

    return visit(tree.root, frozenset())


def _reached(tree: Tree) -> set[str]:
    found: set[str] = set()
    todo = [tree.root]
    while todo:
        at = todo.pop()
        found.add(at)
        node = tree.node(at)
        todo += [b.then for b in node.branches if b.then not in found] if node else []
    return found


def _overlaps(node: Node) -> Iterator[str]:
    """Two branches of a choice that one profile fits: tried at every threshold, below and above it."""
    predicates = [p for b in node.branches for p in b.when]
    names = list(dict.fromkeys(p.field for p in predicates))
    for values in product(*(_tried(name, predicates) for name in names)):
        profile = Profile(**dict(zip(names, values, strict=True)))
        held = [b.then for b in node.branches if b.holds(profile)]
        if len(held) > 1:
            at = ", ".join(f"{n} = {v}" for n, v in zip(names, values, strict=True))
            yield f"{node.id}: with {at or 'anything'} both '{held[0]}' and '{held[1]}' hold: a choice takes one"
            return


def _tried(name: str, predicates: Iterable[Predicate]) -> list[Any]:
    words = CHOICES.get(name)
    if words == YES_NO:
        return [True, False]
    if words:
        return list(words)
    ends = {end for p in predicates if p.field == name for end in (p.value if isinstance(p.value, tuple) else (p.value,))}
    return sorted({max(int(e) + d, 1) for e in ends for d in (-1, 0, 1)})


def _unknown(tree: Tree) -> list[str]:
    """Candidates that no record of the inventory bears the name of."""
    from .records import records

    known = records()
    return [f"{x.id}: candidate '{c}' is no record of the inventory" for x in tree.leaves for c in x.candidates if c not in known]
