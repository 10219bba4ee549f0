"""What ``apportion select --pairs`` and ``--compare`` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .select_show import plain_table, say


def pair_rows() -> list[dict[str, Any]]:
    """Known pairs with what each tree says of them."""
    from ..survey.pairs import pairs

    return [
        {"benchmark": p.benchmark, "method": p.method, "profile": p.profile.said(), "hits": dict(p.hits()), "note": p.note}
        for p in pairs()
    ]


def show_pairs(rows: Sequence[Mapping[str, Any]]) -> None:
    """A row per pair, a column per tree."""
    from .bench_tasks import stdout

    names = list(rows[0]["hits"])
    table = plain_table("benchmark", "method", *names, "read as")
    for r in rows:
        table.add_row(r["benchmark"], r["method"], *("hit" if r["hits"][n] else "miss" for n in names), r["note"])
    console = stdout()
    console.print(table)
    say(console, "; ".join(f"{n}: {sum(r['hits'][n] for r in rows)} of {len(rows)}" for n in names))


def show_compared(found: Any) -> None:
    """A row per selector."""
    from ..bench.selection.said import compared_text
    from .bench_tasks import stdout

    console = stdout()
    names = ("first within 10 %", "best of 4", "cost, best is 1", "nothing runs")
    table = plain_table("selector", *names, numbers=names)
    for r in found["rows"]:
        silent = "-" if r["silent"] is None else f"{100 * r['silent']:.0f} %"
        table.add_row(r["selector"], _share(r["first"]), _share(r["best"]), _times(r["excess"]), silent)
    console.print(table)
    for line in compared_text(found):
        say(console, line)


def _share(e: Mapping[str, float] | None) -> str:
    return "-" if e is None else f"{100 * e['value']:.0f} % ({100 * e['low']:.0f} to {100 * e['high']:.0f})"


def _times(e: Mapping[str, float] | None) -> str:
    return "-" if e is None else f"{e['value']:.3g} ({e['low']:.3g} to {e['high']:.3g})"
