"""When a training run has collapsed: what it had gained is gone, or it has stopped to try anything before it got there.

Trainers speak of collapse when a reward that had risen falls back to where it began (RAGEN's "echo trap", Wang et al. 2025,
arXiv 2504.20073), and of entropy collapse when the policy has become all but deterministic, after which it learns no more
(Cui et al. 2025, arXiv 2505.22617). Returns here are exact, so no smoothing is needed to tell a fall from noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .entrants import Outcome

#: A run must once have come this share of the way from its start to the goal, for there to be something to lose.
RISEN = 0.2
#: It has collapsed once no more than this share of its highest gain is left.
LEFT = 0.1
#: A policy whose mean entropy is below this share of the first has stopped to try.
CERTAIN = 0.01


def fell(returns: Sequence[float], goal: float) -> bool:
    """Whether the return ever stood a fifth of the way to ``goal`` above its start and lost nine tenths of its gain.

        max(J_0 .. J_s) - J_0 >= RISEN (goal - J_0)   and   J_t - J_0 <= LEFT (max(J_0 .. J_s) - J_0)   for some s < t

    returns: J_0, J_1, ..., before and after each update. A run that recovers later has collapsed all the same: nobody
    who watches it can know that it will. One that never rose has not learnt, which is something else.
    """
    if len(returns) < 2 or goal <= returns[0]:
        return False
    gained = np.asarray(returns) - returns[0]
    best = np.maximum.accumulate(gained)
    return bool(((best >= RISEN * (goal - returns[0])) & (gained <= LEFT * best)).any())


def stalled(first: float, last: float, reached: bool) -> bool:
    """Whether the policy's entropy is all but spent and the goal was not reached; False where either is unknown (NaN)."""
    return not reached and last < CERTAIN * first


def visited_entropy(outcome: Outcome) -> float:
    """Mean entropy, in nats, of the policy over the choices of a batch it sampled."""
    r = outcome.first
    task, T = r.task, r.actions.shape[1]
    pi = task.policy(r.theta)
    entropy = -(pi * np.log(np.maximum(pi, 1e-300))).sum(axis=1)
    context = task.context[r.prompt[:, None], np.arange(T)[None, :], r.states[:, :T]]
    return float(entropy[context].mean())
