"""A run as one file that can be contributed: everything its numbers depend on, every number by seed, and a digest.

The numbers are those of the run, not of its report, so that whoever reads the file works out intervals anew. There
are no dates but the one its author gives, and no paths; equal runs with equal words make equal files.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..edges.escape import plain
from ..errors import BenchError
from .manifest import canonical
from .metadata import PROTOCOL
from .records import MEASURES, Measure

KIND: Literal["apportion results"] = "apportion results"
#: Largest file that is read, unpacked: a hostile one must not fill the memory.
LARGEST = 256 * 2**20
#: Metrics that every gradient cell has as numbers; the others may be undefined (null).
NEVER_UNDEFINED = {"gradient": ("inner", "norm2", "truth2"), "cost": ("price",), "learning": ("reached", "cost", "final")}

Sha = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Words = Annotated[str, Field(max_length=500)]
#: A number, "inf" or "-inf", or null where it is undefined.
Value = float | Literal["inf", "-inf"] | None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _printable(cls, value: Any) -> Any:
        if isinstance(value, str) and plain(value) != value:
            raise ValueError("holds control characters")
        return value


class About(_Part):
    """Who made the numbers, where and when, in their own words."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    contributor: Annotated[str, Field(min_length=1, max_length=120)]
    date: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    hardware: Words = ""
    notes: Words = ""
    licence: Literal["CC-BY-4.0"] = "CC-BY-4.0"


class Described(BaseModel):
    """A task or an entrant, with its whole definition besides these."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: Annotated[str, Field(min_length=1, max_length=200)]


class DescribedTask(Described):
    """``digest``: of definition, title and, for a task of somebody's own, the file it came from (``file_sha256``)."""

    family: str
    horizon: int = Field(ge=1)
    digest: Sha
    file_sha256: Sha | None


class DescribedEntrant(Described):
    """``oracle``: whether its evidence touches the truth; such rows are never ranked."""

    method: str
    title: str
    oracle: bool
    paid: bool
    options: dict[str, Any]


class Cell(_Part):
    """Every metric of one method on one task under one measure, a value per seed in the order of ``seeds``."""

    method: str
    task: str
    measure: Measure
    batch: int = Field(ge=0)
    lr: float = Field(ge=0, description="0 where there is none")
    metrics: dict[str, tuple[Value, ...]]


class Submission(_Part):
    """A contributed run. ``sha256`` is the digest of everything else, as JSON with sorted keys and no blanks."""

    kind: Literal["apportion results"]
    protocol: Literal["1.0"]
    about: About
    suite: str
    command: str
    versions: dict[str, str]
    code: Sha = Field(description="digest of the source that made the numbers")
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    prices: dict[str, float]
    settings: dict[str, Any]
    tasks: Annotated[tuple[DescribedTask, ...], Field(min_length=1)]
    entrants: Annotated[tuple[DescribedEntrant, ...], Field(min_length=1)]
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)]
    sha256: Sha

    @model_validator(mode="after")
    def _whole(self) -> Submission:
        for what, items in (("tasks", self.tasks), ("entrants", self.entrants)):
            ids = [item.id for item in items]
            if len(set(ids)) < len(ids):
                raise ValueError(f"{what}: '{next(i for i in ids if ids.count(i) > 1)}' is there twice")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one is there twice")
        _check_cells(self)
        return self


def _check_cells(found: Submission) -> None:
    tasks, entrants, seen = {t.id for t in found.tasks}, {e.id for e in found.entrants}, set()
    for i, cell in enumerate(found.cells):
        where = f"cells[{i}] ({cell.method}, {cell.task}, {cell.measure})"
        if cell.task not in tasks or cell.method not in entrants:
            raise ValueError(f"{where}: its {'task' if cell.task not in tasks else 'method'} is not defined in the file")
        key = (cell.method, cell.task, cell.measure, cell.batch, cell.lr)
        if key in seen:
            raise ValueError(f"{where}: is there twice")
        seen.add(key)
        for name, values in cell.metrics.items():
            if len(values) != len(found.seeds):
                raise ValueError(f"{where}: {name} has {len(values)} values for {len(found.seeds)} seeds")
            if name in NEVER_UNDEFINED.get(cell.measure, ()) and any(v is None for v in values):
                raise ValueError(f"{where}: {name} is null; it is a number in every finished cell")
    # RLOO is the numeraire: nothing can be said of a task without it
    for task in tasks:
        if not any(c.method == "rloo" and c.task == task for c in found.cells):
            raise ValueError(f"task {task}: no row of rloo, the numeraire of every figure")


def make(manifest: Mapping[str, Any], rows: Iterable[tuple[Any, ...]], about: About) -> Submission:
    """The submission of a finished run: its manifest, and its rows in the order of ``records.Row``."""
    if manifest.get("protocol") != PROTOCOL:
        raise BenchError(f"the run follows protocol {manifest.get('protocol')}, this is {PROTOCOL}: run it again")
    if missing := list(manifest.get("missing") or []):
        raise BenchError(f"the run is not finished: {len(missing)} cells are missing ({missing[0]}); the same command continues")
    seeds = [int(s) for s in manifest["seeds"]]
    cells: dict[tuple[Any, ...], dict[str, list[Value]]] = {}
    for method, task, seed, measure, metric, batch, lr, value in rows:
        key = (method, task, measure, int(batch), 0.0 if lr is None or math.isnan(lr) else float(lr))
        column = cells.setdefault(key, {}).setdefault(metric, [None] * len(seeds))
        column[seeds.index(seed)] = _stored(value)
    content = {
        "kind": KIND, "protocol": PROTOCOL, "about": about.model_dump(mode="json"),
        **{name: manifest[name] for name in ("suite", "command", "versions", "code", "seeds", "prices", "settings")},
        "tasks": manifest["tasks"], "entrants": manifest["entrants"],
        "cells": [
            {"method": m, "task": t, "measure": measure, "batch": b, "lr": lr, "metrics": dict(sorted(metrics.items()))}
            for (m, t, measure, b, lr), metrics in sorted(cells.items(), key=lambda item: _order(item[0]))
        ],
    }  # fmt: skip
    return check({**content, "sha256": digest(content)}, "the run")


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    method, task, measure, batch, lr = key
    return task, method, MEASURES.index(measure), batch, lr


def _stored(value: float | None) -> Value:
    if value is None or math.isnan(value):
        return None
    return float(value) if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of a submission's content, ``sha256`` itself left out."""
    rest = {name: value for name, value in content.items() if name != "sha256"}
    return hashlib.sha256(canonical(json.loads(json.dumps(rest))).encode()).hexdigest()


def check(content: Any, where: str) -> Submission:
    """The content as a submission, or one error that says what is wrong with it, and where."""
    if not isinstance(content, Mapping) or content.get("kind") != KIND:
        raise BenchError(f"{where}: not a contributed run (make one with: apportion bench submit RUN --out FILE)")
    if content.get("protocol") != PROTOCOL:
        raise BenchError(f"{where}: protocol {content.get('protocol')!r}, expected {PROTOCOL!r}: numbers of two are not compared")
    try:
        found = Submission.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise BenchError(f"{where}: {at + ': ' if at else ''}{first['msg'].removeprefix('Value error, ')}{more}") from None
    if digest(content) != found.sha256:
        raise BenchError(f"{where}: its digest is not that of its content: it was edited after it was made")
    return found


def write(found: Submission, path: Path) -> None:
    """Write the file; packed where its name ends in .gz, with equal bytes for equal content."""
    from ..edges.atomic import atomic

    body = (json.dumps(found.model_dump(mode="json"), separators=(",", ":"), sort_keys=True) + "\n").encode()
    with atomic(path) as file:
        file.write(gzip.compress(body, mtime=0) if path.suffix == ".gz" else body)


def read(path: Path) -> Submission:
    """Read and check a file."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            body = file.read(LARGEST + 1)
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise BenchError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(body) > LARGEST:
        raise BenchError(f"{path}: larger than {LARGEST // 2**20} MB")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path}: not JSON ({error})") from None
    return check(content, str(path))


def schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Submission.model_json_schema()}
