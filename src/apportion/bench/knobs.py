"""Entrants with one knob turned: ``vineppo@k=16``, ``pure-judge80@accuracy=0.9``, ``gigpo@group=16``, ``grpo@epochs=4``.

How good must a judge be, how many samples are enough, how large a group? A sweep is a list of such names; they are
entrants like any other. ``group`` (rollouts of a prompt) and ``epochs`` (steps taken on each batch while learning) are
knobs of every entrant, whatever else its method calls by that name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import BenchError
from ..registry import keywords, methods
from .catalog import unknown
from .entrants import Entrant, entrants
from .settings import Settings
from .source_knobs import ASKED, checked, turned

#: Knobs of simulated sources; all others are the entrant's own, or options of the method, its collect or its fit.
SOURCE_KNOBS = tuple(ASKED)
#: Knobs of the entrant itself, with their smallest value: a group of one has nobody to be compared with.
OWN_KNOBS = {"group": 2, "epochs": 1}
#: Rollouts of a group that these sample themselves, from the options that say so.
GROWN: Mapping[str, Callable[[Mapping[str, Any]], int]] = {
    "carl": lambda options: int(options["forks"]),
    "at2po": lambda options: int(options["rounds"]) * int(options["branches"]),
}


def entrant(id_: str) -> Entrant:
    """The entrant with this id; after an ``@``, with these knobs, separated by commas, set to these values."""
    known = entrants()
    if id_ in known:
        return known[id_]
    name, _, knobs = id_.partition("@")
    if name not in known:
        raise BenchError(unknown("method", name, known, "with --methods"))
    if not knobs:
        raise BenchError(f"{id_}: expected NAME@KNOB=VALUE after the @")
    made = known[name]
    for part in knobs.split(","):
        made = _turned(made, part, id_)
    if made.fresh and made.method in GROWN:
        made = replace(made, fresh=_grown(made, id_))
    return replace(checked(made, id_), id=id_, title=f"{made.title}, {knobs.replace('=', ' ')}")


def _turned(base: Entrant, part: str, id_: str) -> Entrant:
    knob, found, text = part.partition("=")
    if not found:
        raise BenchError(f"{id_}: '{part}' sets nothing; expected KNOB=VALUE")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    if knob in OWN_KNOBS:
        if isinstance(value, bool) or not isinstance(value, int) or value < OWN_KNOBS[knob]:
            raise BenchError(f"{id_}: {knob} = {text}: expected a whole number of at least {OWN_KNOBS[knob]}")
        return replace(base, group=value) if knob == "group" else replace(base, epochs=value)
    if knob in SOURCE_KNOBS:
        return turned(base, knob, value, id_)
    spec = methods().get(base.method)
    own = set(spec.options) if spec is not None else set()
    usual: dict[str, Any] = dict(keywords(spec.function)) if spec is not None else {}
    for function in (spec.collect, spec.fit) if spec is not None else ():
        own |= set(keywords(function)) - {"rng"} if function is not None else set()
        usual |= keywords(function) if function is not None else {}
    if knob not in own:
        raise BenchError(f"{id_}: " + unknown("knob", knob, [*own, *SOURCE_KNOBS, *OWN_KNOBS], f"of {base.method}"))
    default = usual[knob].default if knob in usual else None
    if isinstance(default, bool) and not isinstance(value, bool):
        raise BenchError(f"{id_}: {knob} = {text}: expected true or false")
    if isinstance(default, (int, float)) and not isinstance(value, (int, float, type(None))):
        raise BenchError(f"{id_}: {knob} = {text}: expected a number")
    return replace(base, options={**base.options, knob: value})


def _grown(made: Entrant, id_: str) -> int:
    """How many of each group the method samples itself with these options; the rest are rolled out before it is asked."""
    try:
        fresh = GROWN[made.method](made.options)
    except (TypeError, ValueError):
        raise BenchError(f"{id_}: expected whole numbers for what {made.method} samples itself") from None
    size = made.group or Settings().group
    if not 0 < fresh < size - 1:
        raise BenchError(
            f"{id_}: {made.method} would sample {fresh} of each group of {size} itself; expected 1 to {size - 2} "
            "(a larger group=, or less of its own)"
        )
    return fresh
