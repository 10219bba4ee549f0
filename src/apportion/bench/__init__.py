"""The benchmark: tasks with exact truth, and what each method makes of them."""

from .oracle import oracle, truth
from .tabular import Task, chain
from .world import TabularSampler, roll, to_batch

__all__ = ["TabularSampler", "Task", "chain", "oracle", "roll", "to_batch", "truth"]
