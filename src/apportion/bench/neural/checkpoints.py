"""Exact gradient ascent of the transformer: what it attains, and checkpoints along the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..oracle import expected_return, oracle, truth
from ..tabular import Float

if TYPE_CHECKING:
    from .task import NeuralTask

RATE, STEPS = 0.001, 80


@dataclass(frozen=True, eq=False)
class Path:
    """Parameters (steps + 1, n, 1) along exact ascent from the first checkpoint, and the return at each, J (steps + 1,)."""

    thetas: Float
    J: Float

    @property
    def attainable(self) -> float:
        """The best return on the path: what this policy class and this way of training get to."""
        return float(self.J.max())

    def at(self, percent: int) -> Float:
        """The first parameters that have won ``percent`` of the gain that the path wins."""
        goal = self.J[0] + percent / 100 * (self.attainable - self.J[0])
        return np.asarray(self.thetas[int(np.argmax(goal - 1e-12 <= self.J))])


def ascend(task: NeuralTask, rate: float = RATE, steps: int = STEPS) -> Path:
    """``steps`` steps of Adam along the exact gradient from the first checkpoint."""
    theta = task.first_theta
    m, s = np.zeros_like(theta), np.zeros_like(theta)
    thetas, found = [theta], [expected_return(task, theta)]
    with oracle():
        for i in range(1, steps + 1):
            g = truth(task, theta).gradient
            m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
            theta = theta + rate * (m / (1 - 0.9**i)) / (np.sqrt(s / (1 - 0.999**i)) + 1e-12)
            thetas.append(theta)
            found.append(expected_return(task, theta))
    return Path(np.stack(thetas), np.asarray(found))
