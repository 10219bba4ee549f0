"""A run folder as a submission, and a submission put to the test: some of its cells run again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BenchError
from . import manifest as manifests
from . import store, submission
from .pool import environment
from .records import Cell, Row
from .submission_form import About, Submission, settings_of

#: Relative difference that another machine or another version of a library may make.
TOLERANCE = 1e-6


def from_folder(folder: Path, about: About) -> Submission:
    """The submission of a run folder; refuses one that is unfinished or whose results are not those of its cells."""
    described = manifests.read(folder / store.MANIFEST)
    if described is None or not (folder / store.RESULTS).is_file():
        raise BenchError(f"{folder}: expected a finished run folder, made by 'apportion bench run --out'")
    rows = list(_rows(folder))
    made = submission.make(described, rows, about)
    by_cell: dict[Cell, list[Row]] = {}
    for row in rows:
        by_cell.setdefault(Cell(row.method, row.task, row.seed, row.measure), []).append(row)  # type: ignore[arg-type]
    if len(by_cell) != described["cells"]:
        raise BenchError(f"{folder}: {store.RESULTS} has {len(by_cell)} cells, the manifest {described['cells']}")
    for cell, key in manifests.keys(described, tuple(by_cell)).items():
        kept = store.read_cell(folder, cell, key)
        if kept is None or _comparable(kept.rows) != _comparable(by_cell[cell]):
            raise BenchError(f"{folder}: {store.RESULTS} is not what cells/{cell.id}.json holds: run the same command again")
    return made


def _comparable(rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    """Rows in order, with what is undefined equal to itself."""
    return [(*store.order(r)[:-1], None if math.isnan(r.value) else r.value) for r in rows]


def _rows(folder: Path) -> Iterator[Row]:
    from pyarrow import parquet  # type: ignore[import-untyped]

    table = parquet.read_table(folder / store.RESULTS)
    columns = [table.column(name).to_pylist() for name in Row._fields]
    for values in zip(*columns, strict=True):
        yield Row(*values)


@dataclass(frozen=True)
class Rerun:
    """What became of the cells that were run again: ``exact`` where code and versions are those of the file."""

    exact: bool
    cells: tuple[str, ...]
    differ: tuple[str, ...]
    skipped: tuple[str, ...]


def rerun(found: Submission, count: int, seed: int = 0, watch: Callable[[int, int], None] | None = None) -> Rerun:
    """Run ``count`` random cells of the file again and compare number by number.

    Bit for bit where code and versions are the file's own, else within ``TOLERANCE``, relative. Cells of
    tasks or entrants that are not here, or are defined otherwise here, are skipped and named.
    """
    from .cells import run_cell

    if count < 1:
        raise BenchError(f"--rerun {count}: expected at least 1")
    exact = found.code == manifests.code_digest() and found.versions == manifests.versions(*_more(found))
    settings = settings_of(found)
    known, skipped = _same(found)
    places = sorted({(c.method, c.task, s, c.measure) for c in found.cells for s in found.seeds if (c.method, c.task) in known})
    drawn = np.random.default_rng(seed).permutation(len(places))[:count]
    cells = [Cell(*places[i]) for i in sorted(drawn.tolist())]
    differ: list[str] = []
    # in a worker's environment, as the run was: with several threads a sum has another order, and another last digit
    with environment(), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for i, (cell, rows) in enumerate(zip(cells, pool.map(run_cell, cells, repeat(settings)), strict=True)):
            again = {(r.metric, r.batch, 0.0 if math.isnan(r.lr) else r.lr): r.value for r in rows}
            if not _equal(again, _of(found, cell), exact):
                differ.append(cell.id)
            if watch:
                watch(i + 1, len(cells))
    return Rerun(exact, tuple(c.id for c in cells), tuple(differ), tuple(skipped))


def _more(found: Submission) -> list[str]:
    return [name for name in found.versions if name not in manifests.versions()]


def _same(found: Submission) -> tuple[set[tuple[str, str]], list[str]]:
    """(method, task) pairs that mean here what they mean in the file, and what does not."""
    from . import catalog, suites

    tasks = [t for t in found.tasks if _here(catalog.find, t.id)]
    entrants = [e for e in found.entrants if _here(catalog.entrant, e.id)]
    if not tasks:
        return set(), [f"task {t.id}" for t in found.tasks]
    plain = suites.plan("smoke", tasks=[t.id for t in tasks], methods=["rloo"])  # knobs may ask for groups that smoke has not
    here = manifests.build(replace(plain, entrants={e.id: catalog.entrant(e.id) for e in entrants}), "")
    digests = {t["id"]: t["digest"] for t in here["tasks"]}
    made = {e["id"]: manifests.digest(e) for e in here["entrants"]}
    same_tasks = {t.id for t in tasks if digests[t.id] == t.digest}
    same = {e.id for e in entrants if made[e.id] == manifests.digest(e.model_dump(mode="json"))}
    skipped = [f"task {t.id}" for t in found.tasks if t.id not in same_tasks]
    skipped += [f"method {e.id}" for e in found.entrants if e.id not in same]
    return {(m, t) for m in same for t in same_tasks}, skipped


def _here(look: Callable[[str], Any], id_: str) -> bool:
    try:
        look(id_)
    except BenchError:
        return False
    return True


def _of(found: Submission, cell: Cell) -> dict[tuple[str, int, float], float]:
    at = found.seeds.index(cell.seed)
    return {
        (name, c.batch, c.lr): _number(values[at])
        for c in found.cells
        if (c.method, c.task, c.measure) == (cell.method, cell.task, cell.measure)
        for name, values in c.metrics.items()
    }


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _equal(again: dict[Any, float], told: dict[Any, float], exact: bool) -> bool:
    names = {*again, *told}
    a = np.array([again.get(n, math.nan) for n in names])
    b = np.array([told.get(n, math.nan) for n in names])
    return bool(np.array_equal(a, b, equal_nan=True) if exact else np.allclose(a, b, rtol=TOLERANCE, atol=0, equal_nan=True))
