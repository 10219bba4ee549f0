"""Measure what one batch of each entrant takes: ``python -m apportion.bench.calibrate [FILE]`` writes ``costs.json`` anew.

On Linux, a few minutes of one core. Times are processor time, the best of three; room is how far the
resident size rises during a large batch, with a memory allocator that hands back what is freed.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from .draws import spent, streams
from .entrants import Entrant, entrants, run_entrant
from .estimate import BASE, BatchCost, probe
from .records import Cell, Layout
from .settings import PRICES
from .tabular import Task
from .tasks import find
from .work import ENVIRONMENT

SIZES = (64, 512)
#: Of each layout: the task measured on, and a longer one.
TASKS: dict[Layout, tuple[str, str | None]] = {
    "turns": ("bifurcation/horizon-10", "bifurcation/horizon-100"),
    "steps": ("reasoning/steps-10", "reasoning/steps-30"),
    "team": ("team/two", None),
}


def main(path: str | None = None) -> None:
    """Measure every entrant that needs no model, and write the table."""
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        os.execve(
            sys.executable, [sys.executable, "-m", "apportion.bench.calibrate", *sys.argv[1:]], {**os.environ, **ENVIRONMENT}
        )
    ctypes.CDLL(None).mallopt(-3, 1 << 15)  # M_MMAP_THRESHOLD
    table: dict[str, Any] = {}
    for entrant in entrants().values():
        fits = [layout for layout in TASKS if entrant.ask != "model" and entrant.fits(layout)]
        if fits:
            table[entrant.id] = {"ask": entrant.ask, "cost": {layout: _measured(entrant, layout) for layout in fits}}
    lines = ",\n".join(f"  {json.dumps(id_)}: {json.dumps(one)}" for id_, one in table.items())
    head = f'"columns": {json.dumps(BatchCost._fields)},\n "probe": {probe():.3g}'
    text = f'{{\n {head},\n "entrants": {{\n{lines}\n }}\n}}\n'
    Path(path or Path(__file__).with_name("costs.json")).write_text(text, "utf-8")


def _measured(entrant: Entrant, layout: Layout) -> list[float]:
    """The numbers of :class:`apportion.bench.estimate.BatchCost`."""
    name, far = TASKS[layout]
    task, longer = find(name), None if far is None else find(far)
    small, large = (_seconds(entrant, task, size) for size in SIZES)
    slow = None if longer is None else _seconds(entrant, longer, SIZES[0])
    times = fitted(small, large, slow, SIZES, (BASE[layout], longer.horizon if longer else 0))
    size = 4096 if large < 0.25 else 1024
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _kilobytes("VmRSS")
    outcome = _batch(entrant, task, size, 9)
    room = max(_kilobytes("VmHWM") - before, 0) * 1024 / (size * task.horizon)
    plain = _batch(entrants()["rloo"], task, size, 9)
    dear = spent(outcome, entrant.epochs).price(PRICES) / spent(plain).price(PRICES)
    return [float(f"{value:.3g}") for value in (*times, room, dear)]


def _batch(entrant: Entrant, task: Task, size: int, i: int) -> Any:
    world, own = streams(Cell(entrant.id, task.id, 0, "cost"), size, i)
    return run_entrant(entrant, task, task.start_theta, size // 8, 8, world, own)


def _seconds(entrant: Entrant, task: Task, size: int) -> float:
    times = []
    for i in range(3):
        begun = time.process_time()
        _batch(entrant, task, size, i)
        times.append(time.process_time() - begun)
    return min(times)


def _kilobytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def fitted(
    small: float, large: float, longer: float | None, sizes: tuple[int, int], horizons: tuple[int, int]
) -> tuple[float, float, float]:
    """(fixed, turn, power) of a :class:`apportion.bench.estimate.BatchCost`.

    From the times of two batch sizes, and of the small one at a longer horizon where there is such a task.
    """
    base, far = horizons
    turn = max(large - small, 1e-9) / ((sizes[1] - sizes[0]) * base)
    fixed = max(small - turn * sizes[0] * base, 0.0)
    if longer is None:
        return fixed, turn, 0.0
    power = math.log(max(longer - fixed, 1e-9) / (turn * sizes[0] * far)) / math.log(far / base)
    return fixed, turn, min(max(power, -1.0), 1.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
