"""The trajectory lens: one trajectory's units in a row, coloured by credit, a row per method.

The same component shows a benchmark's trajectories under their exact truth (in the report) and
anyone's own logs (:func:`write_lens`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..edges.credit_table import kept_on, on_level
from ..errors import BenchError, CreditError
from ..pages.embed import safe_json, write_text
from ..structure import Float
from .embed import asset, report_page

LONGEST_TEXT = 2000  # characters of a turn that are shown
LONGEST_SEEN = 500  # characters of one message of the user or a tool, where the turn does not fit as it is
BUDGET = 1_600_000  # bytes of lens data in one page

LensUnit = Literal["turn", "step"]


def write_lens(
    batch: Batch,
    credits: Mapping[str, Credit],
    out: str | Path,
    *,
    truth: Any = None,
    luck: Any = None,
    unit: LensUnit = "turn",
    title: str = "Where the credit went",
) -> Path:
    """One self-contained HTML page that shows ``credits`` of ``batch`` side by side.

    credits: title -> credit of this batch. truth, luck: one value per unit where they are known.
    unit: "turn", or "step" where the batch has steps. Trajectories that do not fit in the page are
    left out, and the page says how many. Raises ``CreditError`` for credit of another batch and for
    values of the wrong length, before anything is written.
    """
    data = lens_data(batch, credits, truth=truth, luck=luck, unit=unit)
    shown, left_out = fit_budget(data)
    return write_page(shown, out, left_out=left_out, title=title)


def write_page(data: Mapping[str, Any], out: str | Path, *, left_out: int, title: str, notes: Sequence[str] = ()) -> Path:
    """The page that shows ``data`` (:func:`lens_data`); notes: what a reader should know of where it comes from."""
    scripts = [asset("templates/lens.js")]
    html = report_page("lens.html.jinja", scripts, {"lens": data}, title=title, left_out=left_out, notes=list(notes))
    return write_text(html, out)


def lens_data(
    batch: Batch,
    credits: Mapping[str, Credit],
    *,
    truth: Any = None,
    luck: Any = None,
    unit: LensUnit = "turn",
    trajectories: Sequence[int] | None = None,
) -> dict[str, Any]:
    """A batch and its credit in the form of a run folder's ``lens.json``, one task per group.

    trajectories: which ones (default: all).
    """
    if not credits:
        raise CreditError("credits is empty: give at least one, for example {'gigpo': ap.assign(batch, 'gigpo')}")
    values = {name: _values(batch, name, credit, unit) for name, credit in credits.items()}
    extra = {name: _known(batch, name, given, unit) for name, given in (("truth", truth), ("luck", luck)) if given is not None}
    dropped = {name: ~kept_on(credit, unit) for name, credit in credits.items()}
    owner = batch.within(unit, "trajectory")
    starts = np.searchsorted(owner, np.arange(batch.n_trajectories + 1))
    groups: dict[str, list[dict[str, Any]]] = {}
    for i in range(batch.n_trajectories) if trajectories is None else trajectories:
        part = slice(int(starts[i]), int(starts[i + 1]))
        group = "all trajectories" if batch.group is None else str(batch.group.name(i))
        groups.setdefault(group, []).append(
            {
                "id": str(batch.trajectory.name(i)),
                "reward": float(batch.reward[i]) if _has_reward(batch) else None,
                **({"truncated": True} if batch.truncated is not None and batch.truncated[i] else {}),
                "turns": _turns(batch, unit, part),
                "methods": {name: _numbers(v[part]) for name, v in values.items()},
                "dropped": {name: np.flatnonzero(v[part]).tolist() for name, v in dropped.items() if v[part].any()},
                **{name: _numbers(v[part]) for name, v in extra.items()},
            }
        )
    return {"unit": unit, "overview": True, "tasks": [{"task": name, "trajectories": t} for name, t in groups.items()]}


def _turns(batch: Batch, unit: LensUnit, part: slice) -> list[dict[str, Any]]:
    """Text, size and reward of each unit; "tokens" is a pair: all of them, and those the policy wrote."""
    size, own = np.diff(batch.offsets(unit))[part].tolist(), batch.action_count(unit)[part].tolist()
    made: list[dict[str, Any]] = [
        {"text": text, "tokens": [n, k]} for text, n, k in zip(_texts(batch, unit, part), size, own, strict=True)
    ]
    if unit == "turn" and batch.turn_reward is not None:
        made = [{**turn, "reward": r} for turn, r in zip(made, _numbers(batch.turn_reward[part]), strict=True)]
    return made


def _has_reward(batch: Batch) -> bool:
    return any(getattr(batch, n) is not None for n in ("outcome", "turn_reward", "token_reward"))


def _values(batch: Batch, name: str, credit: Credit, unit: LensUnit) -> Float:
    """The credit on the lens's unit; NaN where the method has no opinion."""
    if credit.batch is not batch and not credit.batch.same(batch):
        raise CreditError(f"credits[{name!r}] credits another batch: give the lens credit.batch")
    values, scored = on_level(credit, unit)
    found: Float = np.where(scored, values, np.nan)
    return found


def _known(batch: Batch, name: str, given: Any, unit: LensUnit) -> Float:
    array = np.asarray(given, dtype=np.float64)
    if array.shape != (batch.count(unit),):
        raise CreditError(f"{name} has shape {array.shape}, expected ({batch.count(unit)},): one per {unit}")
    return array


def _texts(batch: Batch, unit: LensUnit, part: slice) -> list[str]:
    """What stands in each unit. Steps have no text of their own: they name their turn."""
    units = range(part.start, part.stop)
    if unit == "step":
        turn, first = batch.within("step", "turn"), batch.within("step", "turn")[part.start]
        return [f"step {k - part.start + 1}, in turn {int(turn[k] - first) + 1}" for k in units]
    given = batch.text
    sizes = np.diff(batch.offsets("turn"))
    return [_size(int(sizes[k])) if given is None or given[k] is None else str(given[k]) for k in units]


def _size(tokens: int) -> str:
    return f"({tokens} token{'s' if tokens != 1 else ''}, no text recorded)"


def _numbers(values: Sequence[Any] | Float) -> list[float | None]:
    """Four digits are more than a colour shows; None where null."""
    return [None if v is None or not isfinite(v) else float(f"{v:.4g}") for v in map(_plain, values)]


def _plain(value: Any) -> float | None:
    return None if value is None else float(value)


def check_lens(data: Mapping[str, Any]) -> dict[str, Any]:
    """A run's ``lens.json``, made compact; an error names the trajectory whose lengths disagree."""
    tasks = []
    for task in data.get("tasks", []):
        trajectories = []
        for given in task["trajectories"]:
            n = len(given["turns"])
            rows = {"truth": given.get("truth"), "luck": given.get("luck"), **given["methods"]}
            for name, row in rows.items():
                if row is not None and len(row) != n:
                    where = f"task {task['task']!r}, trajectory {given['id']!r}"
                    raise BenchError(f"lens.json: {where}: '{name}' has {len(row)} values, expected {n}: one per turn")
            turns = [{**t, "text": str(t.get("text") or "")} for t in given["turns"]]
            compact = {**given, "turns": turns, "methods": {k: _numbers(v) for k, v in given["methods"].items()}}
            for name in ("truth", "luck"):
                if given.get(name) is not None:
                    compact[name] = _numbers(given[name])
            trajectories.append(compact)
        tasks.append({**task, "trajectories": trajectories})
    return {**data, "tasks": tasks}


def lens_size(data: Mapping[str, Any]) -> int:
    """Bytes of the page that these trajectories take, once their texts are cut (:func:`fit_budget`)."""
    return sum(_size_of(_shortened(x)) for task in data["tasks"] for x in task["trajectories"])


def _size_of(trajectory: Mapping[str, Any]) -> int:
    return len(safe_json(trajectory).encode())


def _shortened(trajectory: Mapping[str, Any]) -> dict[str, Any]:
    return {**trajectory, "turns": [_cut(t) for t in trajectory["turns"]]}


def fit_budget(data: Mapping[str, Any], budget: int = BUDGET) -> tuple[dict[str, Any], int]:
    """As many trajectories as fit in ``budget`` bytes, taken in turn from every task; and how many did not."""
    tasks = [{**t, "trajectories": []} for t in data["tasks"]]
    left_out, spent = 0, 0
    depth = max((len(t["trajectories"]) for t in data["tasks"]), default=0)
    for k in range(depth):
        for given, kept in zip(data["tasks"], tasks, strict=True):
            if k >= len(given["trajectories"]):
                continue
            trajectory = _shortened(given["trajectories"][k])
            size = _size_of(trajectory)
            if spent + size > budget and spent:
                left_out += 1
                continue
            spent += size
            kept["trajectories"].append(trajectory)
    return {**data, "tasks": [t for t in tasks if t["trajectories"]]}, left_out


_ROLE = re.compile(r"^(?=(?:system|developer|user|assistant|tool): )", re.MULTILINE)


def _cut(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn whose text fits: first what the policy was shown is shortened, then the whole.

    A tool's output may be a thousand times longer than the call that the credit is for.
    """
    text = turn["text"]
    if len(text) > LONGEST_TEXT and _ROLE.match(text):
        parts = _ROLE.split(text)
        text = "".join(p if p.startswith("assistant: ") else _middle_out(p, LONGEST_SEEN) for p in parts)
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]} … ({len(text) - LONGEST_TEXT:,} more characters)"
    return {**turn, "text": text}


def _middle_out(text: str, most: int) -> str:
    """The beginning and the end of a text: an error message tends to stand last."""
    if len(text) <= most:
        return text
    tail = most // 4
    return f"{text[: most - tail]}\n… ({len(text) - most:,} more characters) …\n{text[-tail:]}"
