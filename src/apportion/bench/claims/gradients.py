"""What an update is worth beside RLOO's, as states recur or not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..bifurcation import bifurcation
from ..entrants import entrants
from ..instruments import gradient_rows
from ..records import Cell
from ..settings import Gradient, Settings
from ..tabular import Task
from .finding import Claim, Finding, Number, over_seeds, said

#: The batch whose updates are compared, and another from which their noise is learned.
BATCH, OTHER = 256, 64
SETTINGS = Settings(gradient=Gradient(batch_sizes=(OTHER, BATCH), replicates=(8, 6)))
#: Logs of gains that are surely below this count as none: a quarter.
NONE = float(np.log(1.25))
#: Look-alikes of every situation: with one states always recur, with many hardly.
ROOMS = ((1, "states always recur"), (32, "states hardly recur"))


def worth(id_: str, task: Task, seed: int) -> float:
    """Noise-to-signal of RLOO's update over that of ``id_``, at equal batches; 0 where it does not point uphill.

    RLOO's mean is the exact gradient, so that its noise needs no estimate of where it points.
    """
    noise = []
    for one in ("rloo", id_):
        rows = gradient_rows(Cell(one, task.id, seed, "gradient"), task, entrants()[one], SETTINGS)
        found = {metric: value for metric, batch, _, value in rows if batch == BATCH}
        inner = found["truth2"] if one == "rloo" else found["inner"]
        noise.append(found["norm2"] * found["truth2"] / inner**2 - 1.0 if inner > 0 else np.inf)
    return float(noise[0] / noise[1])


def log_worth(what: str, id_: str, task: Task, seeds: int) -> Number:
    """Mean log of :func:`worth`: above 0 the update is cleaner than RLOO's."""
    return over_seeds(
        f"log of what {what} is worth in RLOO's", [float(np.log(max(worth(id_, task, s), 1e-3))) for s in range(seeds)]
    )


def revisits(seeds: int) -> Finding:
    tasks = {what: bifurcation(f"claims/rooms-{rooms}", horizon=20, rooms=rooms, title=what) for rooms, what in ROOMS}
    numbers = [log_worth(f"GiGPO's update where {what}", "gigpo", task, seeds) for what, task in tasks.items()]
    numbers += [log_worth(f"Pooled TD's where {what}", "pooled_td", task, seeds) for what, task in tasks.items()]
    often, seldom = numbers[:2]
    return cleaner(often, seldom, numbers, "the batch comes back to the same states")


def cleaner(here: Number, there: Number, numbers: Sequence[Number], when: str) -> Finding:
    """Whether updates are surely cleaner where the claim's condition is met (``here``), and elsewhere (``there``) as well."""
    if here.above and there.high < NONE:
        return Finding("holds only when", tuple(numbers), when)
    return said(here.above and there.above, numbers, fails=not here.above and here.high < NONE)


CLAIMS = (
    Claim(
        "anchor-states",
        "Comparing returns within groups of equal states gives cleaner updates at no cost.",
        "GiGPO (2505.10978)",
        revisits,
        "Three forks in 20 turns, without look-alikes and with 32 of every situation: GiGPO's update against RLOO's of as many "
        "rollouts, and beside it Pooled TD, which chains the values of the same groups instead. The verdict is GiGPO's; a gain "
        "that is surely less than a quarter (.223 in logs) is none",
    ),
)
