"""Learned objects on disk: named arrays and the name of a class, nothing that could be run.

What a method learned is frozen, so that a state carried over many batches can be put away after any of
them and goes on, bit for bit, as if nothing had happened.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..edges.atomic import atomic
from ..errors import OptionError
from .sources import Learned

#: Where the class's name stands among the arrays.
_KIND = "apportion_kind"


def save_learned(learned: Learned, path: str | os.PathLike[str]) -> None:
    """Write ``learned.save()`` to a .npz file; whole or not at all."""
    arrays = {name: np.asarray(value) for name, value in learned.save().items()}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise OptionError(f"{type(learned).__name__}.save()[{name!r}] holds Python objects: expected plain numbers or text")
    with atomic(path) as file:
        np.savez_compressed(file, allow_pickle=False, **{_KIND: np.asarray(type(learned).__name__), **arrays})


def load_learned(path: str | os.PathLike[str], kind: type | None = None) -> Any:
    """The object that :func:`save_learned` wrote. kind: its class, where it is none of apportion's own."""
    try:
        with np.load(Path(path), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, KeyError, EOFError, BadZipFile) as error:
        raise OptionError(f"{path}: not readable as what was learned ({str(error).splitlines()[0]})") from None
    if _KIND not in arrays:
        raise OptionError(f"{path}: it does not say what was learned; save_learned writes such files")
    name = arrays.pop(_KIND).item()
    if kind is not None and kind.__name__ != name:
        raise OptionError(f"{path} holds a {name}, not a {kind.__name__}")
    found = kind or classes().get(name)
    if found is None:
        raise OptionError(f"{path} holds a {name}, which is no class of apportion: pass kind=")
    try:
        return found.load(arrays)  # type: ignore[attr-defined]
    except (KeyError, ValueError, TypeError) as error:
        raise OptionError(f"{path}: not a whole {name} ({error!r})") from None


@cache
def classes() -> dict[str, type]:
    """Every class of apportion that is learned, by name."""
    found: dict[str, type] = {}
    for room in ("apportion.evidence", "apportion.methods"):
        package = importlib.import_module(room)
        for module in pkgutil.iter_modules(package.__path__):
            for thing in vars(importlib.import_module(f"{room}.{module.name}")).values():
                if isinstance(thing, type) and thing.__module__.startswith("apportion.") and _is_learned(thing):
                    found[thing.__name__] = thing
    return found


def _is_learned(thing: type) -> bool:
    return not thing.__name__.startswith("_") and all(
        callable(getattr(thing, name, None)) for name in ("save", "load", "evidence")
    )
