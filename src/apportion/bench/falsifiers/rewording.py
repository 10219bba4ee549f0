"""Other words for the same actions must leave the credit as it was."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...registry import keywords, methods
from ..entrants import Entrant
from ..tabular import Float
from .intervals import Estimate, of_mean
from .replicas import change, largest
from .scene import REPEATED, Scene
from .units import units
from .verdict import Falsifier, Found, number, plain
from .who import turned

#: A change of at most this share of the spread of the credit is none to speak of.
MARGIN = 0.1
#: Changes below this share of the spread are those of sums taken in another order.
SAME = 1e-6


def test(scene: Scene) -> Found:
    before = scene.batches[:REPEATED]
    credits = [units(outcome).credit for outcome in before]
    if not all(c.size for c in credits) or not any(c.any() for c in credits):
        return Found(fixed="silent", note="All credit is 0.")
    spread = np.asarray([float(np.mean(c**2)) for c in credits])
    typical = math.sqrt(float(spread.mean()))
    most = largest(before, scene.reworded) / typical
    if most <= SAME:
        return Found(
            (plain("largest change, of the typical credit", most),), fixed="passed", note="The same, to the last digits."
        )
    moved, again = np.asarray(change(before, scene.reworded)), np.asarray(change(before, scene.replicas))
    both = ~np.isnan(moved + again)
    if both.sum() < 2:
        return Found(fixed="cannot run", note="Credited again, hardly a unit is credited that was credited before.")
    moved, again = moved[both], again[both]
    over = of_mean((moved - again) / spread.mean() - MARGIN**2)
    numbers = (
        number("change, root mean square, of the typical credit", _root(moved / spread.mean())),
        number("the same between replicas", _root(again / spread.mean())),
        plain("largest change, of the typical credit", most),
    )
    return Found(numbers, shown=over.below, refuted=over.above, if_failed=_hashed(scene.entrant))


def _hashed(entrant: Entrant) -> str:
    """What else than the wording a renaming changes: which texts share a weight."""
    spec = methods().get(entrant.method)
    options = keywords(spec.fit) if entrant.ask == "fit" and spec is not None and spec.fit is not None else {}
    if "buckets" not in options:
        return ""
    size = entrant.options.get("buckets", options["buckets"].default)
    return (
        f"Its model reads text hashed into {size} buckets, and renamed words share theirs with others: "
        f"{turned(entrant.id, f'buckets={max(2048, 8 * size)}')} tells whether that is all."
    )


def _root(squares: Float) -> Estimate:
    found = of_mean(squares)
    return replace(found, **{end: math.sqrt(max(getattr(found, end), 0.0)) for end in ("value", "low", "high")})


FALSIFIER = Falsifier(
    name="rewording",
    title="other words for the same actions",
    prediction="Spelling the same actions with other tokens changes no credit beyond what a replica changes.",
    procedure="The same rollouts credited again with every token of an action renamed, one to one, and the same draws; "
    "beside them replicas, in which the words stay and everything asked or learned is drawn anew.",
    threshold=f"The mean square change less that between replicas is below ({MARGIN} of the typical credit)^2 (passed) or above "
    "it (failed): t over batches, p at most .05; else undecided. A change of at most a millionth is none.",
    says={
        "passed": "The credit does not hang on how an action is worded.",
        "failed": "The credit hangs on how an action is worded.",
        "undecided": "Too noisy to say in these rollouts whether the wording changes the credit.",
    },
    test=test,
)
