"""Two worlds that write the same logs and have opposite truth: whoever tells a sign from logs is wrong in one of them."""

from __future__ import annotations

import numpy as np

from ..entrants import Entrant
from .intervals import LEVEL, Estimate, of_mean
from .scene import Scene
from .units import units
from .verdict import Falsifier, Found, number, plain
from .who import turned

#: True contrast of action 1 with action 0 at the first turn, in each world.
WORLDS = {"witness/plus": 0.6, "witness/minus": -0.2}


def test(scene: Scene) -> Found:
    if not (scene.entrant.fits("turns") or scene.entrant.fits("team")):
        return Found(fixed="cannot run", note="It credits steps of one answer, and an answer hides nothing from its own text.")
    told = {id_: _contrast(scene, id_) for id_ in WORLDS}
    if any(found is None for found in told.values()):
        return Found(fixed="passed", note="It leaves the deciding unit out of the loss, or gives no opinion of it.")
    known = {id_: found for id_, found in told.items() if found is not None}
    numbers = [number(f"credit of action 1 less that of action 0, {id_}", found) for id_, found in known.items()]
    numbers += [plain(f"true contrast, {id_}", value) for id_, value in WORLDS.items()]
    wrong = [found.below if WORLDS[id_] > 0 else found.above for id_, found in known.items()]
    return Found(
        tuple(numbers),
        refuted=min(1.0, 2.0 * min(wrong)),
        otherwise="passed",
        note=_note(known),
        if_failed=_restored(scene.entrant),
    )


def _contrast(scene: Scene, id_: str) -> Estimate | None:
    """Mean credit of action 1 less that of action 0 at the deciding turn, over batches; None where it is not credited."""
    found = []
    for outcome in scene.world(id_):
        u = units(outcome)
        first = u.time == 0
        sides = [u.credit[first & (u.action == a)] for a in (0, 1)]
        if all(side.size for side in sides):
            found.append(float(sides[1].mean() - sides[0].mean()))
    return of_mean(_clean(found)) if len(found) > 1 else None


def _clean(values: list[float]) -> list[float]:
    """Sums in another order are no credit."""
    return [0.0 if abs(value) < 1e-12 else value for value in values]


def _note(told: dict[str, Estimate]) -> str:
    speaks = [id_ for id_, found in told.items() if found.low > 0 or found.high < 0]
    right = [id_ for id_ in speaks if np.sign(told[id_].value) == np.sign(WORLDS[id_])]
    if len(right) == len(WORLDS):
        return "It knows: right in both worlds, which logs alone cannot be."
    if not speaks:
        return "It tells no sign in either world."
    return ""


def _restored(entrant: Entrant) -> str:
    """Who could have known, and why it does not."""
    if entrant.ask != "sampler":
        return ""
    why = (
        "It had fresh rollouts from restored states, and still sets rollouts against each other that differ in what no text shows"
    )
    if entrant.method == "vineppo":
        why += f": equal texts share one answer; with {turned(entrant.id, 'share=false')} every state is asked by itself"
    return f"{why}."


FALSIFIER = Falsifier(
    name="witness",
    title="a pair of worlds no log can tell apart",
    prediction="Where the logs do not identify the effect of a unit, no sign is told with confidence that is wrong in one world.",
    procedure="Mean credit of action 1 less that of action 0 at the deciding turn, in both worlds; the logs have the same law, "
    "the true contrast is +0.6 in one and -0.2 in the other.",
    threshold=f"In neither world is the wrong sign told with confidence: one-sided t over batches, twice the smaller p (two "
    f"worlds) above {LEVEL}. Silence passes; so does knowing, by restoring states.",
    says={
        "passed": "It does not claim what logs cannot show.",
        "failed": "It tells a sign with confidence, which is wrong in one of two worlds with the same logs.",
    },
    test=test,
)
