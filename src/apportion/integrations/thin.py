"""What the thin plug-ins share: checks before training starts, credit with a reason where there is none.

A plug-in says once, as a :class:`Place`, what its batches bring and what its loss does with credit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import MissingColumn, OptionError
from ..evidence import SOURCES
from ..evidence.huggingface.heads import check_placed
from ..feeds import Feed, feed
from ..pipeline import assign
from ..registry import Method, get, keywords
from . import honours


@dataclass(frozen=True)
class Place:
    """Where credit goes. columns: what batches made there can hold ("reward" for any reward).

    ways: for a column that is there only if something is done, what that is. loss: what it makes of credit.
    sees: "batch", or "group" where credit is asked for the rollouts of one prompt at a time, or "trajectory".
    kinds: what the numbers it takes may be.
    """

    name: str
    columns: Collection[str]
    loss: honours.Honours
    ways: Mapping[str, str] = field(default_factory=dict)
    sees: str = "batch"
    kinds: Collection[str] = ("advantage",)


@dataclass(frozen=True)
class Chosen:
    """A method that was checked, with its options, and what is to be said of it."""

    spec: Method
    options: Mapping[str, Any]
    remarks: tuple[str, ...]


def choose(place: Place, method: str, options: Mapping[str, Any]) -> Chosen:
    """Method and options, checked on the smallest batch there is; what the user should hear, one sentence each.

    options: those of the method, and what ``apportion.assign`` takes besides: ``fit=True``, ``learned=``, a live
    source. Raises :class:`OptionError` for what does not fit, :class:`MissingColumn` for what the place cannot bring.
    """
    spec = get(method)
    given = dict(options)
    check_names(place.name, spec, given)
    own = {n: v for n, v in given.items() if n in spec.options}
    lacks = feed(method, place.columns, own)
    if lacks.columns:
        raise MissingColumn(_lacking(place, spec, lacks))
    asked = spec.source is not None and given.get(spec.source) is not None
    if (asked or given.get("fit")) and "ids" not in place.columns:
        raise OptionError(f"{place.name} cannot feed {method}: sources and fits go by token ids, which it has not")
    if lacks.evidence and not asked and not given.get("fit") and given.get("learned") is None:
        ways = [place.ways[n] for n in lacks.evidence if n in place.ways] + [f"pass {way}" for way in ways_to_feed(lacks)]
        lacking = f"it has no {' and no '.join(lacks.evidence)}"
        raise OptionError(f"{place.name} cannot feed {method}: {lacking}; {' or '.join(ways) or 'none can be had'}")
    if spec.grows and asked:
        raise OptionError(f"{place.name} cannot honour {method} with {spec.source}=: it grows rollouts, but the batch is fixed")
    try:
        remarks = honoured(place, honours.smallest(spec, own, brings=place.columns))
    except MissingColumn as error:  # a column that only these options ask for
        ways = [way for name, way in place.ways.items() if f"column '{name}'" in str(error)]
        raise MissingColumn(f"{place.name} cannot feed {method} with these options: {'; '.join([*ways, str(error)])}") from None
    if spec.scope == "batch" and place.sees != "batch":
        remarks.append(f"{method} takes statistics over a whole batch, but {place.name} shows it one {place.sees} at a time")
    return Chosen(spec, given, tuple(remarks))


def credited(place: Place, chosen: Chosen, batch: Batch, rng: np.random.Generator | int | None = None) -> Credit:
    """Credit for a batch made there; a column that this batch happens to lack is an error that says what brings it."""
    spec, options = chosen.spec, chosen.options
    own = {n: v for n, v in options.items() if n in spec.options}
    lacks = feed(spec.id, batch.present, own)
    if lacks.columns:
        raise MissingColumn(_lacking(place, spec, lacks))
    credit = assign(batch, spec.id, rng=rng, **options)
    honoured(place, credit)
    if not isinstance(credit, Credit):  # it has been refused
        raise TypeError("expected Credit")
    return credit


def in_company(chosen: Chosen, groups: Sequence[Hashable], episodes: Sequence[Hashable] | None = None) -> list[bool]:
    """Which rollouts enter a batch: where the method compares within groups, those with another of theirs.

    episodes: of each rollout, where there are any; a method that goes by them needs another episode, not another agent.
    The others get 0, as failed rollouts leave some alone and no run should end for that; ``single=`` decides otherwise.
    """
    if "group" not in chosen.spec.reads or "single" in chosen.options:
        return [True] * len(groups)
    if episodes is not None and "episode" in chosen.spec.may_read:
        size = Counter(g for g, _ in set(zip(groups, episodes, strict=True)))
    else:
        size = Counter(groups)
    return [size[g] > 1 for g in groups]


def check_names(place: str, spec: Method, options: Mapping[str, Any]) -> None:
    """Refuse options nobody reads, evidence (it differs from batch to batch), sources that are none, heads without a model."""
    check_placed(options.get("learned"))
    for name in spec.evidence:
        if name in options:
            raise OptionError(f"{place}: {name} is evidence, which differs from batch to batch: pass a source, or fit=True")
    if options.get("fit") and spec.fit is None:
        raise OptionError(f"{place}: fit = True, but {spec.id} has nothing to fit")
    learning = {"fit", "learned"} if spec.fit else set()
    parts = [f for f in (spec.collect, spec.fit) if f is not None]
    known = set(spec.options).union(learning, {spec.source} - {None}, *(keywords(f) for f in parts)) - {"rng"}
    stray = sorted(set(options) - known)
    if stray:
        raise OptionError(f"{place}: {spec.id} has no option '{stray[0]}'; it has {', '.join(sorted(map(str, known))) or 'none'}")
    if spec.source is not None and spec.source in options and not isinstance(options[spec.source], SOURCES[spec.source]):
        raise OptionError(f"{spec.source} is {type(options[spec.source]).__name__}, which is no {SOURCES[spec.source].__name__}")


def ways_to_feed(lacks: Feed) -> list[str]:
    """The keywords that bring the evidence that is lacking."""
    return [f"{lacks.source}=..."] * bool(lacks.source) + ["fit=True"] * lacks.can_fit


def honoured(place: Place, result: Any) -> list[str]:
    if isinstance(result, Credit) and result.kind != "advantage" and result.kind in place.kinds:
        result = result.with_fields(kind="advantage")
    return honours.check(result, place.loss)


def _lacking(place: Place, spec: Method, lacks: Feed) -> str:
    ways = "; ".join(place.ways.get(name, f"{place.name} has no {name}") for name in lacks.columns)
    return f"{place.name} cannot feed {spec.id} ({lacks.why_not}): {ways}"
