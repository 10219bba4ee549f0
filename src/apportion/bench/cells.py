"""One cell: one method on one task with one seed, one measure."""

from __future__ import annotations

from .draws import spent, streams
from .entrants import Entrant, run_entrant
from .identification import identify
from .instruments import gradient_rows
from .knobs import entrant as find_entrant
from .learning import learning_rows
from .records import Cell, Row, grouped
from .settings import Settings
from .tabular import Task
from .tasks import find

NAN = float("nan")


def run_cell(cell: Cell, settings: Settings) -> list[Row]:
    """All numbers of a cell; a pure function of its arguments."""
    task, entrant = find(cell.task), find_entrant(cell.method)
    numbers: list[tuple[str, int, float, float]]
    if cell.measure == "gradient":
        numbers = gradient_rows(cell, task, entrant, settings)
    elif cell.measure == "learning":
        numbers = learning_rows(cell, task, entrant, settings)
    else:
        numbers = _single_batch(cell, task, entrant, settings)
    return [
        Row(cell.method, cell.task, cell.seed, cell.measure, metric, batch, lr, value) for metric, batch, lr, value in numbers
    ]


def _single_batch(cell: Cell, task: Task, entrant: Entrant, settings: Settings) -> list[tuple[str, int, float, float]]:
    size = settings.identification.batch if cell.measure == "identification" else settings.cost.batch
    world, own = streams(cell, size)
    outcome = run_entrant(entrant, task, task.start_theta, *grouped(entrant, size, settings.group), world, own)
    if cell.measure == "identification":
        numbers = identify(outcome, settings.identification.epsilon, own)
    else:
        extra = outcome.credit.bill
        n = outcome.rollouts.reward.size
        numbers = {k: getattr(extra, k) / n for k in ("generated", "scored", "env_steps", "judge_calls", "trained")}
        numbers["price"] = spent(outcome).price(settings.prices) / n
    return [(metric, 0, NAN, value) for metric, value in numbers.items()]
