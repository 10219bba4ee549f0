"""Options as a trainer's configuration file or command line can say them: sources by name, learned parts by file."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
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


def split(argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Ours (``--credit.NAME VALUE`` or ``--credit.NAME=VALUE``, JSON or a string), loaded, and the trainer's own words.

    Raises :class:`OptionError` for a name without a value: what begins with ``--`` is the next option, and -1 is a value.
    """
    ours: dict[str, Any] = {}
    theirs: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("--credit."):
            theirs.append(word)
            continue
        name, given, value = word.removeprefix("--credit.").partition("=")
        if not given:
            if not words or words[0].startswith("--"):
                raise OptionError(f"--credit.{name} needs a value, as JSON or a string: --credit.{name} true, for one")
            value = words.pop(0)
        try:
            ours[name] = json.loads(value)
        except ValueError:
            ours[name] = value
    if not isinstance(ours.get("method"), str):
        raise OptionError("--credit.method is missing: it names the method, as `apportion methods` lists them")
    return loaded(ours), theirs


def _named(option: str, text: str) -> Any:
    module, colon, attribute = text.partition(":")
    if not (module and colon and attribute):
        raise OptionError(f"{option} = {text!r}: expected 'module:attribute'")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"{option} = {text!r}: {error}") from error
    return found() if inspect.isclass(found) or inspect.isroutine(found) else found
