"""A few trajectories of each task, credited by every method, for the trajectory lens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..batch import Batch
from . import store
from .draws import streams
from .entrants import Entrant, run_entrant
from .knobs import entrant as find_entrant
from .layouts import choices, to_batch
from .oracle import oracle, truth
from .records import Cell
from .settings import Settings
from .tabular import Float, Task
from .tasks import find
from .world import Rollouts, roll

GROUPS, SHOWN = 16, 4


def lens_data(tasks: list[str], methods: list[str], settings: Settings, seed: int = 0) -> dict[str, Any]:
    """Per task: ``SHOWN`` trajectories of a batch of 16 groups, with truth, luck and every method's credit.

    Methods that sample their own branches, or actions, credit what they sampled and are left out; so are those with groups
    of another size, whose rollouts are others.
    """
    chosen = [one for one in map(find_entrant, methods) if not one.fresh and one.group in (None, settings.group)]
    found = [(find(id_), [e for e in chosen if e.fits(find(id_).layout, find(id_).neural)]) for id_ in tasks]
    return {"tasks": [_task(task, fitting, settings, seed) for task, fitting in found]}


def _task(task: Task, chosen: list[Entrant], settings: Settings, seed: int) -> dict[str, Any]:
    cell = Cell("lens", task.id, seed, "identification")
    world, _ = streams(cell)
    rollouts = roll(task, task.start_theta, GROUPS, settings.group, world)
    batch = to_batch(rollouts, text=True)
    exact, luck, latent = _truth(rollouts)
    shape = rollouts.actions.shape
    credits: dict[str, Float] = {}
    if not np.allclose(exact, latent, atol=1e-9):  # luck is what latent advantages leave over
        credits["latent advantage (privileged)"] = latent
    for entrant in chosen:
        again, own = streams(cell)
        credit = run_entrant(entrant, task, task.start_theta, GROUPS, settings.group, again, own).credit
        at = choices(task, credit.batch)
        if at.row.max() >= shape[0]:
            continue
        credits[entrant.id] = np.zeros(shape)
        credits[entrant.id][at.row, at.time] = credit.on(at.level)
    texts = _texts(batch, task, shape)
    shown = []
    for i in _varied(rollouts, exact):
        fork = task.fork[rollouts.prompt[i]]
        shown.append(
            {
                "id": f"rollout {i}",
                "reward": float(rollouts.reward[i]),
                "prompt": int(rollouts.prompt[i]),
                "turns": [{"text": text, "fork": bool(f)} for text, f in zip(texts[i], fork, strict=True)],
                "truth": _short(exact[i]),
                "luck": _short(luck[i]),
                "methods": {name: _short(values[i]) for name, values in credits.items()},
            }
        )
    return {"task": task.id, "trajectories": shown}


def _texts(batch: Batch, task: Task, shape: tuple[int, ...]) -> Any:
    """What stands at each choice, (n, T)."""
    lines = [line for turn in batch.need("text") for line in turn.split("\n")]
    at = choices(task, batch)
    texts = np.full(shape, "", dtype=object)
    texts[at.row, at.time] = lines
    return texts


def _short(values: Float) -> list[float]:
    """Six decimals: what a colour can show."""
    return [float(x) for x in np.round(values, 6) + 0.0]


def _truth(rollouts: Rollouts) -> tuple[Float, Float, Float]:
    """Exact advantage, luck and latent advantage of every turn, each (n, T)."""
    T = rollouts.actions.shape[1]
    with oracle():
        solved = truth(rollouts.task, rollouts.theta)
        where = rollouts.prompt[:, None], np.arange(T)[None, :], rollouts.states[:, :T], rollouts.actions
        exact, q, latent = solved.A[where], solved.Q[where], solved.latent[where]
        after = solved.V[rollouts.prompt[:, None], np.arange(1, T + 1), rollouts.states[:, 1:]]
    after[:, -1] = rollouts.reward
    return exact, after - q, latent


def _varied(rollouts: Rollouts, exact: Float) -> list[int]:
    """Rollouts worth a look: the ones where choices mattered most, wins and losses in turn."""
    order = np.argsort(-np.abs(exact).max(axis=1), kind="stable")
    won = [int(i) for i in order if rollouts.reward[i] > 0]
    lost = [int(i) for i in order if rollouts.reward[i] <= 0]
    pairs = [i for pair in zip(won, lost, strict=False) for i in pair]
    return (pairs or [int(i) for i in order])[:SHOWN]


def write_lens_data(folder: Path, tasks: Mapping[str, Any], methods: Mapping[str, Any], settings: Settings) -> None:
    """``lens.json`` in a run folder; the same run writes the same bytes."""
    data = lens_data(list(tasks), list(methods), settings)
    store.write_bytes(folder / "lens.json", json.dumps(data, separators=(",", ":"), allow_nan=False).encode())
