"""The vocabulary of written functions: operators, functions, and what refused syntax is called."""

from __future__ import annotations

import ast

#: Function -> least and most arguments, and whether it is over the members of a row.
FUNCTIONS: dict[str, tuple[int, int, bool]] = {
    "abs": (1, 1, False), "sign": (1, 1, False), "sqrt": (1, 1, False), "exp": (1, 1, False), "log": (1, 1, False),
    "log1p": (1, 1, False), "tanh": (1, 1, False), "sigmoid": (1, 1, False), "minimum": (2, 2, False),
    "maximum": (2, 2, False), "where": (3, 3, False), "clip": (3, 3, False), "mean": (1, 1, True), "sum": (1, 1, True),
    "std": (1, 1, True), "softmax": (1, 1, True), "min": (1, 8, True), "max": (1, 8, True),
}  # fmt: skip

#: Operation -> element operations it counts for; 1 where it is not named.
OPERATIONS: dict[str, int] = {
    **dict.fromkeys(("+", "-", "*", "/", "negative", "not", "and", "or", "least", "greatest"), 1),
    **dict.fromkeys(FUNCTIONS, 4), **dict.fromkeys(("tanh", "sigmoid", "log1p"), 8), "softmax": 12, "std": 12, "**": 12,
}  # fmt: skip

BINARY: dict[type, str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.BitAnd: "and", ast.BitOr: "or", ast.Pow: "**",
}  # fmt: skip
COMPARE: dict[type, str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
#: What a refused node is called, where its class's name would not say.
CALLED: dict[type, str] = {
    ast.ListComp: "a list comprehension", ast.SetComp: "a set comprehension", ast.DictComp: "a dict comprehension",
    ast.GeneratorExp: "a generator", ast.NamedExpr: "an assignment inside an expression (:=)", ast.JoinedStr: "an f-string",
    ast.Starred: "a starred argument", ast.Lambda: "a lambda", ast.IfExp: "'if … else'; write where(condition, a, b)",
    ast.For: "a loop", ast.While: "a loop", ast.AsyncFor: "a loop", ast.ClassDef: "a class", ast.Import: "an import",
    ast.ImportFrom: "an import", ast.Global: "'global'", ast.Nonlocal: "'nonlocal'", ast.Await: "'await'", ast.Dict: "a dict",
    ast.Yield: "'yield'", ast.YieldFrom: "'yield'", ast.AsyncFunctionDef: "an async function", ast.With: "'with'",
    ast.Try: "'try'", ast.Raise: "'raise'", ast.Delete: "'del'", ast.Assert: "'assert'", ast.If: "'if'; write where(…)",
    ast.FunctionDef: "a function inside", ast.AnnAssign: "an annotation", ast.Set: "a set", ast.Tuple: "a tuple",
    ast.List: "a list", ast.Slice: "a slice", ast.Match: "'match'", ast.Pass: "'pass'", ast.Expr: "an expression without effect",
}  # fmt: skip
