"""The items as a Markdown table, for the documentation."""

from __future__ import annotations

from collections.abc import Iterable

from .items import Item


def table(items: Iterable[Item]) -> str:
    """One line an item: what it asks, and what counts as which answer. The texts are our own: nothing is escaped."""
    lines = ["| # | item | asks | reported | partial | not reported | not applicable |", "|--:|---|---|---|---|---|---|"]
    for item in items:
        mark = {"required": "", "recommended": " (recommended)", "extension": ""}[item.priority]
        words = (f"`{item.id}`{mark}", item.question, item.reported, item.partial, item.not_reported, item.not_applicable)
        lines.append(f"| {item.number} | {' | '.join(words)} |")
    return "\n".join(lines) + "\n"
