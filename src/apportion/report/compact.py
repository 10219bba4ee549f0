"""Rows of the summary as columns, for a page that holds thousands of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_ENDS = {"value", "low", "high"}
#: Parts of the summary that grow with methods times tasks.
LONG = ("gradient", "learning", "identification", "cost")


def compact(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary with its long parts as :func:`columns`."""
    return {key: columns(value) if key in LONG else value for key, value in summary.items()}


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``{"rows": n, "words": {key: {words, at}}, "estimates": {key: [...]}, "plain": {key: [...]}}``.

    words: texts, each once, and which one a row has. An estimate is [value, low, high], 0 where all three are unknown
    and null where the row lacks the key. ``templates/model.js`` makes rows of it again.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    made: dict[str, Any] = {"rows": len(rows), "words": {}, "estimates": {}, "plain": {}}
    for key in keys:
        values = [row.get(key) for row in rows]
        if all(v is None or (isinstance(v, Mapping) and set(v) == _ENDS) for v in values) and any(values):
            made["estimates"][key] = [_estimate(v) for v in values]
        elif all(isinstance(v, str) for v in values):
            words = list(dict.fromkeys(values))
            place = {word: i for i, word in enumerate(words)}
            made["words"][key] = {"words": words, "at": [place[v] for v in values]}
        else:
            made["plain"][key] = values
    return made


def _estimate(value: Mapping[str, Any] | None) -> Any:
    if value is None:
        return None
    found = [value["value"], value["low"], value["high"]]
    return found if any(v is not None for v in found) else 0
