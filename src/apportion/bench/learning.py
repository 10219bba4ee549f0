"""Training from scratch: what it costs to get to a share of the attainable return."""

from __future__ import annotations

from functools import cache

import numpy as np

from .collapse import fell, stalled, visited_entropy
from .curve import curve_rows
from .draws import spent, streams
from .entrants import Entrant, run_entrant
from .gradient import update
from .offpolicy import surrogate_update
from .oracle import attainable, expected_return
from .records import Cell, grouped
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
    """Adam ascent along the method's updates until the target is reached or ``limit`` spent; with curves, until the latter.

    ``cost`` counts everything up to the update that reached the target, or the last: rollouts, evidence, training. The
    policy's exact return is looked at by the instrument only; no method sees it. An entrant with several
    epochs takes that many steps on each batch, with ratios and clips from the second on. final: the return at the end.

    best: the highest return seen. collapsed: 1 where the run lost what it had gained or stopped to try (see
    :mod:`.collapse`), else 0. entropy, first_entropy: of the policy at the last and the first batch; NaN without any.
    """
    most = _best(cell.task)
    theta = task.start_theta
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    returns, costs = [expected_return(task, theta)], [0.0]
    rules = settings.learning
    goal, cost, step = rules.target * most, 0.0, 0
    first, last = float("nan"), None
    learned, shape = None, grouped(entrant, batch, settings.group)
    while cost < limit and (returns[-1] < goal or rules.curve):
        world, own = streams(cell, batch, step)
        outcome = run_entrant(entrant, task, theta, *shape, world, own, learned=learned)
        learned, last = outcome.learned, outcome
        first = visited_entropy(outcome) if step == 0 else first
        cost += spent(outcome, entrant.epochs).price(settings.prices)
        for epoch in range(entrant.epochs):
            r, credit = outcome.rollouts, outcome.credit
            g = surrogate_update(r, credit, theta) if epoch else update(r, credit)
            step += 1
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            theta = theta + lr * task.rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-12)
        returns.append(expected_return(task, theta))
        costs.append(cost)
    there = next((i for i, found in enumerate(returns) if found >= goal), None)
    at, reached = len(returns) - 1 if there is None else there, there is not None
    entropy = float("nan") if last is None else visited_entropy(last)
    return {
        "reached": float(reached), "cost": costs[at], "updates": float(at * entrant.epochs), "final": returns[-1],
        "attainable": most, "start": returns[0], "best": max(returns),
        "collapsed": float(fell(returns, goal) or stalled(first, entropy, reached)),
        "first_entropy": first, "entropy": entropy, **curve_rows(costs, returns, limit, rules.curve),
    }  # fmt: skip
