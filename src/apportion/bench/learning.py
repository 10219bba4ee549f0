"""Training from scratch: what it costs to get to a share of the attainable return."""

from __future__ import annotations

from functools import cache

import numpy as np

from .draws import grouped, spent, streams
from .entrants import Entrant, run_entrant
from .gradient import update
from .offpolicy import surrogate_update
from .oracle import attainable, expected_return
from .records import Cell
from .settings import Settings
from .tabular import Task
from .tasks import find

Numbers = list[tuple[str, int, float, float]]


@cache
def _best(task_id: str) -> float:
    return attainable(find(task_id))


def learning_rows(cell: Cell, task: Task, entrant: Entrant, settings: Settings) -> Numbers:
    """One training run per learning rate and batch size, every method on the same grid.

    Every run has the same budget: what plain rollouts and training on them cost for ``max_updates``
    updates at the largest batch size. A small batch gets more updates for it, a dear method fewer.
    """
    rules = settings.learning
    turn = settings.prices["generated"] + settings.prices["trained"]
    tokens = task.words.shape[1] + (2 if task.layout == "steps" else 0)
    step = 0.0 if task.layout == "steps" else settings.prices["env_steps"]
    each = task.horizon * (tokens * turn + step)
    limit = each * max(rules.batch_sizes) * rules.max_updates
    numbers: Numbers = []
    for batch in rules.batch_sizes:
        for lr in rules.lrs:
            found = train(cell, task, entrant, settings, batch, lr, limit)
            numbers += [(metric, batch, lr, value) for metric, value in found.items()]
    return numbers


def train(
    cell: Cell, task: Task, entrant: Entrant, settings: Settings,
    batch: int, lr: float, limit: float,
) -> dict[str, float]:  # fmt: skip
    """Adam ascent along the method's updates until the target is reached or ``limit`` spent.

    ``cost`` counts everything up to the last update: rollouts, evidence, training. The policy's
    exact return is looked at by the instrument only; no method sees it. An entrant with several
    epochs takes that many steps on each batch, with ratios and clips from the second on.
    """
    best = _best(cell.task)
    theta = task.start_theta
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    start = value = expected_return(task, theta)
    goal, cost, step = settings.learning.target * best, 0.0, 0
    learned, shape = None, grouped(entrant, batch, settings.group)
    while value < goal and cost < limit:
        world, own = streams(cell, batch, step)
        outcome = run_entrant(entrant, task, theta, *shape, world, own, learned=learned)
        learned = outcome.learned
        cost += spent(outcome, entrant.epochs).price(settings.prices)
        for epoch in range(entrant.epochs):
            r, credit = outcome.rollouts, outcome.credit
            g = surrogate_update(r, credit, theta) if epoch else update(r, credit)
            step += 1
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            theta = theta + lr * task.rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-12)
        value = expected_return(task, theta)
    return {
        "reached": float(value >= goal), "cost": cost, "updates": float(step), "final": value,
        "attainable": best, "start": start,
    }  # fmt: skip
