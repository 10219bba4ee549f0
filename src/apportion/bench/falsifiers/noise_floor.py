"""What tells the deciding units from the others must stand above what changes when a batch is credited again."""

from __future__ import annotations

import math

import numpy as np

from ..tabular import Float
from .intervals import Estimate, jackknife
from .moments import squared, sums
from .replicas import change
from .scene import BATCHES, REPEATED, Scene
from .verdict import Falsifier, Found, number, plain


def test(scene: Scene) -> Found:
    still, live = sums(scene, False), sums(scene, True)
    if live.count.sum() == 0:
        return Found(fixed="silent", note="No unit with an effect is in the loss.")
    if not live.credit.any() and not still.credit.any():
        return Found(fixed="silent", note="All credit is 0.")
    noise = np.asarray(change(scene.batches[:REPEATED], scene.replicas, where=True)) / 2.0
    twice = ~np.isnan(noise)
    if twice.sum() < 2:
        return Found(
            fixed="silent", note="Hardly a unit with an effect is credited in both replicas: there is nothing to compare."
        )

    def effect(use: Float) -> float:
        return squared(live, use) - squared(still, use)

    def above(use: Float) -> float:
        kept = twice & (use[:REPEATED] > 0)
        return effect(use) - float(noise[kept].mean())

    seen, over = jackknife(BATCHES, effect), jackknife(BATCHES, above)
    floor = math.sqrt(float(noise[twice].mean()))
    value, low, high = (math.copysign(math.sqrt(abs(x)), x) for x in (seen.value, seen.low, seen.high))
    shown = number("effect", Estimate(value, low, high, seen.above, seen.below))
    note = "Nothing it asks or learns is random: credited again, the batch gets the same." if floor == 0 else ""
    return Found((shown, plain("replica noise, standard deviation", floor)), shown=over.above, refuted=over.below, note=note)


FALSIFIER = Falsifier(
    name="noise_floor",
    title="replica noise",
    prediction="What sets apart the credit of units with an effect is larger than what changes when the batch is credited again.",
    procedure="Effect: root of the mean square of the mean credit per context and action where actions matter, less that where "
    "they do not. Noise: standard deviation of a unit's credit over replicas, the same rollouts with everything that "
    "is asked, sampled or learned drawn anew. Frozen errors of judges are no noise: replicas do not show them.",
    threshold="The effect's square is above (passed) or below (failed) the noise's: t of the jackknife over batches, p at most "
    ".05; else undecided.",
    says={
        "passed": "The effect stands above the noise of replicas.",
        "failed": "The effect of a unit does not stand above the noise of replicas.",
        "undecided": "Too noisy to say in these rollouts whether the effect stands above the noise of replicas.",
    },
    test=test,
)
