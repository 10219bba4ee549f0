"""Contributed runs side by side, family by family: only what was measured alike is compared, and nothing without its interval.

What was measured alike is one *board*: the same protocol, settings, prices and tasks of a family, hash by hash. Within a
board a method is one row: where several files hold it with the same options, code and seeds it is counted once (and
a disagreement between them is said); with other code or other seeds it has rows of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..bench.manifest import digest
from ..bench.submission_form import Submission
from .aggregate import aggregate_rows
from .read import Run, reference_batch

#: Scores of :mod:`report.aggregate`, the headline first: each has a board of its own.
SCORES = ("speed", "alignment")


def as_run(found: Submission) -> Run:
    """A submission as the run it was made from (without its lens)."""
    values: dict[str, dict[tuple[str, str, int, float], Mapping[str, Any]]] = {}
    for cell in found.cells:
        key = (cell.method, cell.task, cell.batch, cell.lr)
        values.setdefault(cell.measure, {})[key] = {
            name: np.array([np.nan if v is None else float(v) for v in column]) for name, column in cell.metrics.items()
        }
    manifest = {name: getattr(found, name) for name in ("protocol", "suite", "command", "versions", "code", "prices", "settings")}
    tasks = {t.id: t.model_dump(mode="json") for t in found.tasks}
    entrants = {e.id: e.model_dump(mode="json") for e in found.entrants}
    return Run({**manifest, "missing": []}, tasks, entrants, found.seeds, values, None)


def boards(files: Mapping[str, Submission]) -> dict[str, Any]:
    """``{"boards": [...], "notes": [...]}``; ``files`` by name, in the order in which they count.

    A board: ``family``, ``tasks`` (ids), ``fingerprint``, ``score`` it is ranked by (a board each for learning and, since
    few are trained, for the gradient), ``settings`` and ``prices`` that set it apart, ``files``, and ``rows``, best first:
    ``rank`` (null for oracles, and for whoever was not measured on all tasks: choosing tasks would win),
    ``rank_low`` and ``rank_high`` (one more than the methods whose interval lies wholly above,
    and than those not wholly below), ``method``, ``oracle``, ``own`` (on a task from a file that does not ship), ``iqm``,
    ``poi``, ``runs``, ``tasks``, ``of``, ``files`` it is in, ``contributor``.
    """
    found: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    for name, one in files.items():
        run = as_run(one)
        scored = aggregate_rows(run, reference_batch(run))
        for family in dict.fromkeys(t.family for t in one.tasks):
            tasks = {t.id: t.digest for t in one.tasks if t.family == family}
            print_ = digest([one.protocol, one.settings, one.prices, tasks])
            board = found.setdefault(print_, _board(family, tasks, print_, one))
            board["files"].append(name)
            for row in scored:
                if row["family"] == family:
                    _add(board, row, name, one, notes)
    made = [_ranked(board, score) for board in found.values() for score in SCORES]
    kept = [board for board in made if board["rows"]]
    return {"boards": sorted(kept, key=lambda b: (b["family"], b["fingerprint"], SCORES.index(b["score"]))), "notes": notes}


def _board(family: str, tasks: Mapping[str, str], print_: str, one: Submission) -> dict[str, Any]:
    return {
        "family": family, "tasks": list(tasks), "fingerprint": print_[:12], "settings": one.settings,
        "prices": one.prices, "files": [], "held": {},
    }  # fmt: skip


def _add(board: dict[str, Any], row: Mapping[str, Any], file: str, one: Submission, notes: list[str]) -> None:
    entrant = next(e for e in one.entrants if e.id == row["method"])
    same = digest([entrant.model_dump(mode="json"), row["score"], one.code, list(one.seeds)])
    own = any(t.file_sha256 for t in one.tasks if t.id in row["tasks"])
    held = board["held"].get(same)
    if held is None:
        board["held"][same] = {**row, "files": [file], "contributor": one.about.contributor, "own": own, "code": one.code[:12]}
        return
    held["files"].append(file)
    if {k: held[k] for k in ("iqm", "poi", "tasks")} != {k: row[k] for k in ("iqm", "poi", "tasks")}:
        notes.append(
            f"{row['method']} on {board['family']} ({row['score']}): {file} and {held['files'][0]} were made alike and disagree; "
            f"{held['files'][0]} is shown"
        )


def _ranked(held: Mapping[str, Any], score: str) -> dict[str, Any]:
    board = {name: value for name, value in held.items() if name != "held"} | {"score": score}
    rows = [r for r in held["held"].values() if r["score"] == score]
    rows.sort(key=lambda r: (-r["iqm"]["value"], r["method"]))
    fair = [r for r in rows if not r["oracle"] and len(r["tasks"]) == r["of"]]
    part = [r for r in rows if not r["oracle"] and len(r["tasks"]) < r["of"]]
    made = []
    for place, row in enumerate(fair, 1):
        above = sum(_above(other, row) for other in fair)
        below = sum(_above(row, other) for other in fair)
        made.append(_shown(row) | {"rank": place, "rank_low": above + 1, "rank_high": len(fair) - below})
    unranked = part + [r for r in rows if r["oracle"]]
    made += [_shown(row) | {"rank": None, "rank_low": None, "rank_high": None} for row in unranked]
    return {**board, "rows": made}


def _above(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    low, high = one["iqm"]["low"], other["iqm"]["high"]
    return low is not None and high is not None and bool(low > high)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("method", "oracle", "own", "iqm", "poi", "gap", "runs", "tasks", "of", "bound", "files", "contributor", "code")
    return {name: row[name] for name in names}


def found_files(paths: Sequence[Any]) -> list[Any]:
    """Contributed files among paths: folders are searched for ``*.json`` and ``*.json.gz``, sorted by name."""
    from pathlib import Path

    from ..errors import BenchError

    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += sorted(p for p in path.rglob("*") if p.name.endswith((".json", ".json.gz")) and p.is_file())
        elif path.is_file():
            files.append(path)
        else:
            raise BenchError(f"{path}: no such file or folder")
    if not files:
        raise BenchError(
            f"no contributed file in {', '.join(map(str, paths))}: make one with apportion bench submit RUN --out FILE"
        )
    return list(dict.fromkeys(files))
