"""How long a transformer takes, before it runs: from the texts it reads and the parameters it has."""

from __future__ import annotations

from collections.abc import Iterable

from ..tabular import Task
from .learned import Reading
from .task import NeuralTask

#: Multiplications a second of one core in double precision, forward and backward, as these shapes reach them.
SPEED = 1e10
#: What a step of reading takes beside a step on the table: texts are read with and without their end, and at their end.
READ = 1.5


def update_seconds(task: Task) -> float:
    """One look at every text with its gradient: 6 multiplications a parameter and token. 0 for a table."""
    if not isinstance(task, NeuralTask):
        return 0.0
    tokens = len(task.texts) * len(task.reader.begun) * (task.texts.shape[1] + task.words.shape[1] - 1)
    return float(6.0 * tokens * task.model.parameters / SPEED)


def start_seconds(tasks: Iterable[Task]) -> float:
    """What each process takes to make the first checkpoints of these tasks, once each; 0 without a transformer."""
    found: dict[str, float] = {}
    for task in tasks:
        if isinstance(task, NeuralTask):
            reading: Reading = task.reading
            found[task.id.partition("@")[0]] = READ * reading.steps * update_seconds(task)
    return sum(found.values())


def parameters(task: Task) -> int:
    """How many the policy has, without making the first checkpoint."""
    return task.model.parameters if isinstance(task, NeuralTask) else int(task.start_theta.size)
