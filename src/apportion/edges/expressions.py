"""Functions of arrays that a model or a person wrote: read as data, computed by our own hands, never executed.

    expression = parse("w = softmax(written)\nreturn sum(w * q)", ["q", "written"], members="agents")
    (total,) = evaluate(expression, {"q": q, "written": lengths})

Every value is an array of ``rows`` by ``members`` (one column where it is the same for all members of a row).
Operations are elementwise or over the members; none mixes rows. So the value of a row depends on that row
alone, nothing can grow beyond rows times members, and long inputs are taken a piece at a time.

The language: lines ``name = expression``, then an expression or ``return`` of one; or one ``def`` of such lines
whose parameters are inputs. Numbers, names, ``+ - * /``, ``**`` with a number of bounded size, comparisons and
``and or not & | ~`` (1 where true, else 0), ``x[:, 0]`` (the first member's), and the functions in
:data:`~.expression_words.FUNCTIONS`. Everything else is refused by name, line and column.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .expression_text import ExpressionError, Limits, syntax
from .expression_tree import Node, Program, translate, walk
from .expression_words import FUNCTIONS

Float = NDArray[np.float64]

__all__ = ["FUNCTIONS", "Expression", "ExpressionError", "Limits", "evaluate", "parse"]

#: Elements of an array that are computed at a time.
_PIECE = 32_768


@dataclass(frozen=True)
class Expression:
    """A function that was read and found to be in the language; two are equal where their texts and inputs are.

    text: as it was written. names: inputs it may read. members: what a row consists of (for messages), or None.
    """

    text: str
    names: tuple[str, ...]
    members: str | None
    several: bool
    limits: Limits
    program: Program

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Inputs that it does read, in the order of ``names``."""
        nodes = [*(n for _, n in self.program.steps), *self.program.results]
        found = {n.value for top in nodes for n in walk(top) if n.op == "name"}
        return tuple(n for n in self.names if n in found)


def parse(
    text: str, names: Collection[str], *, members: str | None = None, several: bool = False, limits: Limits | None = None
) -> Expression:
    """Read a function of the arrays ``names``, or raise :class:`ExpressionError` that says what is wrong, and where.

    members: what the columns of a row are ("agents"), so that mean, sum, softmax … run over them; None: rows have one
    column, and these functions are refused. several: whether it may return a list of values.
    """
    limits = limits or Limits()
    for name in names:
        if not (name.isascii() and name.isidentifier()) or name in FUNCTIONS or name.startswith("_"):
            raise ExpressionError(f"the input {name!r} cannot be a name in the language")
    try:
        program = translate(syntax(text, limits), names, limits, members=members is not None, several=several)
    except RecursionError:
        raise ExpressionError("the caller's own stack is too deep to read a program") from None
    return Expression(text, tuple(names), members, several, limits, program)


def evaluate(expression: Expression, arrays: Mapping[str, Float]) -> tuple[Float, ...]:
    """What the function returns for every row: one array (rows, members) or (rows, 1) per returned value.

    arrays: an input each, shape (rows,), (rows, 1) or (rows, members); also those it does not read say how many members
    there are. Refused before anything is computed: missing
    inputs, shapes that do not fit, and more than ``limits.work`` element operations. Refused afterwards: values that are
    not finite (what is divided by zero and then not used does no harm).
    """
    given, rows, width = _inputs(expression, arrays)
    limits, work = expression.limits, expression.program.work
    if width > limits.members:
        raise ExpressionError(f"a row has {width} {expression.members or 'columns'}: the most is {limits.members}")
    if work * rows * width > limits.work:
        raise ExpressionError(
            f"{work} operations on {rows} x {width} values: more than the {limits.work} that one evaluation may take"
        )
    pieces = [_run(expression.program, part, n, width) for part, n in _cut(given, rows, width)]
    results = tuple(np.concatenate([p[i] for p in pieces]) for i in range(len(expression.program.results)))
    for i, found in enumerate(results):
        bad = ~np.isfinite(found).all(axis=1)
        if bad.any():
            which = f"value {i + 1} that is returned" if len(results) > 1 else "what is returned"
            row = int(np.argmax(bad))
            raise ExpressionError(f"{which} is not finite in {int(bad.sum())} of {rows} rows, the first of them row {row}")
    return results


def _inputs(expression: Expression, arrays: Mapping[str, Float]) -> tuple[dict[str, Float], int, int]:
    missing = [n for n in expression.reads if n not in arrays]
    if missing:
        raise ExpressionError(f"the input {missing[0]!r} was not given: it reads {', '.join(expression.reads)}")
    shaped: dict[str, Float] = {}
    for name in (n for n in expression.names if n in arrays):
        array = np.asarray(arrays[name], dtype=np.float64)
        if array.ndim not in (1, 2):
            raise ExpressionError(f"the input {name!r} has shape {array.shape}: expected (rows,) or (rows, members)")
        shaped[name] = array if array.ndim == 2 else array[:, None]
    if not shaped:
        raise ExpressionError("no arrays were given: how many rows there are is not known")
    rows, width = {a.shape[0] for a in shaped.values()}, {a.shape[1] for a in shaped.values()} - {1} or {1}
    if len(rows) > 1 or len(width) > 1 or (expression.members is None and width != {1}):
        shapes = ", ".join(f"{n} {a.shape}" for n, a in shaped.items())
        raise ExpressionError(f"shapes do not fit each other: {shapes}")
    return {n: shaped[n] for n in expression.reads}, rows.pop(), width.pop()


def _cut(given: dict[str, Float], rows: int, width: int) -> Iterator[tuple[dict[str, Float], int]]:
    size = max(_PIECE // width, 1)
    for start in range(0, max(rows, 1), size):
        stop = min(start + size, rows)
        yield {n: a[start:stop] for n, a in given.items()}, stop - start


def _run(program: Program, values: dict[str, Float], rows: int, width: int) -> list[Float]:
    values = dict(values)
    with np.errstate(all="ignore"):
        for name, node in program.steps:
            values[name] = _compute(node, values, width)
        made = [_compute(node, values, width) for node in program.results]
    return [np.broadcast_to(x, (rows, x.shape[1])) for x in made]


def _compute(node: Node, values: dict[str, Float], width: int) -> Float:
    if node.op == "number":
        return np.full((1, 1), node.value, dtype=np.float64)
    if node.op == "name":
        return values[str(node.value)]
    args = [_compute(a, values, width) for a in node.args]
    if node.op == "**":
        return np.power(args[0], node.value)
    if node.op == "column":
        return _member(args[0], int(node.value), width)  # type: ignore[arg-type]
    if node.op == "compare":
        signs = node.value if isinstance(node.value, tuple) else ()
        held = [_COMPARED[sign](a, b) for sign, a, b in zip(signs, args, args[1:], strict=False)]
        return _all(held)
    if node.op in ("mean", "sum", "std", "softmax", "min", "max"):
        return _over_members(node.op, args[0], width)
    return _ELEMENTWISE[node.op](*args)


def _member(x: Float, index: int, width: int) -> Float:
    if index >= width:
        raise ExpressionError(f"column {index} of a row of {width}")
    return x if x.shape[1] == 1 else x[:, index : index + 1]


def _over_members(op: str, x: Float, width: int) -> Float:
    """Over the columns of each row; a value that all members share is repeated first, so that its sum is n times it."""
    full = np.broadcast_to(x, (x.shape[0], width))
    if op == "softmax":
        e = np.exp(full - full.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))
    return np.asarray(getattr(np, op)(full, axis=1, keepdims=True))


def _all(held: list[NDArray[np.bool_]]) -> Float:
    out = held[0]
    for more in held[1:]:
        out = out & more
    return out.astype(np.float64)


def _and(*x: Float) -> Float:
    return _all([a != 0 for a in x])


def _or(*x: Float) -> Float:
    return 1.0 - _all([a == 0 for a in x])


def _where(condition: Float, a: Float, b: Float) -> Float:
    return np.asarray(np.where(condition != 0, a, b), dtype=np.float64)


def _least(*x: Float) -> Float:
    out = x[0]
    for more in x[1:]:
        out = np.minimum(out, more)
    return out


def _greatest(*x: Float) -> Float:
    return -_least(*(-a for a in x))


_COMPARED = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal,
}  # fmt: skip
_ELEMENTWISE: dict[str, Callable[..., Float]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "negative": np.negative,
    "not": lambda x: np.asarray(x == 0, dtype=np.float64), "and": _and, "or": _or, "least": _least, "greatest": _greatest,
    "abs": np.abs, "sign": np.sign, "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "log1p": np.log1p, "tanh": np.tanh,
    "sigmoid": lambda x: 0.5 * (1.0 + np.tanh(0.5 * x)), "minimum": np.minimum, "maximum": np.maximum,
    "where": _where, "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
}  # fmt: skip
