"""How likely the right answer is: asked of a policy that can be made to answer."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..words import Axis
from .sources import Answerer, Asked, Policy


def answer_belief(batch: Batch, policy: Policy, rng: np.random.Generator, who: str, *, axis: Axis = "prefix") -> Asked:
    """Mean log-probability per token of the reference answer after every prefix, for the method ``who``.

    Privileged: the policy does not see the reference when it acts. Refused where the policy is no Answerer.
    """
    if not isinstance(policy, Answerer):
        raise OptionError(
            f"policy= is {type(policy).__name__}, which has no answer_logp: {who} asks how likely the reference answer is "
            f"(apportion.evidence.Answerer), or learns a stand-in (fit=True)"
        )
    return policy.answer_logp(batch, rng, axis=axis)
