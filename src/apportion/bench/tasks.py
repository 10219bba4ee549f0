"""All tasks by id: the shipped families and those a user defines."""

from __future__ import annotations

import importlib.util
from pathlib import Path

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
    """The task with this id; ``file.py:name`` loads one from a file."""
    if id_ in _OWN:
        return _OWN[id_]
    if id_ in bifurcation.variants():
        return bifurcation.build(id_)
    if ".py:" in id_:
        return load(id_)
    import difflib

    near = difflib.get_close_matches(id_, [*bifurcation.variants(), *_OWN], n=3, cutoff=0.3)
    raise OptionError(f"no task '{id_}'; did you mean {', '.join(near) or 'one of apportion bench tasks'}?")


def load(where: str) -> Task:
    """Load ``path/to/file.py:name``: the file is run, ``name`` must be a Task."""
    path, _, name = where.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise OptionError(f"--tasks {where}: no file {path}")
    spec = importlib.util.spec_from_file_location(f"apportion_task_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise OptionError(f"--tasks {where}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    task = getattr(module, name, None)
    if not isinstance(task, Task):
        raise OptionError(f"--tasks {where}: {name} is {type(task).__name__}, expected an apportion.bench.Task")
    return _OWN.setdefault(task.id, task)
