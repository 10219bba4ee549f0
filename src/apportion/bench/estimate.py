"""What a run will take, before it starts: time and peak memory, cell by cell.

``costs.json`` holds what one batch of each entrant took on one core: measured once, by
:mod:`apportion.bench.calibrate`. A probe of a second or less says how fast this machine is beside that one.
"""

from __future__ import annotations

import json
import time
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Any, NamedTuple

from ..errors import BenchError
from .entrants import Entrant, run_entrant
from .knobs import entrant as find_entrant
from .memory import PARENT, WORKER, Memory
from .neural.time import parameters, start_seconds, update_seconds
from .records import Cell, Layout
from .settings import Settings
from .suites import Plan
from .tabular import Task
from .tasks import find

START = 3.0  # seconds until the workers of a run are there
EARLY = 0.4  # of the budget of a training run: most reach the target before it is spent
LOOK = 40e6  # bytes of what instruments and tasks take themselves
TOUCH = 2.2e-9  # seconds a byte, of what tokens beyond those of the tasks that were measured take
PROBE = ("rloo", "bifurcation/horizon-10", 512)


class BatchCost(NamedTuple):
    """One credited batch: seconds = fixed + turn * turns * (T / T0)^power.

    room: bytes a turn. dear: its price beside plain rollouts.
    """

    fixed: float
    turn: float
    power: float
    room: float
    dear: float

    def seconds(self, batch: int, horizon: int, base: int) -> float:
        return float(self.fixed + self.turn * batch * horizon * (horizon / base) ** self.power)


#: Horizons of the tasks that ``costs.json`` was measured on.
BASE: dict[Layout, int] = {"turns": 10, "steps": 10, "team": 12}


class Estimate(NamedTuple):
    """What a plan takes. seconds: of one core; wall: with ``jobs`` workers on idle cores; peak: bytes at most, all processes.

    slower: this machine's time beside that of the one ``costs.json`` was measured on.
    crowded: cells that run with fewer beside them, so that memory stays within its bound. too_large: cells
    that are expected to fail, since not even alone they fit.
    """

    cells: int
    jobs: int
    seconds: float
    wall: float
    peak: float
    slower: float
    by_measure: dict[str, tuple[int, float]]
    longest: list[tuple[str, float]]
    crowded: int
    too_large: list[str]


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((files(__package__) / "costs.json").read_text("utf-8"))
    return table


@cache
def _cost(id_: str, ask: str, layout: Layout) -> BatchCost:
    """What was measured for the entrant; where it was not (a knob turned, one's own), its base or the mean of its kind."""
    known = _table()["entrants"]
    for name in (id_, id_.partition("@")[0]):
        if layout in known.get(name, {}).get("cost", {}):
            return BatchCost(*known[name]["cost"][layout])
    of_layout = {name: one for name, one in known.items() if layout in one["cost"]}
    alike = [one["cost"][layout] for one in of_layout.values() if one["ask"] == ask]
    return BatchCost(*map(fmean, zip(*(alike or [one["cost"][layout] for one in of_layout.values()]), strict=True)))


def seconds(cell: Cell, settings: Settings) -> float:
    """Expected time of a cell on the core that ``costs.json`` was measured on."""
    task, entrant, cost = _known(cell)
    base, model = BASE[task.layout], update_seconds(task)  # of a transformer; a table's is in the cost of a batch

    def batch(size: int) -> float:
        longer = TOUCH * cost.room * max(_longer(task) - 1.0, 0.0) * size * task.horizon
        return cost.seconds(size, task.horizon, base) + longer + model

    if cell.measure == "gradient":
        looks = sum(n * (0.002 + 1e-6 * b * task.horizon) for b, n in settings.gradient.sizes(task.horizon))
        return 0.03 + looks + sum(n * batch(b) for b, n in settings.gradient.sizes(task.horizon))
    if cell.measure == "learning":
        rules = settings.learning
        all_of_it = max(rules.batch_sizes) * rules.max_updates
        step = {b: batch(b) + entrant.epochs * (0.002 + 5e-8 * b * task.horizon) for b in rules.batch_sizes}
        used = (1.0 if rules.curve else EARLY) * len(rules.lrs)  # a curve spends its whole budget
        return used * sum(all_of_it / b / cost.dear * step[b] for b in rules.batch_sizes)
    size = settings.identification.batch if cell.measure == "identification" else settings.cost.batch
    look = 0.02 + 5e-6 * size * task.horizon if cell.measure == "identification" else 0.0
    return batch(size) + look


def need(cell: Cell, settings: Settings) -> float:
    """Expected bytes that a cell takes at its peak, beyond an idle worker."""
    task, _, cost = _known(cell)
    size = {
        "gradient": max(b for b, _ in settings.gradient.sizes(task.horizon)),
        "learning": max(settings.learning.batch_sizes),
        "identification": settings.identification.batch,
        "cost": settings.cost.batch,
    }[cell.measure]
    longer = _longer(task)
    moments = 32.0 * sum(n for _, n in settings.gradient.sizes(task.horizon)) if cell.measure == "gradient" else 0.0
    return float(LOOK + cost.room * longer * size * task.horizon + moments * task.prompts * parameters(task))


def _longer(task: Task) -> float:
    """Tokens a turn, beside the tasks that were measured."""
    return float((task.words.shape[1] + 1) / 3)


def _known(cell: Cell) -> tuple[Task, Entrant, BatchCost]:
    task, entrant = find(cell.task), find_entrant(cell.method)
    return task, entrant, _cost(cell.method, entrant.ask, task.layout)


def slower() -> float:
    """How long the probe takes here, beside the machine of ``costs.json``; processor time, so that other load counts little."""
    return probe() / float(_table()["probe"])


def probe() -> float:
    """Seconds of one batch of RLOO: the best of several."""
    from .draws import streams

    name, task, batch = PROBE
    entrant, world = find_entrant(name), find(task)
    times = []
    for i in range(12):
        one, own = streams(Cell(name, task, 0, "cost"), batch, i)
        begun = time.process_time()
        run_entrant(entrant, world, world.start_theta, batch // 8, 8, one, own)
        times.append(time.process_time() - begun)
    return min(times)


def estimate(plan: Plan, jobs: int, memory: Memory | None = None, *, speed: float | None = None) -> Estimate:
    """What the whole plan takes with ``jobs`` workers; ``speed`` for a machine other than this one (see :func:`slower`)."""
    if not plan.cells:
        raise BenchError("nothing to do: no method, task and measure go together")
    factor = slower() if speed is None else speed
    times = {cell: factor * seconds(cell, plan.settings) for cell in plan.cells}
    needs = {cell: need(cell, plan.settings) for cell in plan.cells}
    total, longest = sum(times.values()), sorted(times, key=lambda cell: -times[cell])
    largest = sorted(needs.values(), reverse=True)[:jobs]
    peak = PARENT + sum(WORKER + size for size in largest)
    crowded, too_large = 0, list[str]()
    if memory is not None:
        peak = min(peak, float(memory.total))
        crowded = sum(not memory.holds(size, jobs) for size in needs.values())
        too_large = [cell.id for cell, size in needs.items() if not memory.holds(size, 1)]
    first = factor * start_seconds(find(id_) for id_ in plan.tasks)  # each worker's, and the lens's
    wall = START + 2 * first + max(total / jobs, times[longest[0]])
    return Estimate(
        len(plan.cells), jobs, total + (jobs + 1) * first, wall, peak, factor, _by_measure(times),
        [(cell.id, times[cell]) for cell in longest[:5]], crowded, too_large,
    )  # fmt: skip


def _by_measure(times: dict[Cell, float]) -> dict[str, tuple[int, float]]:
    found: dict[str, tuple[int, float]] = {}
    for cell, taken in times.items():
        n, so_far = found.get(cell.measure, (0, 0.0))
        found[cell.measure] = (n + 1, so_far + taken)
    return found
