"""What the page of a method says beside its numbers: what it is, needs and costs, and where it does well and badly."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .families import slug
from .gradient import REFERENCE
from .numbers import load, ratio, short
from .read import Run
from .terminal import speedup

#: Where an entrant's evidence comes from, in words (``Entrant.ask``).
ASKS: Mapping[str, str] = {
    "nothing": "nothing beside the rollouts",
    "fit": "something learned from the rollouts",
    "sampler": "fresh continuations",
    "judge": "a judge (simulated from the truth)",
    "policy": "the policy’s hindsight (simulated from the truth)",
    "model": "the model itself",
    "author": "someone who writes code or plans",
    "editor": "corrected rollouts (from the truth)",
    "hint": "a hint (from the truth)",
    "experts": "demonstrations (from the truth)",
    "forks": "where the forks are (the truth)",
    "truth": "the truth itself",
}


#: Emphasis and code marks of a docstring's first line.
_MARKS = re.compile(r"(?<!\w)[*`]+(?=\w)|(?<=\w)[*`]+(?!\w)")


def method_pages(run: Run, summary: Mapping[str, Any]) -> dict[str, Any]:
    """``entrants``: id -> slug, method, ask, options, source, shines and fails; ``library``: method id -> what it is.

    shines, fails: up to a few ``{"task", "text"}`` in which an interval decides (:func:`highlights`).
    """
    shines, fails = highlights(summary)
    entrants: dict[str, dict[str, Any]] = {}
    for id_ in run.methods():
        given = run.entrants[id_]
        method = str(given.get("method") or id_)
        knobs = {k: given[k] for k in ("options", "source") if given.get(k)}
        knobs |= {k: given[k] for k in ("epochs", "group", "keeps", "segments") if given.get(k) not in (None, False, 1)}
        ask = str(given.get("ask") or "")
        entrants[id_] = {"slug": slug(id_), "method": method, "ask": ask, "asks": ASKS.get(ask, ask), "options": _flat(knobs)}
        entrants[id_] |= {"shines": shines.get(id_, []), "fails": fails.get(id_, [])}
    return {"entrants": entrants, "library": {m: _known(m) for m in sorted({e["method"] for e in entrants.values()})}}


def _flat(knobs: Mapping[str, Any]) -> dict[str, str]:
    """Options one below the other: ``{"options": {"k": 4}, "epochs": 4}`` is k: 4, epochs: 4."""
    found: dict[str, str] = {}
    for name, value in knobs.items():
        for key, one in value.items() if isinstance(value, Mapping) else [(name, value)]:
            found[str(key)] = str(one)
    return found


def _known(id_: str) -> dict[str, Any]:
    """What the registry and the inventory know of a method; nothing where a run names one that this version lacks."""
    from ..registry import methods
    from ..survey import records

    spec, record = methods().get(id_), records().get(id_)
    found: dict[str, Any] = {}
    if spec is not None:
        found |= {
            "summary": _MARKS.sub("", spec.summary), "unit": spec.unit, "cost": spec.cost, "status": spec.status,
            "unbiased": spec.unbiased,
            "reads": sorted(spec.reads), "may_read": sorted(spec.may_read), "evidence": dict(spec.evidence),
        }  # fmt: skip
    if record is not None:
        found |= {"paper": record.source, "arxiv": record.arxiv, "name": record.name}
        found |= {"granularity": list(record.label("granularity") or ()), "methodology": record.label("methodology")}
        card = getattr(record, "card", None)
        found["card"] = [] if card is None else list(_card(card.model_dump(mode="json", exclude_none=True)))
    return found


def _card(fields: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """A card's fields as names and values, those of its parts under the name of the part."""
    for key, value in fields.items():
        name = f"{within}{key.replace('_', ' ')}"
        if isinstance(value, Mapping) and "is" in value:
            value = value["is"]
        if isinstance(value, Mapping):
            yield from _card(value, f"{name}: ")
        elif value not in ("", [], None):
            yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value).replace("_", " ")


Found = dict[str, list[dict[str, str]]]
MOST = 6


def highlights(summary: Mapping[str, Any]) -> tuple[Found, Found]:
    """Where each method shines and where it fails, best and worst first; only what an interval decides is said.

    Shines: cheaper to learn with than RLOO, or worth more than RLOO at equal cost (interval above 1). Fails: never learnt or
    dearer than RLOO, an update that pushes the wrong way, or is worth less than RLOO's at equal cost (interval below 1).
    """
    good: dict[str, list[tuple[float, dict[str, str]]]] = {}
    bad: dict[str, list[tuple[float, dict[str, str]]]] = {}

    def say(where: Any, row: Mapping[str, Any], weight: float, text: str) -> None:
        where.setdefault(row["method"], []).append((weight, {"task": row["task"], "text": text}))

    reached = {r["task"] for r in summary["learning"] if r["method"] == REFERENCE and r["cost"]["value"] not in (None, "inf")}
    for row in summary["learning"]:
        if row["method"] == REFERENCE:
            continue
        low, high = load(row["speedup"]["low"]), load(row["speedup"]["high"])
        if low > 1 or (row["at_least"] is not None and load(row["at_least"]) > 1):
            say(good, row, -1e6 - min(load(row["speedup"]["value"]) or 1e5, 1e5), f"learning is {speedup(row)} cheaper than RLOO")
        elif row["cost"]["value"] == "inf" and row["task"] in reached:
            say(bad, row, -1e6, f"never learnt, after {short(load(row['spent']))} price units; RLOO did")
        elif high < 1:
            say(bad, row, -1e5, f"learning costs {ratio(1 / load(row['speedup']['value']))} as much as RLOO")
    for row in summary["gradient"]:
        if row["batch"] != summary["reference_batch"] or row["method"] == REFERENCE:
            continue
        value, low, high = (load(row["net"][k]) for k in ("value", "low", "high"))
        if row["verdict"] == "pushes the wrong way":
            say(bad, row, -2e6, f"pushes the wrong way (alignment {load(row['rho']['value']):.2f})".replace("-", "−"))
        elif low > 1:
            say(good, row, -min(value, 1e5), f"a trajectory is worth {ratio(value)} one of RLOO’s, at equal cost")
        elif high < 1:
            say(bad, row, value, f"a trajectory is worth {ratio(value)} one of RLOO’s, at equal cost")
    return tuple({m: _few(said) for m, said in side.items()} for side in (good, bad))  # type: ignore[return-value]


def _few(said: list[tuple[float, dict[str, str]]]) -> list[dict[str, str]]:
    return [one for _, one in sorted(said, key=lambda s: (s[0], s[1]["task"]))[:MOST]]
