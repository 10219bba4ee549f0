"""A language model behind an endpoint that writes."""

from __future__ import annotations

import numpy as np

from ...words import Provenance
from ..bill import Bill
from .client import Endpoint, EndpointError


class EndpointAuthor:
    """Writes what it is asked for; see :class:`apportion.evidence.Author`. What it writes is read as data, never run."""

    provenance: Provenance = "model_judgement"

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def write(self, request: str, rng: np.random.Generator) -> tuple[str, Bill]:
        """The answer to one request. The same request may be put several times: each has an answer of its own."""
        reply = self.endpoint.ask([{"role": "user", "content": request}], sample=int(rng.integers(2**31)))
        if reply.finish == "length":
            raise EndpointError("the answer was cut off: raise max_tokens in the endpoint's sampling")
        if not reply.whole:
            raise EndpointError(f"the answer was withheld ({reply.finish}): {reply.text!r:.60} is not what the model would write")
        return reply.text, Bill(generated=float(reply.written), judge_calls=1.0)
