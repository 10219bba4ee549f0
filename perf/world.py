"""Simulated trajectories a second, and where the time of a benchmark cell goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np

from apportion import assign
from apportion.bench import settings
from apportion.bench.cells import run_cell
from apportion.bench.layouts import to_batch
from apportion.bench.records import Cell, Measure
from apportion.bench.tasks import find
from apportion.bench.world import roll

from .clock import Spread, seconds


@dataclass(frozen=True)
class Simulation:
    """Trajectories a second of ``task``: sampled, and sampled and packed into a batch."""

    task: str
    trajectories: int
    sampled: Spread
    packed: Spread


@dataclass(frozen=True)
class Share:
    """Seconds of one benchmark cell, and the part of them spent outside ``assign`` (collect, fit, method)."""

    method: str
    task: str
    measure: str
    seconds: float
    outside: float


def simulate(task_id: str, trajectories: int, repeats: int) -> Simulation:
    """Groups of 8 under the policy training starts from."""
    task = find(task_id)
    rolled = roll(task, task.start_theta, trajectories // 8, 8, np.random.default_rng(0))
    to_batch(rolled)

    def sample() -> Any:
        return roll(task, task.start_theta, trajectories // 8, 8, np.random.default_rng(0))

    def both() -> Any:
        return to_batch(sample())

    rates = [[trajectories / seconds(call) for _ in range(repeats)] for call in (sample, both)]
    return Simulation(task_id, trajectories, Spread.of(rates[0]), Spread.of(rates[1]))


def share(method: str, task: str, measure: Measure, how: settings.Settings) -> Share:
    """Run a cell twice, the second time with a clock around every ``assign``."""
    cell = Cell(method, task, 0, measure)
    run_cell(cell, how)
    inside = 0.0

    def clocked(*args: Any, **given: Any) -> Any:
        nonlocal inside
        begin = time.perf_counter()
        try:
            return assign(*args, **given)
        finally:
            inside += time.perf_counter() - begin

    with mock.patch("apportion.bench.entrants.assign", clocked):
        total = seconds(lambda: run_cell(cell, how))
    return Share(method, task, measure, total, 1 - inside / total)


def shares(methods: Sequence[str], task: str, how: settings.Settings) -> list[Share]:
    measures: tuple[Measure, ...] = ("gradient", "identification")
    return [share(m, task, measure, how) for measure in measures for m in methods]
