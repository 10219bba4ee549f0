"""What the page of a task says beside its numbers: its knobs, and the exact facts of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ApportionError
from .families import slug
from .read import Run

#: Parts of a manifest's definition that the page shows elsewhere, or that tell nobody anything.
_SHOWN = ("id", "title", "family", "tags", "horizon", "series", "digest", "file_sha256", "sha256")


def task_pages(run: Run, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per task: id, slug, title, family, tags, horizon, start and best (exact returns), knobs and definition.

    knobs: name -> text, from the metadata record of a task that ships and is still as it was in the run; else from the
    manifest's definition. start, best: expected return of the starting policy and of the best policy, None where unknown.
    """
    return [_page(run, task) for task in summary["tasks"]]


def _page(run: Run, task: Mapping[str, Any]) -> dict[str, Any]:
    record = _record(str(task["id"]), task.get("sha256"))
    start, best = _learnt(run, str(task["id"]))
    made: dict[str, Any] = {k: task.get(k) for k in ("id", "title", "family", "horizon")}
    made |= {"slug": slug(str(task["id"])), "family_slug": slug(str(task.get("family", "")))}
    made["tags"] = [str(tag) for tag in task.get("tags") or []]
    if record is not None:
        values = record.pop("values")
        start, best = values.pop("expected_return"), values.pop("optimum")
        made["knobs"] = _knobs(record | values)
    else:
        made["knobs"] = _knobs({k: v for k, v in task.items() if k not in _SHOWN})
    return made | {"start": start, "best": best}


def _record(id_: str, sha256: Any) -> dict[str, Any] | None:
    """The metadata record as JSON, if there is still a task of this name with this definition."""
    from ..bench import catalog
    from ..bench.metadata import record

    try:
        task = catalog.find(id_)
        if task.neural or task.describe()["sha256"] != sha256:
            return None
        made = record(task).model_dump(mode="json")
    except (ApportionError, LookupError, ImportError):
        return None
    dropped = ("protocol", "task_id", "definition", "sha256", "licence", "version", "seed", *_SHOWN)
    return {k: v for k, v in made.items() if k not in dropped}


def _learnt(run: Run, task: str) -> tuple[float | None, float | None]:
    """Start and attainable return as the learning cells noted them."""
    for (_, id_, _, _), cell in run.values.get("learning", {}).items():
        if id_ == task and {"start", "attainable"} <= set(cell):
            start, best = cell["start"], cell["attainable"]
            return tuple(None if (known := v[v == v]).size == 0 else float(f"{known[0]:.6g}") for v in (start, best))  # type: ignore[return-value]
    return None, None


def _knobs(fields: Mapping[str, Any], within: str = "") -> dict[str, str]:
    """Nested fields as lines: ``{"replay": {"mode": "exact"}}`` is "replay: mode" -> "exact"; what is unknown is left out."""
    found: dict[str, str] = {}
    for key, value in fields.items():
        name = f"{within}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            found |= _knobs(value, f"{name}: ")
        elif value not in (None, "", [], ()):
            found[name] = _text(value)
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        shown = ", ".join(map(_text, value[:12]))
        return f"{shown}, … ({len(value)})" if len(value) > 12 else shown
    return str(value)
