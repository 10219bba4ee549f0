"""What a written function may consist of: Python's syntax tree, translated node by node to one of our own.

Whatever has no translation is refused by name, so nothing has to be thought of to be kept out.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from .expression_text import Limits, refuse, shown
from .expression_words import BINARY, CALLED, COMPARE, FUNCTIONS, OPERATIONS


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: ``op`` is "number", "name", "column", "compare" or a key of ``OPERATIONS``."""

    op: str
    args: tuple[Node, ...] = ()
    value: float | str | int | tuple[str, ...] = 0.0


@dataclass(frozen=True)
class Program:
    """Assignments in order, then what is returned; nodes: how many operations and operands; work: per element."""

    steps: tuple[tuple[str, Node], ...]
    results: tuple[Node, ...]
    nodes: int
    work: int


def translate(tree: ast.Module, names: Collection[str], limits: Limits, *, members: bool, several: bool) -> Program:
    """The program in our own nodes. names: inputs. members: whether rows have some; several: whether it may return a list."""
    reader = _Reader(set(names), limits, members)
    body = reader.body(tree)
    steps: list[tuple[str, Node]] = []
    for statement in body[:-1]:
        steps.append(reader.assignment(statement))
        if len(steps) > limits.steps:
            refuse(f"more than {limits.steps} assignments", statement)
    last = body[-1]
    if not isinstance(last, (ast.Return, ast.Expr, ast.Assign, ast.AugAssign)):
        refuse(f"{_called(last)} is not part of the language", last)
    if not isinstance(last, (ast.Return,) if reader.inside else (ast.Return, ast.Expr)) or last.value is None:
        refuse(f"nothing is returned: the last line must {'' if reader.inside else 'be an expression, or '}return one", last)
    several = several and isinstance(last.value, (ast.Tuple, ast.List))
    values = last.value.elts if several else [last.value]  # type: ignore[attr-defined]
    if not 1 <= len(values) <= limits.results:
        refuse(f"{len(values)} values are returned: expected 1 to {limits.results}", last)
    results = tuple(reader.node(value, 1) for value in values)
    return Program(tuple(steps), results, reader.nodes, reader.work)


class _Reader:
    """Translates nodes, and counts them; ``known`` are the names that have a value by now."""

    def __init__(self, known: set[str], limits: Limits, members: bool) -> None:
        self.known, self.limits, self.members = known, limits, members
        self.nodes = self.work = 0
        self.inside = False  # a def

    def body(self, tree: ast.Module) -> list[ast.stmt]:
        """The statements of the text, or of the one function it consists of, without a docstring."""
        body = _undocumented(tree.body)
        if len(body) == 1 and isinstance(body[0], ast.FunctionDef):
            self.known, self.inside = self._parameters(body[0]), True
            body = _undocumented(body[0].body)
        if not body:
            refuse("there is nothing to compute")
        return body

    def _parameters(self, function: ast.FunctionDef) -> set[str]:
        args = function.args
        odd = [
            *((d, "a decorator") for d in function.decorator_list), *((d, "a default value") for d in args.defaults),
            *((d, "a default value") for d in args.kw_defaults if d is not None),
            *((a, f"the parameter *{a.arg}") for a in (args.vararg, args.kwarg) if a is not None),
            *((a, f"the keyword parameter {shown(a.arg)}") for a in args.kwonlyargs),
            *((a.annotation, f"the annotation of {shown(a.arg)}") for a in args.args + args.posonlyargs if a.annotation),
            *([(function.returns, "the annotation of what is returned")] if function.returns else []),
            *((p, "a type parameter") for p in getattr(function, "type_params", [])),
        ]  # fmt: skip
        for at, what in odd:
            refuse(f"{what} is not part of the language: parameters are plain names", at)
        for a in args.args + args.posonlyargs:
            if a.arg not in self.known:
                refuse(f"parameter {shown(a.arg)}: expected names among {_listed(self.known)}", a)
        return {a.arg for a in args.args + args.posonlyargs}

    def assignment(self, statement: ast.stmt) -> tuple[str, Node]:
        if isinstance(statement, ast.Return):
            refuse("'return' before the last line", statement)
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], self.node(statement.value, 1)
        elif isinstance(statement, ast.AugAssign):
            target = statement.target
            value = self._binary(statement, self.node(_read(target), 1), statement.op, statement.value, 1)
        else:
            refuse(f"{_called(statement)} is not part of the language: lines are name = expression", statement)
        if not isinstance(target, ast.Name):
            refuse(f"{_called(target)} cannot be assigned to: lines are name = expression", target)
        if target.id in FUNCTIONS:
            refuse(f"{shown(target.id)} is a function and keeps its meaning", target)
        self.known.add(target.id)
        return target.id, value

    def node(self, at: ast.expr, depth: int) -> Node:
        self.nodes += 1
        if self.nodes > self.limits.nodes:
            refuse(f"more than {self.limits.nodes} operations and operands", at)
        if depth > self.limits.depth:
            refuse(f"operations are nested more than {self.limits.depth} deep", at)
        if isinstance(at, ast.Constant):
            return Node("number", value=self._number(at))
        if isinstance(at, ast.Name):
            return self._name(at)
        made = self._operation(at, depth + 1)
        self.work += OPERATIONS.get(made.op, 1) * max(len(made.args) - 1, 1)
        return made

    def _operation(self, at: ast.expr, depth: int) -> Node:
        if isinstance(at, ast.BinOp):
            return self._binary(at, self.node(at.left, depth), at.op, at.right, depth)
        if isinstance(at, ast.UnaryOp):
            inner = self.node(at.operand, depth)
            if isinstance(at.op, ast.UAdd):
                return Node("+", (Node("number"), inner))
            return Node("negative" if isinstance(at.op, ast.USub) else "not", (inner,))
        if isinstance(at, ast.BoolOp):
            return Node("and" if isinstance(at.op, ast.And) else "or", tuple(self.node(v, depth) for v in at.values))
        if isinstance(at, ast.Compare):
            for op in at.ops:
                if type(op) not in COMPARE:
                    refuse(f"the comparison '{type(op).__name__}' is not part of the language", at)
            parts = tuple(self.node(v, depth) for v in (at.left, *at.comparators))
            return Node("compare", parts, tuple(COMPARE[type(op)] for op in at.ops))
        if isinstance(at, ast.Call):
            return self._call(at, depth)
        if isinstance(at, ast.Subscript):
            return self._column(at, depth)
        if isinstance(at, ast.Attribute):
            refuse(f"attribute access .{at.attr[:60]} is not part of the language: write {_like(at.attr)}", at)
        refuse(f"{_called(at)} is not part of the language", at)

    def _binary(self, at: ast.AST, left: Node, op: ast.operator, right: ast.expr, depth: int) -> Node:
        if type(op) not in BINARY:
            refuse(f"the operator '{type(op).__name__}' is not part of the language", at)
        if isinstance(op, ast.Pow):
            power = _literal(right)
            if power is None or not abs(power) <= self.limits.exponent:
                most = f"{self.limits.exponent:g}"
                refuse(f"the exponent after ** must be a number from -{most} to {most}", right)
            return Node("**", (left,), float(power))
        return Node(BINARY[type(op)], (left, self.node(right, depth)))

    def _call(self, at: ast.Call, depth: int) -> Node:
        if not isinstance(at.func, ast.Name):
            if isinstance(at.func, ast.Attribute):
                self._operation(at.func, depth)  # says what to write instead
            refuse(f"{_called(at.func)} cannot be called", at.func)
        name = at.func.id
        if name not in FUNCTIONS:
            refuse(f"{shown(name)} is no function of the language: there are {_listed(FUNCTIONS)}", at.func)
        for keyword in at.keywords:
            what = f"**{_called(keyword.value)}" if keyword.arg is None else f"{keyword.arg[:60]}="
            refuse(f"{what} is not part of the language: {name} takes its arguments by place", keyword.value)
        low, high, over = FUNCTIONS[name]
        reduces = over and len(at.args) == 1
        if not low <= len(at.args) <= high:
            refuse(f"{name} takes {low if low == high else f'{low} to {high}'} arguments, not {len(at.args)}", at)
        if reduces and not self.members:
            refuse(f"{name} of one value is over the members of a row, and here a row has none", at)
        args = tuple(self.node(a, depth) for a in at.args)
        return Node({"min": "least", "max": "greatest"}[name] if over and not reduces else name, args)

    def _column(self, at: ast.Subscript, depth: int) -> Node:
        pair = at.slice.elts if isinstance(at.slice, ast.Tuple) else []
        whole = len(pair) == 2 and isinstance(pair[0], ast.Slice) and not any((pair[0].lower, pair[0].upper, pair[0].step))
        index = _literal(pair[1]) if whole else None
        if not isinstance(at.value, ast.Name) or not isinstance(index, int) or not 0 <= index < self.limits.members:
            refuse("the only index is a column of a name, as in q[:, 0]", at)
        if not self.members:
            refuse("a row has no columns here", at)
        return Node("column", (self.node(at.value, depth),), index)

    def _name(self, at: ast.Name) -> Node:
        if at.id in self.known:
            return Node("name", value=at.id)
        if at.id in FUNCTIONS:
            refuse(f"{shown(at.id)} is a function: call it", at)
        refuse(f"no name {shown(at.id)}: there are {_listed(self.known)}", at)

    def _number(self, at: ast.Constant) -> float:
        if not isinstance(at.value, (int, float)):
            refuse(f"a {type(at.value).__name__} ({shown(at.value)}) is not part of the language: constants are numbers", at)
        if not abs(at.value) <= self.limits.literal:
            refuse(f"a number larger than {self.limits.literal:g}", at)
        return float(at.value)


def _undocumented(body: list[ast.stmt]) -> list[ast.stmt]:
    documented = body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    return body[1:] if documented and isinstance(body[0].value.value, str) else body  # type: ignore[attr-defined]


def _read(target: ast.expr) -> ast.expr:
    if not isinstance(target, ast.Name):
        refuse(f"{_called(target)} cannot be assigned to: lines are name = expression", target)
    return target


def _literal(at: ast.expr) -> int | float | None:
    """The number a literal stands for, a minus before it included; None for anything else."""
    if isinstance(at, ast.UnaryOp) and isinstance(at.op, ast.USub):
        inner = _literal(at.operand) if isinstance(at.operand, ast.Constant) else None
        return None if inner is None else -inner
    plain = isinstance(at, ast.Constant) and isinstance(at.value, (int, float)) and not isinstance(at.value, bool)
    return at.value if plain else None  # type: ignore[attr-defined]


def _called(at: ast.AST) -> str:
    return CALLED.get(type(at), f"a {type(at).__name__}")


def _like(attribute: str) -> str:
    return f"{attribute}(x)" if attribute in FUNCTIONS else "names and functions as they are"


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for child in node.args:
        yield from walk(child)
