"""Modules that stand in for missing GPU packages while a trainer is imported; they do nothing, and say so when asked."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def standing_in(packages: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Within, those of the packages that are not installed can be imported; yields their names.

    Whatever is taken from a stand-in is a class that cannot be made or called: code that would need
    the package stops with an error instead of computing something else.
    """
    missing = tuple(p for p in packages if p not in sys.modules and importlib.util.find_spec(p) is None)
    finder = _Finder(missing)
    sys.meta_path.append(finder)
    try:
        yield missing
    finally:
        sys.meta_path.remove(finder)
        for name in [n for n, module in sys.modules.items() if isinstance(module, _StandIn)]:
            del sys.modules[name]  # else the next to ask whether the package is installed would be told that it is


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, packages: tuple[str, ...]) -> None:
        self.packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        stands = fullname.partition(".")[0] in self.packages
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if stands else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        whole = f"{self.__name__}.{name}"

        def refuse(*_: Any, **__: Any) -> Any:
            raise RuntimeError(f"{whole} is a stand-in: its package is not installed")

        found = type(name, (), {"__init__": refuse})
        setattr(self, name, found)
        return found
