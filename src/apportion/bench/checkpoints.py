"""Tasks with a policy that has trained for a while, and the one it started from as reference.

``TASK@50`` is TASK after exact gradient ascent has won half of the return that can be won: what a method
that compares a policy with its reference has to be seen on. ``TASK@0`` is TASK.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from ..errors import BenchError
from .oracle import attainable, expected_return, oracle, truth
from .tabular import Float, Task


def trained(task: Task, percent: int) -> Task:
    """The task as it is after ``percent`` of the attainable gain, reference = start."""
    if task.neural:
        from .neural.task import NeuralTask
        from .neural.task import trained as neural

        assert isinstance(task, NeuralTask)
        return neural(task, percent)
    if not 0 <= percent <= 100:
        raise BenchError(f"{task.id}@{percent}: expected 0 to 100, per cent of the attainable gain")
    theta = _ascend_to(task, percent / 100)
    return replace(
        task,
        id=f"{task.id}@{percent}",
        title=f"{task.title}, {percent} % trained",
        tags=(*task.tags, "trained"),
        offset=task.offset + task.features @ theta,
        reference=task.offset,
        definition={**task.definition, "trained": percent},
    )


def _ascend_to(task: Task, share: float) -> Float:
    """Parameters on the path of exact gradient ascent where the share of the gain is first reached."""
    theta = task.start_theta
    if share == 0:
        return theta
    start, best = expected_return(task, theta), attainable(task)
    goal = start + min(share, 0.99) * (best - start)  # the last percent would take for ever
    m, s = np.zeros_like(theta), np.zeros_like(theta)
    with oracle():
        for i in range(1, 2000):
            if expected_return(task, theta) >= goal:
                break
            g = truth(task, theta).gradient
            m, s = 0.9 * m + 0.1 * g, 0.99 * s + 0.01 * g * g
            theta = theta + 0.05 * (m / (1 - 0.9**i)) / (np.sqrt(s / (1 - 0.99**i)) + 1e-12)
    return theta


@cache
def split(id_: str) -> tuple[str, int | None]:
    """``"a/b@50"`` -> ``("a/b", 50)``; no percentage: None."""
    name, sign, percent = id_.partition("@")
    return (name, int(percent)) if sign and percent.isdigit() else (id_, None)
