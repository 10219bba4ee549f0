"""What an update is worth beside RLOO's, as one knob of the task is turned."""

from __future__ import annotations

import numpy as np

from ..bifurcation import bifurcation
from ..entrants import entrants
from ..instruments import gradient_rows
from ..records import Cell
from ..settings import Gradient, Settings
from ..tabular import Task
from .finding import Claim, Finding, Number, over_seeds

#: The batch whose updates are compared, and another from which their noise is learned.
BATCH, OTHER = 256, 64
SETTINGS = Settings(gradient=Gradient(batch_sizes=(OTHER, BATCH), replicates=(8, 6)))


def worth(id_: str, task: Task, seed: int) -> float:
    """Noise-to-signal of RLOO's update over that of ``id_``, at equal batches; 0 where it does not point uphill."""
    noise = []
    for one in ("rloo", id_):
        rows = gradient_rows(Cell(one, task.id, seed, "gradient"), task, entrants()[one], SETTINGS)
        found = {metric: value for metric, batch, _, value in rows if batch == BATCH}
        rho = found["inner"] / np.sqrt(found["norm2"] * found["truth2"])
        noise.append(1.0 / rho**2 - 1.0 if rho > 0 else np.inf)
    return float(noise[0] / noise[1])


def _log_worth(what: str, id_: str, task: Task, seeds: int) -> Number:
    return over_seeds(
        f"log of what {what} is worth in RLOO's", [float(np.log(max(worth(id_, task, s), 1e-3))) for s in range(seeds)]
    )


def revisits(seeds: int) -> Finding:
    numbers = []
    for rooms, what in ((1, "states always recur"), (64, "states hardly recur")):
        task = bifurcation(f"claims/rooms-{rooms}", horizon=20, rooms=rooms, title=what)
        numbers.append(_log_worth(f"GiGPO's update where {what}", "gigpo", task, seeds))
    often, seldom = numbers
    if often.above and not seldom.above:
        return Finding("holds only when", tuple(numbers), "the batch comes back to the same states")
    return Finding("holds" if often.above else "does not hold", tuple(numbers))


def entropy(seeds: int) -> Finding:
    numbers = []
    for routine, fork, what in ((0.6, 1.0, "unsure where it matters"), (1.0, 0.6, "sure where it matters")):
        task = bifurcation(f"claims/{what.split()[0]}", horizon=20, routine_entropy=routine, fork_entropy=fork, title=what)
        numbers.append(_log_worth(f"CARL's update where the policy is {what}", "carl", task, seeds))
    aligned, misaligned = numbers
    if aligned.above and not misaligned.above:
        return Finding("holds only when", tuple(numbers), "the policy is unsure where it matters, and sure elsewhere")
    return Finding("holds" if aligned.above and misaligned.above else "does not hold", tuple(numbers))


CLAIMS = (
    Claim(
        "anchor-states",
        "Groups of equal states give cleaner updates at no cost.",
        "GiGPO (2505.10978)",
        revisits,
    ),
    Claim(
        "entropy-finds-what-matters",
        "Training on the actions at which the policy is unsure gives cleaner updates.",
        "CARL (2512.04949)",
        entropy,
    ),
)
