"""All tasks by id: the shipped families and those a user defines."""

from __future__ import annotations

import difflib

from ..errors import OptionError
from . import bifurcation
from .tabular import Task

_OWN: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Add a task of your own to the table, so that every part of the benchmark finds it."""
    if task.id in bifurcation.variants():
        raise OptionError(f"task id '{task.id}' is taken by a shipped task: choose another")
    _OWN[task.id] = task
    return task


def tasks() -> dict[str, Task]:
    """Every task, built; in the order the families list them."""
    return {**{id_: bifurcation.build(id_) for id_ in bifurcation.variants()}, **_OWN}


def find(id_: str) -> Task:
    """The task with this id, shipped or registered."""
    if id_ in _OWN:
        return _OWN[id_]
    if id_ in bifurcation.variants():
        return bifurcation.build(id_)
    near = difflib.get_close_matches(id_, [*bifurcation.variants(), *_OWN], n=3, cutoff=0.3)
    raise OptionError(f"no task '{id_}'; did you mean {', '.join(near) or 'one of apportion bench tasks'}?")
