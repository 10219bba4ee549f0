"""Entrants with one knob turned: ``vineppo@k=16``, ``pure-judge80@accuracy=0.9``.

How good must a judge be, how many samples are enough? A sweep is a list of such names; they are entrants like any other.
"""

from __future__ import annotations

import json
from dataclasses import replace

from ..errors import BenchError
from ..registry import keywords, methods
from .catalog import unknown
from .entrants import Entrant, entrants

#: Knobs of simulated judges and policies; all others are options of the method, its collect or its fit.
SOURCE_KNOBS = ("accuracy", "independent", "skill", "noise")


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
    return replace(made, id=id_, title=f"{made.title}, {knobs.replace('=', ' ')}")


def _turned(base: Entrant, part: str, id_: str) -> Entrant:
    knob, found, text = part.partition("=")
    if not found:
        raise BenchError(f"{id_}: '{part}' sets nothing; expected KNOB=VALUE")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    if knob in SOURCE_KNOBS:
        if base.ask not in ("judge", "policy"):
            raise BenchError(f"{id_}: {base.id} asks no simulated judge or policy that could have {knob}")
        return replace(base, source={**base.source, knob: value})
    spec = methods().get(base.method)
    own = set(spec.options) if spec is not None else set()
    for function in (spec.collect, spec.fit) if spec is not None else ():
        own |= set(keywords(function)) - {"rng"} if function is not None else set()
    if knob not in own:
        raise BenchError(f"{id_}: " + unknown("knob", knob, [*own, *SOURCE_KNOBS], f"of {base.method}"))
    return replace(base, options={**base.options, knob: value})
