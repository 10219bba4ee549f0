"""What a run measures, written down: two runs with equal manifests have equal results."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apportion

from ..errors import BenchError
from .metadata import PROTOCOL
from .records import Cell
from .suites import Plan

FORMAT = 1
#: Parts of the package that no cell's numbers depend on.
_BESIDE = ("checklist", "cli", "pages", "report", "survey")


@cache
def code_digest() -> str:
    """Digest of the source of everything that cells run; catches edits that leave the version alone."""
    root = Path(apportion.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda p: p.relative_to(root).as_posix()):
        relative = path.relative_to(root)
        if relative.parts[0] not in _BESIDE:
            digest.update(relative.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def versions(*more: str) -> dict[str, str]:
    """Versions that can change a number."""
    libraries = {name: version(name) for name in ("numpy", "numba", "pyarrow", *more)}
    return {"apportion": apportion.__version__, "python": platform.python_version(), **libraries}


def digest(value: Any) -> str:
    """Digest of a JSON-able value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    """Numpy scalars and arrays as Python ones; everything else by its repr, if that names no address."""
    if hasattr(value, "tolist"):
        return value.tolist()
    text = repr(value)
    if " at 0x" in text:
        raise BenchError(f"{text} cannot be written into a manifest: options and task definitions must be JSON-able")
    return text


def build(plan: Plan, command: str) -> dict[str, Any]:
    """The manifest of a plan; no dates, no host, no paths."""
    tasks = []
    for id_, task in plan.tasks.items():
        definition = task.describe()
        shown = {"family": task.family, "tags": list(task.tags), "horizon": task.horizon, "title": task.title}
        file = plan.files.get(id_)
        tasks.append({**definition, "id": id_, **shown, "file_sha256": file, "digest": digest([definition, shown, file])})
    entrants = []
    for id_, entrant in plan.entrants.items():
        shown = {"title": entrant.title, "method": entrant.method, "oracle": entrant.oracle, "paid": entrant.paid}
        made = asdict(entrant) if is_dataclass(entrant) and not isinstance(entrant, type) else {"options": entrant.options}
        entrants.append({**made, "id": id_, **shown})
    settings = plan.settings.model_dump(mode="json")
    manifest = {
        "format": FORMAT,
        "protocol": PROTOCOL,
        "suite": plan.suite,
        "command": command,
        "versions": versions(*(["torch"] if any(task.neural for task in plan.tasks.values()) else [])),
        "code": code_digest(),
        "seeds": list(plan.seeds),
        "prices": settings.pop("prices"),
        "settings": settings,
        "tasks": tasks,
        "entrants": entrants,
        "cells": len(plan.cells),
        "missing": [],
    }
    plain: dict[str, Any] = json.loads(canonical(manifest))
    return plain


def dump(manifest: Mapping[str, Any]) -> bytes:
    """The bytes of ``manifest.json``."""
    return (json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def keys(manifest: Mapping[str, Any], cells: tuple[Cell, ...]) -> dict[Cell, str]:
    """Per cell the digest of all that its numbers depend on: a result under another key is not its result."""
    common = digest([manifest[name] for name in ("format", "versions", "code", "prices", "settings")])
    tasks = {task["id"]: task["digest"] for task in manifest["tasks"]}
    entrants = {entrant["id"]: digest(entrant) for entrant in manifest["entrants"]}
    return {c: digest([common, tasks[c.task], entrants[c.method], c.seed, c.measure]) for c in cells}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """In words, how the run in a folder differs from the one asked for; empty where results would be equal."""
    found: list[str] = []
    for name in ("format", "seeds"):
        if old.get(name) != new[name]:
            found.append(f"{name} ({_short(old.get(name))} there, {_short(new[name])} asked for)")
    found += [f"version of {name} ({a} there, {b} here)" for name, a, b in _changed(old.get("versions"), new["versions"])]
    if old.get("code") != new["code"]:
        found.append("the code of apportion (edited since)")
    for group in ("settings", "prices"):
        found += [
            f"{group}: {name} ({_short(a)} there, {_short(b)} asked for)" for name, a, b in _changed(old.get(group), new[group])
        ]
    for group, what in (("tasks", "task"), ("entrants", "method")):
        for name, a, b in _changed(_by_id(old.get(group)), _by_id(new[group])):
            state = "only there" if b is None else "not there" if a is None else "defined differently"
            found.append(f"{what} {name} ({state})")
    return found


def _changed(old: Any, new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(name, old, new) for every entry that differs, nested settings by dotted name."""
    before = _flat(old) if isinstance(old, Mapping) else {}
    after = _flat(new)
    names = [*after, *(name for name in before if name not in after)]
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def _flat(nested: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}.{inner}": v for inner, v in _flat(value).items()})
        else:
            flat[name] = value
    return flat


def _by_id(items: Any) -> dict[str, str]:
    return {item["id"]: digest(item) for item in items or []}


def _short(value: Any) -> str:
    whole = isinstance(value, list) and len(value) > 2 and all(isinstance(v, int) for v in value)
    if whole and value == list(range(value[0], value[0] + len(value))):
        return f"{value[0]}-{value[-1]}"
    text = "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def read(path: Path) -> dict[str, Any] | None:
    """The manifest in a folder, None where there is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: not readable ({error}); give another --out") from None
    if not isinstance(found, dict) or "format" not in found or "seeds" not in found:
        raise BenchError(f"{path}: not the manifest of a run; give another --out")
    return found
