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
from typing import Any

from pydantic import ValidationError

from ..errors import BenchError
from .manifest import canonical
from .metadata import PROTOCOL
from .records import MEASURES
from .submission_form import KIND, About, Submission, Value

#: Largest file that is read, unpacked: a hostile one must not fill the memory.
LARGEST = 256 * 2**20


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
