"""``assign``: collect, fit and method in one call."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from typing import Any, get_args

import numpy as np

from .batch import Batch
from .credit import Credit, Preferences, relabelled
from .errors import OptionError
from .evidence import SOURCES, Bill, Evidence, Learned
from .registry import Function, Method, get, keywords
from .words import Provenance


def assign(
    batch: Batch,
    id_: str,
    *,
    rng: np.random.Generator | int | None = None,
    fit: bool = False,
    learned: Any = None,
    **given: Any,
) -> Credit | Preferences:
    """Credit a batch: collect what the method must ask, fit what it must learn, then run it.

    ``sampler=``, ``policy=`` or ``judge=`` is asked for evidence that was not given; ``fit=True``
    learns it from this batch, ``learned=`` uses what was learned before. Remaining keywords are
    recorded evidence, options of the method, of its ``collect`` or of its ``fit``.

    >>> credit = assign(batch, "gigpo", omega=0.5)  # doctest: +SKIP
    """
    spec = get(id_)
    if not isinstance(batch, Batch):
        made = "Batch.from_padded, Batch.from_messages or Batch.from_turns makes one"
        raise OptionError(f"assign takes a Batch, not {type(batch).__name__}: {made}")
    generator = np.random.default_rng(rng)
    sources = {n: given.pop(n) for n in SOURCES if n in given}
    own = set(spec.evidence) | set(spec.options)
    call = {n: v for n, v in given.items() if n in own}
    stray = set(given) - own - _extra(spec.collect) - _extra(spec.fit)
    if stray:
        known = sorted((set(spec.options) | _extra(spec.collect) | _extra(spec.fit)) - {"rng"})
        name = sorted(stray)[0]
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise OptionError(f"{id_} has no option '{name}'; {hint}it has: {', '.join(known) or 'none'}")
    if "rng" in spec.options:
        call["rng"] = generator
    if not spec.grows:  # a grown batch may bring what its prompts lack
        spec.check_columns(batch, {n: v for n, v in call.items() if n in spec.options})
    evidence = _gather(spec, batch, generator, fit, learned, sources, given)
    twice = sorted(set(evidence.arrays) & set(call))
    if twice:
        raise OptionError(f"{id_}: evidence '{twice[0]}' was given and would be collected or learned as well: choose one")
    home = evidence.batch if evidence.batch is not None else batch
    result = spec(home, **evidence.arrays, **call)
    found: dict[str, Any] = {"bill": result.bill + evidence.bill}
    if isinstance(result, Credit):
        found["diagnostics"] = {**evidence.diagnostics, **result.diagnostics}
        found["evidence"] = {**result.evidence, **_came(spec, evidence, sources, fit, learned, given)}
    return relabelled(result, **found)


def learn(
    batch: Batch, id_: str, *, state: Learned | None = None, rng: np.random.Generator | int | None = None, **given: Any
) -> Any:
    """What a method learns of a batch: pass it on as ``assign(..., learned=...)``.

    ``state``: what it learned before, for a method that goes on learning from batch to batch (it names ``state``
    among the options of its ``fit``); nothing is kept anywhere else, and nothing is changed in place. Remaining
    keywords are options of its ``fit``.

    >>> critic = learn(batch, "gae")  # doctest: +SKIP
    >>> credit = assign(other_batch, "gae", learned=critic)  # doctest: +SKIP
    """
    spec = get(id_)
    if spec.fit is None:
        raise OptionError(f"{id_} has nothing to fit")
    known = keywords(spec.fit)
    if state is not None and "state" not in known:
        raise OptionError(f"{id_} learns from one batch at a time: it cannot go on from state=")
    stray = sorted(set(given) - set(known) | {"state"} & set(given))
    if stray:
        raise OptionError(f"the fit of {id_} has no option '{stray[0]}'; it has: {', '.join(sorted(set(known) - {'rng'}))}")
    more = {"state": state} if "state" in known else {}
    return spec.fit(batch, rng=np.random.default_rng(rng), **more, **given)


def _came(
    spec: Method, evidence: Evidence, sources: dict[str, Any], fit: bool, learned: Any, given: dict[str, Any]
) -> dict[str, Any]:
    """How the evidence that was not given came: who was asked or what was fitted, with all settings."""
    how: dict[str, Any] = {}
    for name, function, done in ((spec.source, spec.collect, spec.source in sources), ("fit", spec.fit, fit)):
        if name is not None and function is not None and done:
            how[name] = {n: given.get(n, p.default) for n, p in keywords(function).items() if n != "rng"}
    if learned is not None:
        how["learned"] = type(learned).__name__
    if not how:
        return {}
    names = [*evidence.arrays, *(["batch"] if evidence.batch is not None else [])]
    return {name: {**how, "provenance": evidence.provenance} for name in names}


def _extra(function: Function | None) -> set[str]:
    return set(keywords(function)) - {"rng"} if function is not None else set()


def _gather(
    spec: Method, batch: Batch, rng: np.random.Generator, fit: bool, learned: Any, sources: dict[str, Any], given: dict[str, Any]
) -> Evidence:
    """Evidence from the source, the learned object or a fit; nothing where all of it was given."""
    for name, source in sources.items():
        if name != spec.source:
            wants = f"it asks {spec.source}=" if spec.source else "it asks none"
            raise OptionError(f"{spec.id} does not ask a {name}: {wants}")
        if not isinstance(source, SOURCES[name]):
            raise OptionError(
                f"{name}= is {type(source).__name__}, which is no {SOURCES[name].__name__} (see apportion.evidence)"
            )
    if fit and spec.fit is None:
        raise OptionError(f"{spec.id} has nothing to fit")
    if fit and learned is not None:
        raise OptionError("fit=True learns anew and learned= uses what was learned before: choose one")
    found = Evidence(bill=Bill())
    if spec.source in sources and spec.collect is not None:
        keywords = {n: v for n, v in given.items() if n in _extra(spec.collect)}
        found = spec.collect(batch, sources[spec.source], rng=rng, **keywords)
    home = found.batch if found.batch is not None else batch
    if fit and spec.fit is not None:
        keywords = {n: v for n, v in given.items() if n in _extra(spec.fit)}
        learned = spec.fit(batch, rng=rng, **keywords)
        found = replace(found, bill=found.bill + learned.bill)
    if learned is not None:
        found = _join(spec, found, learned.evidence(home))
    found.check(batch)
    return found


def _join(spec: Method, collected: Evidence, learned: Evidence) -> Evidence:
    """Evidence that was partly collected (perhaps on a new batch) and partly learned."""
    twice = sorted(set(collected.arrays) & set(learned.arrays))
    if twice:
        raise OptionError(f"{spec.id}: evidence '{twice[0]}' comes from {spec.source}= and from what was learned: choose one")
    words = get_args(Provenance)
    return Evidence(
        arrays={**collected.arrays, **learned.arrays},
        axis={**collected.axis, **learned.axis},
        bill=collected.bill + learned.bill,
        provenance=max(collected.provenance, learned.provenance, key=words.index),
        batch=collected.batch,
        diagnostics={**collected.diagnostics, **learned.diagnostics},
    )
