"""Live sources and learned parts as a trainer's configuration file can say them: by name, and by file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..errors import OptionError
from ..evidence import SOURCES, load_learned


def loaded(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with ``judge: "my_package.judges:Careful"`` for an object and ``learned: critic.npz`` for what was saved.

    A class or a function is called without arguments; anything else is taken as it is. Raises :class:`OptionError` where
    a name leads nowhere.
    """
    made = dict(options)
    for name in SOURCES:
        if isinstance(made.get(name), str):
            made[name] = _named(name, made[name])
    if isinstance(made.get("learned"), str):
        made["learned"] = load_learned(made["learned"])
    return made


def _named(option: str, text: str) -> Any:
    module, colon, attribute = text.partition(":")
    if not (module and colon and attribute):
        raise OptionError(f"{option} = {text!r}: expected 'module:attribute'")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"{option} = {text!r}: {error}") from error
    return found() if inspect.isclass(found) or inspect.isroutine(found) else found
