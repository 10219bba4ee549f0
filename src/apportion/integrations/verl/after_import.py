"""Do something when a module has been imported, without importing it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

Then = Callable[[ModuleType], None]


class _Watch(MetaPathFinder):
    """Finds what the other finders find, and has the loader call back when it is done."""

    def __init__(self) -> None:
        self.waiting: dict[str, Then] = {}

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        then = self.waiting.pop(fullname, None)
        if then is None:
            return None
        spec = find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        load = loader.exec_module

        def load_then(module: ModuleType) -> None:
            load(module)
            then(module)

        loader.exec_module = load_then
        return spec


_WATCH = _Watch()


def after_import(name: str, then: Then) -> None:
    """Call ``then(module)`` once ``name`` has been imported: now, if it has been, else right after its first import."""
    module = sys.modules.get(name)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        then(module)
        return
    _WATCH.waiting[name] = then
    if _WATCH not in sys.meta_path:
        sys.meta_path.insert(0, _WATCH)
