"""Belief in a hidden answer as a whole: its log-probability summed over its tokens, asked or learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..structure import Float
from .learned import FLOOR, _evidence
from .prefix import LearnedPrefix
from .sources import Evidence


@dataclass(frozen=True, eq=False)
class LearnedSecret(LearnedPrefix):
    """log P(success | prefix) in place of the secret's log-probability: evidence ``secret_logp``.

    Learned from outcomes alone: it knows no secret and is not privileged.
    """

    def evidence(self, batch: Batch) -> Evidence:
        return _evidence("secret_logp", np.log(np.maximum(self.chance(batch), FLOOR)), self.axis, self._cost(batch))


def lengths_of(answer_tokens: object, batch: Batch) -> Float:
    """Tokens of each trajectory's secret, shape (N,), from one number for all or one per trajectory."""
    try:
        given = np.asarray(answer_tokens, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionError(f"answer_tokens = {answer_tokens!r}: expected one number, or one per trajectory") from None
    if given.shape not in ((), (batch.n_trajectories,)):
        raise OptionError(f"answer_tokens has shape {given.shape}, expected one number or ({batch.n_trajectories},)")
    bad = ~(given >= 1) | ~np.isfinite(given)
    if bad.any():
        raise OptionError(f"answer_tokens = {given[bad].ravel()[0] if given.ndim else given}: expected at least 1 token")
    return np.array(np.broadcast_to(given, (batch.n_trajectories,)))
