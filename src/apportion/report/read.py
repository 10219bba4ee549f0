"""A run folder as arrays: seeds in a row, NaN where a cell has not been run."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BenchError

Float = NDArray[np.float64]
COLUMNS = ("method", "task", "seed", "measure", "metric", "batch", "lr", "value")


@dataclass(frozen=True)
class Run:
    """What a run folder holds. ``values[measure][(method, task, batch, lr)][metric]``: one value per seed.

    ``tasks`` and ``entrants`` are the manifest's definitions by id. lr is 0 where not applicable. ``folder``: where it lies.
    """

    manifest: Mapping[str, Any]
    tasks: Mapping[str, Mapping[str, Any]]
    entrants: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]
    values: Mapping[str, Mapping[tuple[str, str, int, float], Mapping[str, Float]]]
    lens: Mapping[str, Any] | None
    folder: Path = Path()

    def methods(self) -> tuple[str, ...]:
        return tuple(self.entrants)

    def is_oracle(self, method: str) -> bool:
        return bool(self.entrants[method].get("oracle"))

    def is_paid(self, method: str) -> bool:
        return bool(self.entrants[method].get("paid"))

    def title(self, method: str) -> str:
        return str(self.entrants[method].get("title") or method)

    def names(self) -> dict[str, str]:
        """A short name for charts: the title up to its comma, with the rest of the id where two share it.

        "HCAPO, learned hindsight" is HCAPO, and "HCAPO, exact hindsight" with id hcapo-exact is HCAPO exact.
        """
        found: dict[str, str] = {}
        for method, entrant in self.entrants.items():
            head = self.title(method).split(",")[0].strip()
            stem = str(entrant.get("method") or method)
            rest = method[len(stem) :].strip("-_/") if method.startswith(stem) else method
            found[method] = f"{head} {rest}" if head in found.values() and rest else head
        return {m: name if list(found.values()).count(name) == 1 else m for m, name in found.items()}

    def batches(self) -> tuple[int, ...]:
        """Batch sizes the gradient was measured at, smallest first."""
        return self._batches

    @cached_property
    def _batches(self) -> tuple[int, ...]:
        return tuple(sorted({key[2] for key in self.values.get("gradient", {})}))


def reference_batch(run: Run) -> int | None:
    """The batch size that tables show: of those measured, the nearest to 512; None where no gradient was measured."""
    return min(run.batches(), key=lambda b: (abs(np.log(b / 512.0)), b), default=None)


def read_run(run_dir: str | Path) -> Run:
    """Read ``results.parquet``, ``manifest.json`` and, where there is one, ``lens.json``."""
    folder = Path(run_dir)
    for name in ("results.parquet", "manifest.json"):
        if not (folder / name).is_file():
            raise BenchError(f"{folder}: no {name} here; expected a run folder made by 'apportion bench run --out'")
    manifest = _json(folder / "manifest.json")
    columns = _table(folder / "results.parquet")
    tasks = _by_id(manifest.get("tasks"), "tasks", set(columns["task"]))
    entrants = _by_id(manifest.get("entrants"), "entrants", set(columns["method"]))
    seeds = tuple(sorted(set(columns["seed"])))
    lens = _json(folder / "lens.json") if (folder / "lens.json").is_file() else None
    return Run(manifest, tasks, entrants, seeds, _nest(columns, seeds), lens, folder)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BenchError(f"{path}: not readable as JSON ({error})") from None


def _table(path: Path) -> dict[str, list[Any]]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise BenchError(f"{path}: not readable as Parquet ({error})") from None
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise BenchError(f"{path}: column '{missing[0]}' is missing; expected {', '.join(COLUMNS)}")
    if not table.num_rows:
        raise BenchError(f"{path}: no rows; no cell of this run has finished yet")
    return {name: table.column(name).to_pylist() for name in COLUMNS}


def _by_id(given: Any, what: str, used: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Definitions by id, from a list of them or a mapping; those that no row uses are left out."""
    if isinstance(given, Mapping):
        given = [{"id": id_, **definition} for id_, definition in given.items()]
    if not isinstance(given, list):
        raise BenchError(f"manifest.json: '{what}' is {type(given).__name__}, expected a list of definitions with an id")
    known = {str(d["id"]): d for d in given}
    unknown = sorted(set(used) - set(known))
    if unknown:
        raise BenchError(f"manifest.json: '{what}' does not define '{unknown[0]}', which results.parquet has rows for")
    return {id_: d for id_, d in known.items() if id_ in set(used)}


def _nest(columns: Mapping[str, list[Any]], seeds: tuple[int, ...]) -> dict[str, Any]:
    at = {seed: i for i, seed in enumerate(seeds)}
    empty = np.full(len(seeds), math.nan)
    values: dict[str, dict[tuple[str, str, int, float], dict[str, Float]]] = defaultdict(lambda: defaultdict(dict))
    for method, task, seed, measure, metric, batch, lr, value in zip(*(columns[n] for n in COLUMNS), strict=True):
        key = (method, task, int(batch or 0), 0.0 if lr is None or math.isnan(lr) else float(lr))
        metrics = values[measure][key]
        if metric not in metrics:
            metrics[metric] = empty.copy()
        metrics[metric][at[seed]] = math.nan if value is None else value
    return {measure: dict(cells) for measure, cells in values.items()}
