"""Knobs of simulated sources: who has which, and in what range. Checked before work starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from ..errors import ApportionError, BenchError
from .entrants import Entrant
from .replay import RESTORE_NOTHING, Replay, Restore

#: Whom an entrant has to ask for each knob to mean something. (C3's option ``replay`` has one value wherever it asks a sampler.)
ASKED: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("judge", "editor"), "independent": ("judge",), "lure": ("judge",),
    "skill": ("policy",), "noise": ("policy",),
    "replay": ("sampler", "editor"), "replay_noise": ("sampler", "editor"),
}  # fmt: skip
_CALLED = {"judge": "simulated judge", "policy": "simulated policy", "sampler": "sampler", "editor": "editor"}


def turned(base: Entrant, knob: str, value: Any, id_: str) -> Entrant:
    """``base`` with this knob of its source set; a knob of a source it does not ask is refused."""
    asks = ASKED[knob]
    if base.ask not in asks:
        raise BenchError(f"{id_}: {base.id} asks no {' or '.join(_CALLED[a] for a in asks)} that could have {knob}")
    if knob == "replay":
        if value not in get_args(Replay):
            raise BenchError(f"{id_}: replay = {value}: expected one of {', '.join(get_args(Replay))}")
        return replace(base, source={**base.source, knob: value})
    most = float("inf") if knob == "noise" else 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise BenchError(f"{id_}: {knob} = {value}: expected a number {'of at least 0' if knob == 'noise' else 'from 0 to 1'}")
    return replace(base, source={**base.source, knob: value})


def checked(made: Entrant, id_: str) -> Entrant:
    """``made``, unless the knobs of its source contradict each other, or it asks for what ``replay=none`` does not have."""
    mode, noise = made.source.get("replay", "exact"), made.source.get("replay_noise", 0.0)
    try:
        Restore(mode, noise)
    except ApportionError as error:
        raise BenchError(f"{id_}: {error}") from None
    if mode == "none" and made.method not in RESTORE_NOTHING:
        raise BenchError(
            f"{id_}: {made.method} goes on from the middle of rollouts, and with replay=none no state there can be had again; "
            "give replay=exact, replayed or text, or a method that asks for no continuation"
        )
    return made
