"""Targets of a model of Q by temporal differences, where the value of a state is the Q of the step that led to it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .changes import follows
from .scans import gae_and_returns

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Terminal = Literal["replace", "literal"]


def promise_targets(
    m: Float, reward: Float, bounds: Int, *, gamma: float, lam: float, start: Float, terminal: Terminal
) -> tuple[Float, Float]:
    """Advantages A and targets Q of every step, given the present predictions ``m`` = M_t of a model of Q.

        delta_t = gamma M_t - M_{t-1},      delta_T = R - M_{T-1}                      (M_{-1} = start)
        A_t = sum_k (gamma lam)^k delta_{t+k},      Q_t = A_t + M_{t-1},      Q_T = R

    m: (n,). reward, start: R and M_{-1} of each trajectory. bounds: steps of the trajectories. The next state follows
    from the step, so its value *is* the step's Q, and Q_t does not depend on ``start``.
    terminal: "literal" adds gamma M_T to delta_T, as the paper prints it: what M_T already knows of R counts twice.
    """
    ends, n = bounds[1:] - 1, m.size
    before = np.append(0.0, m[:-1])
    before[bounds[:-1]] = start
    r = np.zeros(n)
    r[ends] = reward
    after = m[ends] if terminal == "literal" else np.zeros(ends.size)
    advantage, target = gae_and_returns(r, before, np.ones(n, dtype=np.bool_), bounds, gamma, lam, after)
    target[ends] = reward
    return advantage, target


def promise_losses(m: Float, target: Float, bounds: Int) -> tuple[float, float]:
    """L_Q = mean (M_t - Q_t)^2 / 2 and L_A, the same of their changes from step to step (0 where no step follows another)."""
    error = m - target
    change = np.diff(error)[follows(bounds)[1:]]
    return float(np.mean(error**2) / 2), float(np.mean(change**2) / 2) if change.size else 0.0
