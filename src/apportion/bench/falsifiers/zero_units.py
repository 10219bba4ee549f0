"""Units at which no action was better than another must get about 0."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..tabular import Float
from .intervals import Estimate, jackknife
from .moments import Sums, pulled, squared, sums
from .scene import BATCHES, Scene
from .units import NOTHING, units
from .verdict import Falsifier, Found, Number, number, plain

#: "About 0": root mean square of the mean credit at most this share of that where actions matter.
MARGIN = 0.25


def test(scene: Scene) -> Found:
    still, live = sums(scene, False), sums(scene, True)
    if still.count.sum() == 0:
        return Found(fixed="silent", note="No unit without an effect is in the loss: nothing is said of them.")
    if live.count.sum() == 0:
        return Found(fixed="silent", note="No unit with an effect is in the loss: there is nothing to compare with.")
    sizes = [float(np.abs(x.credit).max(initial=0.0)) for x in (still, live)]
    if max(sizes) == 0:
        return Found(fixed="silent", note="All credit is 0.")
    share = plain("share of all |credit| where nothing matters", _share(scene))
    if sizes[0] <= NOTHING * sizes[1]:
        return Found((share,), fixed="passed", note="Exactly 0 at every one of them.")

    def excess(use: Float) -> float:
        return squared(still, use) - MARGIN**2 * squared(live, use)

    over = jackknife(BATCHES, excess)
    leak = _ratio("mean credit where nothing matters, of that where it does", still, live, squared)
    moves = _ratio("the same, between actions only", still, live, pulled)
    part = plain("share of all units where nothing matters", float(still.count.sum() / (still.count.sum() + live.count.sum())))
    numbers = tuple(x for x in (leak, moves) if x is not None)
    return Found((*numbers, share, part), shown=over.below, refuted=over.above, if_failed=_why(moves))


def _ratio(what: str, still: Sums, live: Sums, statistic: Callable[[Sums, Float | None], float]) -> Number | None:
    """Root of the ratio of two mean squares; None where the one below is not above 0."""
    below = jackknife(BATCHES, lambda use: statistic(live, use))
    if below.low <= 0:
        return None
    found = jackknife(BATCHES, lambda use: statistic(still, use) / statistic(live, use))
    value, low, high = (math.sqrt(max(x, 0.0)) for x in (found.value, found.low, found.high))
    return number(what, Estimate(value, low, high, found.above, found.below))


def _why(moves: Number | None) -> str:
    """Whether what is wrong there is said of the place, or of what was done."""
    if moves is None or moves.low is None or moves.high is None:
        return ""
    if moves.high <= MARGIN:
        return "It says how well things stand there, alike for all actions: that moves no gradient."
    return "It tells actions apart that are worth the same: that moves the policy." if moves.low > MARGIN else ""


def _share(scene: Scene) -> float:
    still = whole = 0.0
    for outcome in scene.batches:
        u = units(outcome)
        size = np.abs(u.credit)
        still, whole = still + float(size[~u.matters].sum()), whole + float(size.sum())
    return still / whole if whole > 0 else 0.0


FALSIFIER = Falsifier(
    name="zero_units",
    title="units without an effect",
    prediction="Where every action is worth the same, the mean credit given what was seen and done is about 0.",
    procedure="Mean credit per context and action; its mean square where no action has an advantage beside that where one has, "
    "from pairs of independent batches, so that the noise of single samples does not count; jackknife over batches.",
    threshold=f"The root of their ratio is below {MARGIN} (passed) or above it (failed): t of the jackknife, p at most .05; "
    "else undecided. A margin, since with enough rollouts any bias of a small group differs from 0.",
    says={
        "passed": "Units without an effect get about 0 on average.",
        "failed": "Units without an effect get credit on average, not by noise alone.",
        "undecided": "Too noisy to say in these rollouts whether units without an effect get about 0 on average.",
    },
    test=test,
)
