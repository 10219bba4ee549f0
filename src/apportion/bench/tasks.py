"""All tasks by id: the shipped families and those a user defines."""

from __future__ import annotations

import difflib
from functools import cache
from typing import Any

from ..errors import OptionError
from . import agentic, bifurcation, checkpoints, classical, interaction, reasoning, team, tiny, witness
from .tabular import Task

#: The shipped families; each has ``variants()`` (arguments by id) and ``build(id)``.
FAMILIES: tuple[Any, ...] = (bifurcation, reasoning, team, agentic, interaction, classical, witness, tiny)

_OWN: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Add a task of your own to the table, so that every part of the benchmark finds it."""
    if task.id in variants():
        raise OptionError(f"task id '{task.id}' is taken by a shipped task: choose another")
    _OWN[task.id] = task
    return task


@cache
def variants() -> dict[str, dict[str, Any]]:
    """Arguments of every shipped task, by id, in the order the families list them."""
    return {id_: how for family in FAMILIES for id_, how in family.variants().items()}


def tasks() -> dict[str, Task]:
    """Every task, built; in the order the families list them."""
    return {**{id_: find(id_) for id_ in variants()}, **_OWN}


def find(id_: str) -> Task:
    """The task with this id, shipped or registered; ``ID@50`` is the task half trained, ``neural/ID`` has a network act."""
    if id_ in _OWN:
        return _OWN[id_]
    name, percent = checkpoints.split(id_)
    if percent is not None:
        return _trained(name, percent)
    if id_.startswith("neural/"):
        return _neural(id_.removeprefix("neural/"))
    for family in FAMILIES:
        if id_ in family.variants():
            built: Task = family.build(id_)
            return built
    near = difflib.get_close_matches(id_, [*variants(), *_OWN], n=3, cutoff=0.3)
    raise OptionError(f"no task '{id_}'; did you mean {', '.join(near) or 'one of apportion bench tasks'}?")


@cache
def _trained(name: str, percent: int) -> Task:
    return checkpoints.trained(find(name), percent)


@cache
def _neural(name: str) -> Task:
    from .neural.task import build

    return build(find(name))
