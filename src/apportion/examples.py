"""Small batches to try things on."""

from __future__ import annotations

from .batch import Batch
from .errors import OptionError


def example(name: str = "agent") -> Batch:
    """A small batch by name: "agent" (tool use with recurring states), "math" (reasoning steps)."""
    makers = {"agent": _agent}
    if name not in makers:
        raise OptionError(f"no example '{name}'; there are: {', '.join(makers)}")
    return makers[name]()


def _agent() -> Batch:
    return Batch.from_turns([[2, 3], [4]], outcome=[1.0, 0.0], group=["a", "a"])
