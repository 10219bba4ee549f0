"""What the comparison of selectors says, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def compared_text(found: Mapping[str, Any]) -> list[str]:
    """What the table of :func:`compare` means, and what it says, whoever it favours."""
    rows = {r["selector"]: r for r in found["rows"]}
    more = []
    if "own" in found:
        without = {r["selector"]: r for r in found["rows_without_own"]}
        own = f"{', '.join(found['own'])}, which is ours and which no tree can name, is the best in {found['own_best']} cases"
        more.append(f"{own}; with it left out, {_ahead(without)}")
    return [
        f"{found['cases']} cases: {found['tasks']} held-out tasks ({found['trained']} by training, the others by their "
        f"gradient), each with what its user may have: {', '.join(found['have'])}",
        f"the share of cases where advice is within {100 * found['close']:.0f} % of the best that can be run, with 95 % "
        f"intervals over tasks and {found['seeds']} seeds; the first candidate, and the best of the first {found['first']}",
        f"training ended short of the target in every run of {found['drawn_on']['never']} of the {found['drawn_on']['trained']} "
        f"trained pairs of method and task, and of the best in {found['drawn_on']['best_never']} of "
        f"{found['drawn_on']['best']} cases: their cost is drawn on in a straight line from the share of the way they had come, "
        "so these figures order progress for its cost more than times to the target",
        _ahead(rows),
        *more,
        f"a selector that names nothing that runs leaves its user with {found['fall_back'].upper()}; candidates that cannot "
        "be run are passed over",
        "'best on the other seeds' saw the task itself and is judged by the seed it did not see, alone: about what the noise of "
        "the measurement leaves for any selector",
    ]


def _ahead(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The measured selector against the best of the published trees."""
    ours = rows["measured"]
    best = max((rows[name] for name in ("figure", "table", "guide")), key=lambda r: float(r["first"]["value"]))
    ahead = best["ours_ahead"]
    verdict = "more often" if ahead["low"] > 0 else "less often" if ahead["high"] < 0 else "no more and no less often"
    return (
        f"measured holds {verdict} with its first candidate ({100 * ours['first']['value']:.0f} %) than the best published tree "
        f"(the {best['selector']}, {100 * best['first']['value']:.0f} %): it is ahead by {100 * ahead['value']:.0f} points "
        f"({100 * ahead['low']:.0f} to {100 * ahead['high']:.0f}), and by {100 * best['ours_ahead_least']:.0f} at least with any "
        "one task left out"
    )
