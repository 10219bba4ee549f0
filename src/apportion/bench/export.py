"""Tasks as files: the arrays that define one, and its record, for whoever implements the protocol with other code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from ..edges.atomic import atomic
from ..errors import BenchError
from .metadata import record, schema
from .records import plain_name
from .tabular import Task


def export(tasks: Sequence[Task], folder: Path) -> list[Path]:
    """Write ``NAME.npz`` and ``NAME.json`` of every task, and ``task.schema.json``; gives the files.

    The arrays are those of :class:`apportion.bench.tabular.Task`, by the same names; what is None is left out.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"{folder}: cannot be made ({error.strerror})") from None
    written = [folder / "task.schema.json"]
    with atomic(written[0]) as file:
        file.write(_json(schema()))
    for task in tasks:
        name = plain_name(task.id).replace("~", "-")
        arrays = {f.name: getattr(task, f.name) for f in fields(task) if isinstance(getattr(task, f.name), np.ndarray)}
        with atomic(folder / f"{name}.npz") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        with atomic(folder / f"{name}.json") as file:
            file.write(_json(record(task).model_dump(mode="json")))
        written += [folder / f"{name}.npz", folder / f"{name}.json"]
    return written


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
