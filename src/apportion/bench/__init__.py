"""The benchmark: tasks with exact truth, and what each method makes of them."""

from .layouts import to_batch
from .oracle import oracle, truth
from .samplers import TabularSampler
from .tabular import Task, chain
from .world import roll

__all__ = ["TabularSampler", "Task", "chain", "oracle", "roll", "to_batch", "truth"]
