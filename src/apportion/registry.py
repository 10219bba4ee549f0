"""The table of methods, and what each declares of itself."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .batch import Batch, Spans
from .credit import Credit, Preferences, relabelled
from .errors import MissingColumn, OptionError
from .evidence.sources import check_length
from .words import Axis, Scope, Status, Unit

Function = Callable[..., Any]


@dataclass(frozen=True)
class Method:
    """What the library knows of a method; call ``spec(batch, **evidence, **options)``."""

    id: str
    function: Function
    unit: Unit
    reads: frozenset[str]
    may_read: frozenset[str]
    unless: Mapping[str, tuple[str, Any]]
    evidence: Mapping[str, Axis]
    source: str | None
    collect: Function | None
    fit: Function | None
    cost: str
    status: Status
    unbiased: str
    smallest: str
    grows: bool
    scope: Scope
    widens: Mapping[str, Any]
    several: frozenset[str] = frozenset()

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.function) or ""

    @property
    def summary(self) -> str:
        return self.doc.split("\n")[0]

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """Keyword-only options of the method itself, evidence left out."""
        return {n: p for n, p in keywords(self.function).items() if n not in self.evidence}

    def scope_for(self, options: Mapping[str, Any] | None = None, *, fit: bool = False) -> Scope:
        """What must be credited together with these options; learning (``fit``) is always from the whole batch."""
        chosen = {**{n: p.default for n, p in self.options.items()}, **(options or {})}
        wide = fit or any(chosen[o] in _values(v) for o, v in self.widens.items())
        return "batch" if wide else self.scope

    def __call__(self, batch: Batch, **given: Any) -> Credit | Preferences:
        for name in given:
            if name not in self.evidence and name not in self.options:
                known = sorted(self.options) or ["none"]
                raise OptionError(f"{self.id} has no option '{name}'; it has: {', '.join(known)}")
        options = {n: v for n, v in given.items() if n not in self.evidence}
        self._check_options(options)
        self.check_columns(batch, options)
        asked = [n for n in self.evidence if given.get(n) is not None or n in self.wanted(options)]
        arrays = {n: self._evidence(batch, n, given) for n in asked}
        view = batch.only(self._columns())
        result: Credit | Preferences = self.function(view, **arrays, **options)
        chosen = {**{n: p.default for n, p in self.options.items()}, **options}
        chosen.pop("rng", None)  # a generator is no setting: it changes as it is used
        labels: dict[str, Any] = {"method": self.id, "options": chosen}
        if isinstance(result, Credit):
            labels["evidence"] = {n: "column" if given.get(n) is None else "given" for n in arrays}
        # The method saw a view; its result names the whole batch (or the rows it took of it).
        if isinstance(result, Credit) and result.rows is not None:
            return replace(result, batch=batch.take(result.rows), **labels)
        home = batch if result.batch is view else result.batch
        return relabelled(result, batch=home, **labels)

    def smallest_call(self) -> tuple[Batch, dict[str, Any]]:
        """The smallest batch that works, and the evidence and options that go with it."""
        made = eval(self.smallest, {"Batch": Batch, "Spans": Spans, "np": np})
        return made if isinstance(made, tuple) else (made, {})

    def example(self) -> Credit | Preferences:
        """What the method says about its smallest batch."""
        batch, given = self.smallest_call()
        return self(batch, **given)

    def _check_options(self, options: Mapping[str, Any]) -> None:
        for name, parameter in self.options.items():
            if parameter.default is inspect.Parameter.empty and name not in options:
                raise OptionError(f"{self.id} needs the option '{name}': pass {name}=...")

    def _columns(self) -> set[str]:
        rewards = {"outcome", "turn_reward", "token_reward"} if "reward" in self.reads else set()
        return set(self.reads) | set(self.may_read) | rewards

    def lacking(self, have: Iterable[str], options: Mapping[str, Any] | None = None) -> list[str]:
        """Columns it needs that are not among ``have`` (as ``Batch.present`` names them), sorted."""
        chosen = {**{n: p.default for n, p in self.options.items()}, **(options or {})}
        known = set(have) | {column for column, (option, value) in self.unless.items() if chosen[option] in _values(value)}
        if {"outcome", "turn_reward", "token_reward"} & known:
            known.add("reward")
        return sorted(self.reads - known)

    def wanted(self, options: Mapping[str, Any] | None = None) -> list[str]:
        """Evidence it needs with these options: all, but what ``unless`` excuses."""
        chosen = {**{n: p.default for n, p in self.options.items()}, **(options or {})}
        excused = {n for n, (option, value) in self.unless.items() if chosen[option] in _values(value)}
        return [n for n in self.evidence if n not in excused]

    def check_columns(self, batch: Batch, options: Mapping[str, Any]) -> None:
        for name in self.lacking([*batch.present, *(["spans"] if batch.spans else [])], options):
            batch.need(name, f"for {self.id}") if name != "reward" else _no_reward(self.id)

    def _evidence(self, batch: Batch, name: str, given: Mapping[str, Any]) -> Any:
        value = given.get(name)
        if value is None and getattr(batch, name, None) is not None and name in batch.columns():
            return getattr(batch, name)  # a column was checked when the batch was made
        if value is None:
            raise MissingColumn(self._how_to_ask(name))
        array = np.asarray(value)
        check_length(name, array, batch, self.evidence[name])
        if array.ndim > 1 and name not in self.several:
            raise OptionError(
                f"evidence '{name}' has shape {array.shape}, expected ({array.shape[0]},): {self.id} takes one value per "
                f"{self.evidence[name]}; join several answers into one first"
            )
        return array

    def _how_to_ask(self, name: str) -> str:
        axis = self.evidence[name]
        ways = [f"pass {name}= (one per {axis})"]
        if name in Batch.columns():
            ways.append(f"give the batch a column: batch.with_columns({name}=...)")
        if self.source and self.collect:
            ways.append(f"let it be collected: ap.assign(batch, '{self.id}', {self.source}=...)")
        if self.fit:
            ways.append(f"let it be learned from this batch: ap.assign(batch, '{self.id}', fit=True)")
        return f"{self.id} needs evidence '{name}': " + "; or ".join(ways)


def _values(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _no_reward(method: str) -> None:
    from .batch import how_to_give

    raise MissingColumn(how_to_give("reward", f"for {method}"))


@functools.cache
def keywords(function: Function) -> Mapping[str, inspect.Parameter]:
    """The keyword-only parameters of a method, a ``collect`` or a ``fit``."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


_METHODS: dict[str, Method] = {}


def method(
    *,
    unit: Unit,
    reads: set[str],
    may_read: set[str] | None = None,
    unless: Mapping[str, tuple[str, Any]] | None = None,
    evidence: Mapping[str, Axis] | None = None,
    source: str | None = None,
    collect: Function | None = None,
    fit: Function | None = None,
    cost: str = "0",
    status: Status,
    unbiased: str,
    smallest: str = "",
    grows: bool = False,
    scope: Scope = "group",
    widens: Mapping[str, Any] | None = None,
    several: set[str] | None = None,
) -> Callable[[Function], Function]:
    """Declare a method: a pure function of a batch and recorded evidence.

    unit: what it credits. reads: batch columns it needs ("reward" stands for outcome,
    turn_reward and token_reward); may_read: columns it uses when the batch has them; all others
    are hidden from it. unless: column or evidence -> (option, value): with that value (or one of a tuple of
    values) it is read but not needed. evidence: recorded evidence by argument name, with the axis that keys it.
    source: which live source its ``collect`` asks. cost: extra cost a trajectory in T tokens, N units, K samples, G group size.
    unbiased: "yes", or why not. smallest: the smallest batch that works, as a Python expression;
    with evidence that is no column, a pair: "(Batch..., {'prefix_value': [...]})".
    grows: True where ``collect`` returns a larger batch of fresh rollouts.
    scope: what a batch must hold whole for the credit to be right, so that a long log can be credited
    in pieces: each "trajectory" by itself, whole "group"s, or all of the "batch". widens: option ->
    value (or tuple of values) with which the scope is the batch, whatever it is otherwise.
    several: evidence that may have a second axis, of several answers per unit; all other has one value per unit.
    """

    def register(function: Function) -> Function:
        id_ = function.__name__.rstrip("_")
        spec = Method(
            id_, function, unit, frozenset(reads), frozenset(may_read or ()), dict(unless or {}), dict(evidence or {}),
            source, collect, fit, cost, status, unbiased, smallest, grows, scope, dict(widens or {}), frozenset(several or ()),
        )  # fmt: skip
        known = _METHODS.get(id_)
        if known is not None and known.function.__module__ != function.__module__:
            raise OptionError(f"method '{id_}' is registered twice: {known.function.__module__} and {function.__module__}")
        _METHODS[id_] = spec

        @functools.wraps(function)
        def call(batch: Batch, **given: Any) -> Credit | Preferences:
            return spec(batch, **given)

        return call

    return register


@functools.cache
def _load() -> None:
    package = importlib.import_module("apportion.methods")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"apportion.methods.{module.name}")


def methods() -> dict[str, Method]:
    """All registered methods by id, sorted."""
    _load()
    return dict(sorted(_METHODS.items()))


def get(id_: str) -> Method:
    """The method with this id, or an error that names the nearest ones."""
    _load()
    if id_ in _METHODS:
        return _METHODS[id_]
    import difflib

    plain = str(id_).lower().replace("-", "_")
    near = [plain] if plain in _METHODS else difflib.get_close_matches(plain, _METHODS, n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise OptionError(f"no method '{id_}'{hint} (apportion methods lists all)")
