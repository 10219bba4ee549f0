"""Families of tasks: what each asks, and who does best in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .numbers import load, ratio

#: What a family asks of credit assignment; families of other people's tasks have no sentence here.
ASKS: Mapping[str, tuple[str, str]] = {
    "bifurcation": ("Bifurcation", "Long routine stretches and a few forks that decide: who finds the forks, at any horizon?"),
    "reasoning": ("Reasoning", "Steps of one answer, free to be sampled again from any of them: who finds the wrong step?"),
    "agentic": ("Agentic", "Turns in an environment with random moves and hidden state: who copes without exact replay?"),
    "team": ("Team", "Several agents and one reward: who tells the work of one from that of another?"),
    "interaction": ("Interaction", "Decisions that only count together (and, or, xor, order): which meaning of credit holds?"),
    "witness": ("Witness", "Pairs of worlds that look alike and differ in credit: who claims to know what cannot be known?"),
    "classical": ("Classical", "Tasks of the older literature, so that new figures can be set against known ones."),
    "tiny": ("Tiny", "The smallest tasks, as twins of those in which a small transformer acts."),
    "neural": ("Neural", "A small transformer acts and learns: does what holds for tables hold here?"),
}


def family_cards(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per family of the run: id, slug, title, asks, tasks (id and slug), best (one method per score)."""
    cards = []
    for id_ in dict.fromkeys(str(t.get("family", "")) for t in summary["tasks"]):
        title, asks = ASKS.get(id_, (id_ or "no family", ""))
        tasks = [{"id": t["id"], "slug": slug(t["id"])} for t in summary["tasks"] if str(t.get("family", "")) == id_]
        cards.append({"id": id_, "slug": slug(id_), "title": title, "asks": asks, "tasks": tasks, "best": _best(summary, id_)})
    return cards


#: Score -> what it is in a table.
SCORES: Mapping[str, str] = {"speed": "by learning", "alignment": "by gradient"}


def _best(summary: Mapping[str, Any], family: str) -> dict[str, dict[str, Any] | None]:
    """Score -> the method without oracle with the highest interquartile mean, with its interval; None where there is none.

    Methods that were not measured on every task of the family are left out: they would win by choosing. So are scores of
    0: of runs that never got there none is best. beats: whether the interval of its chance to beat RLOO lies above half.
    """
    names = {m["id"]: m["name"] for m in summary["methods"]}
    found: dict[str, dict[str, Any] | None] = {}
    for score in SCORES:
        rows = [
            r for r in summary["aggregate"]
            if r["family"] == family and r["score"] == score and not r["oracle"] and len(r["tasks"]) == r["of"]
            and load(r["iqm"]["value"]) > 0
        ]  # fmt: skip
        best = max(rows, key=lambda r: load(r["iqm"]["value"]), default=None)
        found[score] = None
        if best is not None:
            value, low, high = (_said(score, load(best["iqm"][k])) for k in ("value", "low", "high"))
            found[score] = {
                "name": names[best["method"]], "slug": slug(best["method"]), "beats": load(best["poi"]["low"]) > 0.5,
                "figure": ("at least " if best["bound"] else "") + value, "interval": f"{low} to {high}",
            }  # fmt: skip
    return found


def _said(score: str, value: float) -> str:
    return ratio(value) if score == "speed" else f"{value:.2f}".replace("-", "−")


def slug(id_: str) -> str:
    """An id as a part of an address: ``team/two`` is ``team~two``."""
    return id_.replace("/", "~")
