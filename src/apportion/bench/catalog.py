"""Tasks and entrants by name: those that ship, and tasks from a user's own file."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BenchError, OptionError
from .records import Entrant

if TYPE_CHECKING:
    from .tabular import Task


def entrants() -> dict[str, Entrant]:
    """Every method, with its options and source, that can enter."""
    from .entrants import entrants as shipped

    return dict(shipped())


def entrant(id_: str) -> Entrant:
    """The entrant with this id; ``ID@KNOB=VALUE`` has a knob turned."""
    from .knobs import entrant as found

    return found(id_)


def find(id_: str) -> Task:
    """The task with this id: one that ships or one that was loaded."""
    from . import tasks

    try:
        return tasks.find(id_)
    except OptionError:
        known = tasks.variants()
        hint = "apportion bench tasks lists all; FILE.py:NAME is a task of your own"
        raise BenchError(unknown("task", id_, known, hint)) from None


def load(spec: str) -> tuple[list[Task], str]:
    """Tasks of ``FILE.py`` or ``FILE.py:NAME`` and the digest of the file; ``find`` knows them from then on.

    NAME is a task, a list of tasks, or a function without arguments that returns either; without a
    NAME every task the file defines is taken.
    """
    from .tasks import register

    file, _, name = spec.rpartition(":") if not spec.endswith(".py") else (spec, "", "")
    path, said = Path(file), f"--tasks {spec}"
    module = execute(path, said)
    if not name:
        found = list({id(value): value for value in vars(module).values() if _is_task(value)}.values())
        if not found:
            raise BenchError(f"{said}: the file defines no task; make one with apportion.bench.tabular.chain(...)")
    else:
        found = _as_tasks(named(module, name, said), said)
    for one in found:
        register(one)
    return found, hashlib.sha256(path.read_bytes()).hexdigest()


def execute(path: Path, said: str) -> Any:
    """The module of a user's file, run once as long as the file stays the same; ``said``: what was typed, for errors."""
    if not path.is_file():
        raise BenchError(f"{said}: there is no file {path}")
    path = path.resolve()
    digest = hashlib.sha256(str(path).encode() + b"\0" + path.read_bytes()).hexdigest()
    name = f"apportion_own_{path.stem}_{digest[:8]}"
    if name in sys.modules:  # two names of one file are of one module, so that they see each other's state
        return sys.modules[name]
    made = importlib.util.spec_from_file_location(name, path)
    if made is None or made.loader is None:
        raise BenchError(f"{said}: {path.name} is no Python file")
    module = importlib.util.module_from_spec(made)
    sys.modules[name] = module  # dataclasses and pickle look their module up here
    try:
        made.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        line = next((frame.lineno for frame in _frames(error) if frame.filename == str(path)), None)
        where = f" (line {line})" if line else ""
        raise BenchError(f"{said}: {type(error).__name__}{where}: {error}") from error
    return module


def named(module: Any, name: str, said: str) -> Any:
    """What the module calls ``name``, or an error with the nearest names."""
    if not hasattr(module, name):
        raise BenchError(f"{said}: " + unknown("name", name, [n for n in vars(module) if not n.startswith("_")], ""))
    return getattr(module, name)


def _frames(error: BaseException) -> Iterable[Any]:
    import traceback

    return reversed(traceback.extract_tb(error.__traceback__))


def _as_tasks(value: Any, said: str) -> list[Task]:
    if callable(value) and not _is_task(value):
        value = value()
    items = list(value) if isinstance(value, list | tuple) else [value]
    if not items or not all(_is_task(item) for item in items):
        raise BenchError(f"{said}: expected a task, a list of tasks or a function that returns them")
    return items


def _is_task(value: Any) -> bool:
    from .tabular import Task

    return isinstance(value, Task)


def unknown(what: str, name: str, known: Iterable[str], hint: str) -> str:
    """``no WHAT 'NAME'``, with the nearest names or, if none is near, some that exist."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3)
    # The part after the last slash is what people remember.
    near = near or [n for n in names if name in n.split("/")] or [n for n in names if name in n][:5]
    tail = f"did you mean {', '.join(near)}?" if near else f"there is {', '.join(names[:12])}"
    return f"no {what} '{name}'; {tail}" + (f" ({hint})" if hint else "")
