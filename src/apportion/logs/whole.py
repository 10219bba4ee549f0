"""Logs that are read whole: a batch's own file, and a (B, T) dump of one training batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..batch import Batch
from ..edges.take import ranges
from ..errors import BatchError
from ..words import Scope
from .dump import arrays_of, padded
from .index import Progress
from .pieces import pieces


@dataclass(frozen=True, eq=False)
class Whole:
    """A batch in memory, given out in pieces like any log."""

    all: Batch
    format: Literal["batch", "padded"]
    assumed: tuple[str, ...]
    total: int

    @property
    def trajectories(self) -> int:
        return self.all.n_trajectories

    @property
    def groups(self) -> int:
        return 0 if self.all.group is None else self.all.group.n

    def batches(self, scope: Scope, budget: int, progress: Progress | None) -> Iterator[Batch]:
        batch = self.all
        tokens = np.diff(batch.offsets("trajectory"))
        size = np.maximum(tokens * self.total // max(batch.n_tokens, 1), 1)
        group = np.full(tokens.size, -1, dtype=np.int64) if batch.group is None else batch.group.codes
        done = 0
        for chosen in pieces(scope, group, size, budget):
            whole = chosen.size == batch.n_trajectories
            rows = ranges(batch.trajectory_rows[chosen], np.diff(batch.trajectory_rows)[chosen])
            yield batch if whole else batch.take(rows)
            done += int(size[chosen].sum())
            if progress is not None:
                progress(done, int(size.sum()))


def read_whole(path: Path, kind: str, given: Mapping[str, str]) -> Whole:
    """The batch in a file."""
    size = path.stat().st_size
    if kind == "padded":
        batch, said = padded(arrays_of(path), given, str(path))
        return Whole(batch, "padded", tuple(said), size)
    if given:
        raise BatchError(
            f"{path} is a batch's own file: its columns have their names, and no key can be chosen ({', '.join(given)})"
        )
    with open(path, "rb") as file:
        parquet = file.read(4) == b"PAR1"
    batch = Batch.from_parquet(path) if parquet else Batch.from_jsonl(path)
    return Whole(batch, "batch", (), size)
