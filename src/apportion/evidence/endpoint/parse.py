"""Reading a judge's answer: what is not exactly what was asked for is null, never guessed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

KEY = "scores"


def contract(count: int, levels: Sequence[float] | None) -> str:
    """What is put after the question: the form that the answer must end in."""
    allowed = "a number between -1 and 1" if levels is None else "one of " + ", ".join(f"{level:g}" for level in levels)
    many = f"exactly {count} entries, in order" if count > 1 else "exactly one entry"
    return (
        f'\n\nEnd your answer with one line of JSON, {{"{KEY}": [...]}}, and nothing after it: {many}, each {allowed}, '
        "or null where you cannot tell."
    )


def scores(text: str, count: int, levels: Sequence[float] | None) -> list[float] | None:
    """The scores at the end of an answer, NaN for null; None where it does not keep the contract.

    The last JSON object with the key counts (a model may think aloud before it), and nothing but white space or the fence
    of a code block may follow: where it is broken, or taken back, an earlier draft does not stand in for it. Its length,
    every entry and the scale must be as asked. Numbers written as text, other scales and prose are not turned into scores.
    """
    found = _last(text)
    if found is None or len(found) != count:
        return None
    values = [_number(entry) for entry in found]
    if any(value is None for value in values):
        return None
    known = [value for value in values if value is not None and not math.isnan(value)]
    if levels is None:
        if any(abs(value) > 1 for value in known):
            return None
    elif any(value not in levels for value in known):
        return None
    return [float(value) for value in values if value is not None]


def _number(entry: Any) -> float | None:
    if entry is None:
        return math.nan
    if isinstance(entry, bool) or not isinstance(entry, int | float) or not math.isfinite(entry):
        return None
    return float(entry)


def _last(text: str) -> list[Any] | None:
    """The list under the last key in the text, if the object that it stands in is whole and nothing comes after it."""
    key = at = text.rfind(f'"{KEY}"')
    while key >= 0 and (at := text.rfind("{", 0, at)) >= 0:
        try:
            found, end = json.JSONDecoder().raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
        if end <= key or KEY not in found:  # another object within the one that is looked for
            continue
        return list(found[KEY]) if isinstance(found[KEY], list) and not text[end:].replace("`", "").strip() else None
    return None
