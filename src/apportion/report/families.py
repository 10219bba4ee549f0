"""Families of tasks: what each asks, and who does best in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .numbers import digits, load

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
    """One row per family of the run: id, slug, title, asks, tasks (id and slug), best (a sentence per score)."""
    cards = []
    for id_ in dict.fromkeys(str(t.get("family", "")) for t in summary["tasks"]):
        title, asks = ASKS.get(id_, (id_ or "no family", ""))
        tasks = [{"id": t["id"], "slug": slug(t["id"])} for t in summary["tasks"] if str(t.get("family", "")) == id_]
        cards.append({"id": id_, "slug": slug(id_), "title": title, "asks": asks, "tasks": tasks, "best": _best(summary, id_)})
    return cards


def _best(summary: Mapping[str, Any], family: str) -> list[str]:
    """The method without oracle with the highest interquartile mean of each score, with its interval.

    Methods that were not measured on every task of the family are left out: they would win by choosing.
    """
    names = {m["id"]: m["name"] for m in summary["methods"]}
    lines = []
    for score, what in (("speed", "learning, RLOO’s cost over its own"), ("alignment", "alignment with the exact gradient")):
        rows = [
            r for r in summary["aggregate"]
            if r["family"] == family and r["score"] == score and not r["oracle"] and len(r["tasks"]) == r["of"]
            and r["iqm"]["value"] is not None
        ]  # fmt: skip
        if rows:
            best = max(rows, key=lambda r: load(r["iqm"]["value"]))
            value, low, high = (digits(load(best["iqm"][k])) for k in ("value", "low", "high"))
            lines.append(f"{names[best['method']]}: {value} ({low} to {high}), {what}")
    return lines


def slug(id_: str) -> str:
    """An id as a part of an address: ``team/two`` is ``team~two``."""
    return id_.replace("/", "~")
