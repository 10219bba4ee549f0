"""The claims as a page: what ``apportion bench claims --markdown`` prints and ``docs/claims.md`` holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_HEAD = """# Published claims, tested

What papers say, as controlled experiments on tasks whose truth is known. A verdict follows from the numbers by a rule in the
experiment's own code; brackets are 95 % intervals over seeds, and a number in front of no bracket is exact. This page is
printed by `{command}`, each claim alone by the command below it, and `apportion bench claims --run RUN` stores what was
found beside a run, whose report then shows it. With fewer seeds more is undecided: intervals too wide for a yes or a no.
"""


def markdown(rows: Iterable[Mapping[str, Any]], command: str) -> str:
    """The page: a table of verdicts, then each claim with its experiment, numbers and command."""
    rows = list(rows)
    table = ["| claim | source | verdict |", "|---|---|---|"]
    table += [f"| [{r['claim']}](#{r['id']}) | {r['source']} | {_verdict(r)} |" for r in rows]
    parts = [_HEAD.format(command=command), "\n".join(table), *(_one(r) for r in rows)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _one(row: Mapping[str, Any]) -> str:
    numbers = ["| number | value | claimed |", "|---|---|---|"]
    numbers += [f"| {n['what'].replace('|', chr(92) + '|')} | {_value(n)} | {_short(n['claimed'])} |" for n in row["numbers"]]
    lines = [f"## {row['id']}", f"{row['claim']} ({row['source']})", f"**{_verdict(row)}**", f"{row['experiment']}."]
    return "\n\n".join([*lines, "\n".join(numbers), f"`{row['command']}`"])


def _verdict(row: Mapping[str, Any]) -> str:
    return f"{row['verdict']} {row['when'] or ''}".strip()


def _value(number: Mapping[str, Any]) -> str:
    if number["low"] is None or number["high"] is None:
        return _short(number["value"])
    return f"{_short(number['value'])} [{_short(number['low'])}, {_short(number['high'])}]"


def _short(x: float | None) -> str:
    """Three significant digits; what is 0 but for rounding is 0."""
    return "" if x is None else "0" if abs(x) < 1e-9 else f"{x:.3g}"
