"""Methods and their options as a command line gives them, checked against the log before it is read."""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from ..batch import Batch, what_it_is
from ..errors import MissingColumn, OptionError
from ..feeds import feed, feeds
from ..registry import Function, Method, get, keywords
from ..words import Scope

OptionPairs = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Option of a method; METHOD.NAME=VALUE where several take it."),
]
Fit = Annotated[bool, typer.Option("--fit", help="Learn what a method lacks from this log (reads all of it at once).")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
Seed = Annotated[int, typer.Option(help="Seed of what is drawn, such as the folds of --fit.")]

_FLAGS = {"reward": "--reward KEY", "group": "--group KEY", "state": "--state KEY or --state observation"}
_WORDS = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class Chosen:
    """A method, the options given for it (and for its ``fit``), and whether it learns."""

    spec: Method
    options: dict[str, Any]
    fit: bool

    @property
    def scope(self) -> Scope:
        own = {name: value for name, value in self.options.items() if name in self.spec.options}
        return self.spec.scope_for(own, fit=self.fit)

    @property
    def draws(self) -> bool:
        """Whether the seed can change its values."""
        return self.fit or "rng" in self.spec.options


def choose(ids: Sequence[str], pairs: Sequence[str], fit: bool = False) -> list[Chosen]:
    """The methods with their options, each value in the type the method declares.

    Raises ``OptionError`` for unknown methods, for options none of them has (naming near ones) and
    for values of the wrong type.
    """
    specs = [get(id_) for id_ in ids]
    if not specs:
        raise OptionError("no method: name one with --method (apportion methods lists them)")
    twice = [s.id for k, s in enumerate(specs) if s in specs[:k]]
    if twice:
        raise OptionError(f"method {twice[0]} is named twice")
    if fit and not any(spec.fit for spec in specs):
        raise OptionError(f"--fit: {', '.join(s.id for s in specs)} {'has' if len(specs) == 1 else 'have'} nothing to fit")
    learns = {spec.id: fit and spec.fit is not None for spec in specs}
    open_to = {spec.id: _parameters(spec, learns[spec.id]) for spec in specs}
    options: dict[str, dict[str, Any]] = {spec.id: {} for spec in specs}
    for pair in pairs:
        left, equals, text = pair.partition("=")
        if not equals:
            raise OptionError(f"--option {pair}: expected NAME=VALUE")
        method, dot, name = left.strip().rpartition(".")
        if dot and method not in open_to:
            raise OptionError(f"--option {pair}: {method} is not among the methods {', '.join(open_to)}")
        takers = [id_ for id_ in ([method] if dot else open_to) if name in open_to[id_]]
        if not takers:
            raise OptionError(_unknown(name, [method] if dot else list(open_to), open_to))
        for id_ in takers:
            if name in options[id_]:
                raise OptionError(f"--option {pair}: {name} is given twice for {id_}")
            options[id_][name] = _parse(text.strip(), *open_to[id_][name], f"--option {pair} ({id_})")
    return [Chosen(spec, options[spec.id], learns[spec.id]) for spec in specs]


def refuse_unfed(chosen: Sequence[Chosen], batch: Batch, path: Path) -> None:
    """Raise ``MissingColumn`` for the first method that the columns of ``batch`` cannot feed."""
    have = [*batch.present, *(["spans"] if batch.spans else [])]
    for one in chosen:
        own = {name: value for name, value in one.options.items() if name in one.spec.options}
        found = feed(one.spec.id, have, own)
        if found.ready or (found.learnable and one.fit):
            continue
        ways = [f"{name}: give {_FLAGS[name]}" if name in _FLAGS else f"{name} is {what_it_is(name)}" for name in found.columns]
        ways += [f"{name}: {_evidence(one.spec, name, found.can_fit)}" for name in found.evidence]
        ready = [f.method for f in feeds(have) if f.ready]
        learn = [f.method for f in feeds(have) if f.learnable]
        works = f"this log can feed {', '.join(ready) or 'none as it is'}" + (
            f"; with --fit also {', '.join(learn)}" if learn else ""
        )
        lacks = " and ".join((*found.columns, *found.evidence))
        raise MissingColumn(f"{path} cannot feed {one.spec.id}: it has no {lacks} ({'; '.join(ways)}); {works}")


def check_output(out: Path, suffixes: Sequence[str], force: bool) -> None:
    """Refuse an output that cannot be written, before anything is read."""
    if out.suffix not in suffixes:
        raise OptionError(f"-o {out}: its name must end in {' or '.join(suffixes)}")
    if out.is_dir():
        raise OptionError(f"-o {out} is a folder")
    if not out.parent.is_dir():
        raise OptionError(f"-o {out}: there is no folder {out.parent}")
    if out.exists() and not force:
        raise OptionError(f"-o {out} exists: --force replaces it")


def _evidence(spec: Method, name: str, can_fit: bool) -> str:
    ways = [f"a column of the log, {what_it_is(name)}"] if name in Batch.columns() else []
    ways += ["--fit learns it"] if can_fit else []
    ways += [f"from Python, ap.assign(batch, '{spec.id}', {spec.source}=...)"] if spec.source else []
    return " or ".join(ways) or f"from Python, ap.assign(batch, '{spec.id}', {name}=...)"


def _parameters(spec: Method, fit: bool) -> dict[str, tuple[Any, Any]]:
    """Name -> (type, default) of what can be given: options of the method, and of its fit where it learns."""
    found = {}
    for function, names in ((spec.fit if fit else None, None), (spec.function, spec.options)):
        if function is not None:
            hints = _hints(function)
            for name, parameter in keywords(function).items():
                if name != "rng" and (names is None or name in names):
                    found[name] = (hints.get(name, type(parameter.default)), parameter.default)
    return found


def _hints(function: Function) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except NameError:  # a type imported for the type checker alone: the default says enough
        return {}


def _unknown(name: str, ids: list[str], open_to: dict[str, dict[str, Any]]) -> str:
    known = sorted({option for id_ in ids for option in open_to[id_]})
    near = get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known) or 'none'}"
    return f"{' and '.join(ids)} {'has' if len(ids) == 1 else 'have'} no option '{name}'; {hint}"


def _parse(text: str, hint: Any, default: Any, where: str) -> Any:
    """``text`` in the first of the types that fits; an error that says what would."""
    kinds = _kinds(hint)
    for kind in kinds:
        found = _as(text, kind)
        if found is not _NOT:
            return found
    expected = " or ".join(filter(None, map(_called, kinds)))
    if not expected:
        raise OptionError(f"{where}: this option takes {hint}, which only Python can give")
    raise OptionError(f"{where}: expected {expected} (default {default})")


_NOT = object()


def _kinds(hint: Any) -> list[Any]:
    """The members of a union, plainest last: a text matches anything."""
    if get_origin(hint) in (Union, types.UnionType):
        parts = [kind for member in get_args(hint) for kind in _kinds(member)]
        return sorted(parts, key=lambda kind: kind is str)
    if get_origin(hint) is Annotated:
        return _kinds(get_args(hint)[0])
    return [hint]


def _as(text: str, kind: Any) -> Any:
    low = text.lower()
    if kind is type(None):
        return None if low in ("none", "null") else _NOT
    if kind is bool:
        return _WORDS.get(low, _NOT)
    if get_origin(kind) is Literal:
        return next((word for word in get_args(kind) if str(word) == text), _NOT)
    if kind is str:
        return text
    if kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            return _NOT
        return value if math.isfinite(value) else _NOT
    return _NOT


def _called(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "none"}
    return names.get(kind, "")
