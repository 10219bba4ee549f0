"""Packages that are not installed, as small stand-ins on disk: modules that a test writes down, and a version."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def installed(package: str) -> bool:
    """Whether the real package is there to be tested instead."""
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def write(root: Path, package: str, number: str, modules: Mapping[str, str]) -> Path:
    """A folder to put on the path: ``modules`` (dotted name -> source) and the metadata that says ``number``."""
    for name, source in modules.items():
        parts = name.split(".")
        folder = root
        for part in parts[:-1]:
            folder = folder / part
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "__init__.py").touch()
        (folder / f"{parts[-1]}.py").write_text(source)
    info = root / f"{package}-{number}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {number}\n")
    return root


@contextmanager
def on_path(root: Path, package: str) -> Iterator[None]:
    """Within, ``package`` is the stand-in under ``root``; afterwards as if it had never been."""
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(root))
        for name in [m for m in sys.modules if m.split(".")[0] == package]:
            del sys.modules[name]
        importlib.invalidate_caches()
