"""A log: a file (or folder) of rollouts, read as batches of whole groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..batch import Batch
from ..words import Scope

Format = Literal["batch", "chat", "atif", "verifiers", "padded"]

#: Bytes of the file that one batch may hold; a group larger than this is a batch of its own.
BUDGET = 64 << 20


@dataclass(frozen=True, eq=False)
class Log:
    """Rollouts in a file, not read yet.

    format: what the file was taken for. assumed: what was assumed of it, one sentence each (which
    key is the reward, what makes a group, how text was cut into tokens). trajectories: how many
    there are, in how many groups.
    """

    path: Path
    format: Format
    assumed: tuple[str, ...]
    trajectories: int
    groups: int

    def batches(self, scope: Scope = "group", budget: int = BUDGET) -> Iterator[Batch]:
        """The rollouts, whole groups (or trajectories, or all of them) at a time.

        Every batch holds about ``budget`` bytes of the file, so that a log of any size is read in
        little memory; scope="batch" reads everything at once.
        """
        yield Batch.from_jsonl(self.path)

    def batch(self) -> Batch:
        """All of it as one batch."""
        return next(self.batches("batch"))


def open_log(path: str | Path, **reading: Any) -> Log:
    """Find out what kind of log this is, how large, and what has to be assumed of it."""
    batch = Batch.from_jsonl(path)
    return Log(Path(path), "batch", (), batch.n_trajectories, batch.count("group"))
