"""Written functions: what they compute, and that nothing else can be made of them."""

from __future__ import annotations

import ast
import builtins
import contextlib
import sys
import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion.edges import expression_tree
from apportion.edges.expression_tree import Node
from apportion.edges.expressions import FUNCTIONS, Expression, ExpressionError, Limits, evaluate, parse

from .expression_attacks import OUT

X = np.array([[1.0, -2.0, 3.0], [0.5, 0.5, 4.0]])
Y = np.array([10.0, 20.0])


def value(text: str, **more: Any) -> Any:
    return evaluate(parse(text, ["x", "y"], members="agents", **more), {"x": X, "y": Y})[0]


def refused(text: str, **more: Any) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse(text, ["x", "y"], members="agents", **more)
    return caught.value


SOFT = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
COMPUTES: dict[str, Any] = {
    "x + y": X + Y[:, None],
    "x - y": X - Y[:, None],
    "x * 2": X * 2,
    "y / x": Y[:, None] / X,
    "-x": -X,
    "+x": X,
    "x ** 2": X**2,
    "y ** -1": 1 / Y[:, None],
    "y ** 0.5": np.sqrt(Y)[:, None],
    "1 - 2 - 3": -4.0,
    "2 * 3 + 4": 10.0,
    "x > 0": X > 0,
    "x >= 1": X >= 1,
    "x < 1": X < 1,
    "x <= 1": X <= 1,
    "x == 0.5": X == 0.5,
    "x != 0.5": X != 0.5,
    "0 < x < 3": (X > 0) & (X < 3),
    "3 > x > 0": (X > 0) & (X < 3),
    "0 < x < 3 < y": (X > 0) & (X < 3),
    "x > 0 and x < 3": (X > 0) & (X < 3),
    "(x > 0) & (x < 3)": (X > 0) & (X < 3),
    "x < 0 or x > 3": (X < 0) | (X > 3),
    "(x < 0) | (x > 3)": (X < 0) | (X > 3),
    "not x > 0": X <= 0,
    "~(x > 0)": X <= 0,
    "x and y": X != 0,
    "True + x": X + 1,
    "abs(x)": np.abs(X),
    "sign(x)": np.sign(X),
    "sqrt(y)": np.sqrt(Y)[:, None],
    "exp(x)": np.exp(X),
    "log(y)": np.log(Y)[:, None],
    "log1p(y)": np.log1p(Y)[:, None],
    "tanh(x)": np.tanh(X),
    "sigmoid(x)": 1 / (1 + np.exp(-X)),
    "minimum(x, 1)": np.minimum(X, 1),
    "maximum(x, 1)": np.maximum(X, 1),
    "where(x > 0, x, y)": np.where(X > 0, X, Y[:, None]),
    "clip(x, -1, 1)": np.clip(X, -1, 1),
    "mean(x)": X.mean(1, keepdims=True),
    "sum(x)": X.sum(1, keepdims=True),
    "std(x)": X.std(1, keepdims=True),
    "min(x)": X.min(1, keepdims=True),
    "max(x)": X.max(1, keepdims=True),
    "min(x, 0, 1)": np.minimum(X, 0),
    "max(x, y)": X * 0 + Y[:, None],
    "softmax(x)": SOFT,
    "sum(y)": 3 * Y[:, None],
    "sum(1)": [[3.0], [3.0]],
    "mean(y)": Y[:, None],
    "x[:, 1]": X[:, 1:2],
    "y[:, 2]": Y[:, None],
    "a = x * 2\na + 1": 2 * X + 1,
    "a = x\na += y\na *= 2\nreturn a": 2 * (X + Y[:, None]),
    "x = x + 1\nx * x": (X + 1) ** 2,
    '"""Says what it does – naïvely."""\n# a comment, ünïcode\nreturn x  # type: ignore': X,
    "def f(x, y):\n    '''doc'''\n    a = softmax(x)\n    return sum(a * x)": (SOFT * X).sum(1, keepdims=True),
    "def f(x):\n    return x": X,
    "# -*- coding: utf-7 -*-\nx": X,
    "x +\\\n y": X + Y[:, None],
    "(x\n + y)": X + Y[:, None],
}


@pytest.mark.parametrize("text", COMPUTES)
def test_computes(text: str) -> None:
    want = np.asarray(COMPUTES[text], dtype=np.float64)
    got = value(text)
    assert got.dtype == np.float64
    assert_allclose(got, np.broadcast_to(want, got.shape))
    assert got.size >= want.size


def test_several_values_may_be_returned_where_that_was_asked() -> None:
    expression = parse("a = x\nreturn [a, y * 2, 1]", ["x", "y"], members="agents", several=True)
    first, second, third = evaluate(expression, {"x": X, "y": Y})
    assert_array_equal(first, X)
    assert_array_equal(second, 2 * Y[:, None])
    assert_array_equal(third, np.ones((2, 1)))
    assert len(evaluate(parse("(y, y)", ["y"], several=True), {"y": Y})) == 2
    assert len(evaluate(parse("y", ["y"], several=True), {"y": Y})) == 1
    assert "a list is not part" in refused("[x, y]").says
    assert "0 values are returned" in refused("[]", several=True).says
    assert "17 values are returned" in refused(f"[{'x, ' * 17}]", several=True).says
    assert "a starred argument" in refused("[*x]", several=True).says
    assert "a list is not part" in refused("[x, [y]]", several=True).says


def test_a_row_is_computed_from_that_row_alone_however_long_the_input_is() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70_001, 3)), rng.normal(size=70_001)
    expression = parse("softmax(x) * y + max(x) + std(x)", ["x", "y"], members="agents")
    whole = evaluate(expression, {"x": x, "y": y})[0]
    some = rng.permutation(70_001)[:50]
    assert_array_equal(evaluate(expression, {"x": x[some], "y": y[some]})[0], whole[some])
    none = evaluate(expression, {"x": x[:0], "y": y[:0]})[0]
    assert none.shape == (0, 3)


def test_it_knows_what_it_reads() -> None:
    assert parse("a = y\na", ["x", "y"]).reads == ("y",)
    assert parse("1", ["x", "y"]).reads == ()
    assert parse("y + 0 * x", ["x", "y"]).reads == ("x", "y")
    assert_array_equal(evaluate(parse("7", ["y"]), {"y": Y})[0], [[7.0], [7.0]])
    assert parse("y", ["y"]) == parse("y", ["y"]) != parse("y + 0", ["y"])


# --- breaking out ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", OUT, ids=lambda t: t[:40])
def test_everything_else_is_refused_by_name(text: str) -> None:
    start = time.perf_counter()
    error = refused(text)
    assert OUT[text] in error.says
    assert len(str(error)) < 500
    assert str(error).isprintable()
    assert time.perf_counter() - start < 1.0


def test_a_refusal_says_where() -> None:
    error = refused("a = x\nb = a + np.tanh(y)\nb")
    assert (error.line, error.column) == (2, 9)
    assert str(error).startswith("line 2, column 9: attribute access .tanh is not part of the language: write tanh(x)")
    assert (refused("a = 1\n\nzz").line, refused("x + (yy)").column) == (3, 6)
    assert (refused("x\n = ").line, refused("a = 'q'\nx").line) == (2, 1)
    assert refused("x\x00").column == 2
    assert (refused("x\nx + _y").line, refused("x\nx + _y").column) == (2, 5)


@pytest.mark.parametrize("name", sorted(set(dir(builtins)) - set(FUNCTIONS) - {"True", "False"}))
def test_no_builtin_is_reachable(name: str) -> None:
    for text in (f"{name}(x)", name, f"x + {name}", f"{name} = {name}\nx"):
        refused(text)


OLD = ("Num", "Str", "Bytes", "NameConstant", "Ellipsis", "Index", "ExtSlice")  # other names of Constant and of what it holds
KNOWN = {
    ast.Module, ast.FunctionDef, ast.Return, ast.Assign, ast.AugAssign, ast.Expr, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare,
    ast.Call, ast.Constant, ast.Name, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.arguments, ast.arg, ast.keyword,
}  # fmt: skip


def test_every_kind_of_syntax_is_either_known_or_refused() -> None:
    """Built, not parsed: what a later Python may write is refused as well, because it has no translation."""
    found = [k for n, k in vars(ast).items() if n not in OLD and isinstance(k, type) and issubclass(k, (ast.expr, ast.stmt))]
    kinds = [k for k in found if k not in KNOWN]
    assert len(kinds) > 30
    for kind in [*kinds, type("Later", (ast.expr,), {}), type("Later", (ast.stmt,), {})]:
        made: Any = kind()
        for field in getattr(kind, "_fields", ()):
            setattr(made, field, [] if field in ("elts", "values", "generators", "body", "targets") else "x")
        lines: list[Any] = [made] if isinstance(made, ast.stmt) else [ast.Expr(made)]
        for body in (lines, [*lines, ast.Expr(ast.Name("x"))]):
            with pytest.raises(ExpressionError):
                expression_tree.translate(ast.Module(body, []), ["x"], Limits(), members=True, several=False)


HEARD: list[str] = []
WATCHED: list[bool] = []


def _hear(event: str, args: tuple[Any, ...]) -> None:
    # Python parses with compile(), and looks for the lines of a syntax error in a file called <unknown>
    if WATCHED and event not in ("compile", "object.__getattr__") and args[:1] != ("<unknown>",):
        HEARD.append(event)


def test_nothing_is_run_imported_or_opened() -> None:
    """The interpreter's own audit of what it does, while every hostile text is read and every program computes."""
    good = [parse(text, ["x", "y"], members="agents") for text in COMPUTES]
    sys.addaudithook(_hear)  # stays for good: it hears only while watched
    WATCHED.append(True)
    try:
        for text in [*OUT, *COMPUTES]:
            try:
                parse(text, ["x", "y"], members="agents")
            except ExpressionError:
                continue
        for expression in good:
            evaluate(expression, {"x": X, "y": Y})
    finally:
        WATCHED.clear()
    assert not HEARD
    WATCHED.append(True)
    exec("1")
    WATCHED.clear()
    assert "exec" in HEARD


def test_an_operation_that_is_not_in_the_language_does_not_compute_either() -> None:
    honest = parse("x", ["x"], members="agents")
    program = expression_tree.Program((), (Node("system", (Node("name", value="x"),)),), 1, 1)
    forged = Expression("x", ("x",), "agents", False, honest.limits, program)
    with pytest.raises(KeyError):
        evaluate(forged, {"x": X})


# --- sizes and time ------------------------------------------------------------------------------------------------


def test_work_is_counted_before_it_is_done() -> None:
    expression = parse("exp(x) + 1", ["x"], limits=Limits(work=60))
    assert_allclose(evaluate(expression, {"x": np.zeros(12)})[0], 2.0)  # 5 operations a row
    with pytest.raises(ExpressionError, match="5 operations on 13 x 1 values: more than the 60"):
        evaluate(expression, {"x": np.zeros(13)})
    wide = parse("exp(x) + 1", ["x", "y"], members="agents", limits=Limits(work=60))
    with pytest.raises(ExpressionError, match="5 operations on 5 x 3 values"):
        evaluate(wide, {"x": np.zeros((5, 3))})
    heavy = "\n".join(f"a = {'softmax(' * 12}x{')' * 12}" for _ in range(50)) + "\na"
    huge = np.broadcast_to(np.zeros((1, 1)), (10**9, 1))  # no memory behind it
    start = time.perf_counter()
    with pytest.raises(ExpressionError, match="operations on 1000000000 x 1 values"):
        evaluate(parse(heavy, ["x"], members="agents"), {"x": huge})
    with pytest.raises(ExpressionError, match="a row has 5000 agents: the most is 4096"):
        evaluate(parse("x", ["x"], members="agents"), {"x": np.zeros((1, 5000))})
    assert time.perf_counter() - start < 1.0


def test_the_most_that_is_let_through_ends_soon_and_in_little_memory() -> None:
    """The slowest accepted functions at the full budget."""
    for inner in ("x / 3", "exp(x)", "x ** 0.3", "log(x)", "softmax(x)", "x[:, 0]", "max(x, x, x)", "std(x)", "where(x, x, x)"):
        text = f"a = {inner}\n" * 64 + "a"
        expression = parse(text, ["x"], members="agents")
        rows = expression.limits.work // max(expression.program.work, 1) // 4
        x = np.random.default_rng(0).random((min(rows, 20_000), 4)) + 0.1
        before = x.nbytes
        tracemalloc.start()
        start = time.perf_counter()
        evaluate(expression, {"x": x})
        taken, most = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert taken * rows / x.shape[0] < 20.0, (inner, taken)  # on a busy machine; a few seconds alone
        assert most < 2.2 * before + 64 * 40_000 * 8 + 10**6, inner


def test_broadcasting_cannot_make_anything_larger_than_the_input() -> None:
    with pytest.raises(ExpressionError, match="shapes do not fit"):
        evaluate(parse("x + y", ["x", "y"], members="agents"), {"x": np.zeros((1000, 1)), "y": np.zeros((1, 1000))})
    with pytest.raises(ExpressionError, match="shapes do not fit"):
        evaluate(parse("x + y", ["x", "y"], members="agents"), {"x": np.zeros((9, 2)), "y": np.zeros((9, 3))})
    with pytest.raises(ExpressionError, match="shapes do not fit"):
        evaluate(parse("x", ["x"]), {"x": np.zeros((9, 2))})
    with pytest.raises(ExpressionError, match=r"has shape \(1, 1, 1\)"):
        evaluate(parse("x", ["x"]), {"x": np.zeros((1, 1, 1))})
    with pytest.raises(ExpressionError, match="the input 'y' was not given: it reads x, y"):
        evaluate(parse("x + y", ["x", "y"]), {"x": np.zeros(2)})
    with pytest.raises(ExpressionError, match="how many rows"):
        evaluate(parse("1", []), {})
    with pytest.raises(ExpressionError, match="column 2 of a row of 2"):
        evaluate(parse("x[:, 2]", ["x"], members="agents"), {"x": np.zeros((1, 2))})
    with pytest.raises(ExpressionError, match="column 3 of a row of 2"):  # a shared value has as many columns
        evaluate(parse("x + y[:, 3]", ["x", "y"], members="agents"), {"x": np.zeros((1, 2)), "y": np.zeros(1)})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "text", ["1 / x", "log(x - 1)", "exp(exp(x + 10))", "0 * log(x)", "sqrt(-1 - x)", "x ** -2", "softmax(1 / x)"]
)
def test_values_that_are_not_finite_are_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="what is returned is not finite in"):
        evaluate(parse(text, ["x"], members="agents"), {"x": np.array([1.0, 0.0, 2.0])})
    with pytest.raises(ExpressionError, match="value 2 that is returned is not finite"):
        evaluate(parse(f"[x, {text}]", ["x"], members="agents", several=True), {"x": np.array([1.0, 0.0, 2.0])})


def test_a_division_by_zero_that_is_not_used_does_no_harm() -> None:
    assert_array_equal(evaluate(parse("where(x > 0, 1 / x, 0)", ["x"]), {"x": np.array([2.0, 0.0])})[0], [[0.5], [0.0]])
    with pytest.raises(ExpressionError, match="row 1"):
        evaluate(parse("x", ["x"]), {"x": np.array([0.0, np.nan])})


def test_a_chain_of_comparisons_is_computed_once_a_link() -> None:
    """Repeating the middle would double the work with every level."""
    text = "x"
    for _ in range(12):
        text = f"x < ({text}) < x"
    assert parse(text, ["x"]).program.work < 100


def test_a_deep_stack_ends_in_an_error_of_ours() -> None:
    found: list[BaseException] = []

    def dig(depth: int) -> None:
        if depth:
            dig(depth - 1)
            return
        try:
            parse("-" * 30 + "x", ["x"])
        except ExpressionError as error:
            found.append(error)

    here = len(_frames())
    for left in range(5, 200, 5):
        try:
            dig(sys.getrecursionlimit() - here - left)
        except RecursionError:
            continue  # dig itself
    assert found


def _frames() -> list[Any]:
    out, frame = [], sys._getframe()
    while frame is not None:
        out.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return out


def test_hard_texts_do_not_crash_a_thread_with_a_small_stack() -> None:
    caught: list[int] = []

    def work() -> None:
        for text in OUT:
            try:
                parse(text, ["x", "y"], members="agents")
            except ExpressionError:
                caught.append(1)

    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert len(caught) == len(OUT)


def test_texts_that_keep_patterns_busy_are_refused_at_once() -> None:
    start = time.perf_counter()
    for piece in (
        "'",
        '"',
        "\\",
        "'\\",
        "1e",
        "0x",
        ".",
        "'a",
        " ",
        "'" * 3,
        "rb'",
        "1_",
        "#",
        "\n ",
        "x ",
        "\\\n",
        "é",
        "x\\\n",
    ):
        for text in (piece * (7_999 // len(piece)), "'" + piece * (7_990 // len(piece)), "x" + piece * (7_990 // len(piece))):
            with contextlib.suppress(ExpressionError):
                parse(text, ["x"])
    assert time.perf_counter() - start < 20.0


def test_random_programs_are_refused_or_compute_and_never_anything_else() -> None:
    rng = np.random.default_rng(0)
    pieces = [
        "x",
        "y",
        "1",
        "(",
        ")",
        "[",
        "]",
        "+",
        "**",
        "-",
        ",",
        "=",
        "\n",
        "sum",
        "softmax",
        ":",
        "lambda",
        ".",
        "a",
        "return ",
        "def f(x)",
        "'",
        "#",
        " ",
        "not ",
        "<",
        "if ",
        "else ",
        "for ",
        "in ",
        "*",
        "@",
        "{",
        "}",
        "1e9",
        "where",
        "0",
        "\t",
        "é",
        "__class__",
        "import ",
    ]
    read = 0
    for _ in range(2000):
        text = "".join(rng.choice(pieces, int(rng.integers(1, 14))))
        try:
            expression = parse(text, ["x", "y"], members="agents")
            (found,) = evaluate(expression, {"x": X, "y": Y})
        except ExpressionError:
            continue
        read += 1
        assert np.isfinite(found).all()
    assert read > 10


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sum", "_x", "a b", "1a", "", "é", "x.y"])
def test_inputs_have_names_of_the_language(name: str) -> None:
    with pytest.raises(ExpressionError, match="cannot be a name in the language"):
        parse("1", [name])


def test_without_members_nothing_runs_over_them() -> None:
    for text in ("mean(x)", "softmax(x)", "max(x)"):
        with pytest.raises(ExpressionError, match="over the members of a row, and here a row has none"):
            parse(text, ["x"])
    with pytest.raises(ExpressionError, match="a row has no columns here"):
        parse("x[:, 0]", ["x"])
    assert_array_equal(evaluate(parse("max(x, 1)", ["x"]), {"x": np.array([0.0, 2.0])})[0], [[1.0], [2.0]])
