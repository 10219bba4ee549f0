"""A diagnosis as a report of at most 100 columns, worst first."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING, Literal

import numpy as np

from .findings import Diagnosis, Finding, Picture, Severity

if TYPE_CHECKING:
    from rich.text import Text

WIDTH = 100
_LABEL = 10
_MARK: dict[Severity, tuple[str, str]] = {
    "problem": ("✖ PROBLEM", "bold red"),
    "warning": ("▲ WARNING", "bold yellow"),
    "note": ("● note", "bold blue"),
    "fine": ("✓ fine", "bold green"),
}
_LEGEND = "▲△ above 0  ▼▽ below 0  · near 0"


def text(diagnosis: Diagnosis, *, colour: bool | None = None) -> str:
    """The report. colour: None for what the terminal can show."""
    from rich.console import Console

    if colour is None:
        colour = getattr(sys.stdout, "isatty", bool)() and "NO_COLOR" not in os.environ
    out = io.StringIO()
    system: Literal["standard"] | None = "standard" if colour else None
    console = Console(file=out, force_terminal=colour, color_system=system, width=WIDTH, legacy_windows=False)
    for line in lines(diagnosis):
        line.truncate(WIDTH, overflow="ellipsis")
        console.print(line, no_wrap=True, highlight=False)
    return out.getvalue().rstrip("\n")


def lines(diagnosis: Diagnosis) -> Iterator[Text]:
    from rich.text import Text

    holds = [f"{n:,} {name}" for name, n in diagnosis.holds.items() if n]
    yield Text(", ".join(holds) or "nothing could be read", style="bold")
    for sentence in diagnosis.assumed:
        yield from _labelled("assumed", sentence)
    for finding in diagnosis.findings:
        if finding.severity != "fine":
            yield Text("")
            yield from _finding(finding)
    fine = diagnosis.of("fine")
    if fine:
        yield Text("")
        mark, style = _MARK["fine"]
        for k, part in enumerate(wrap(", ".join(f.id for f in fine), WIDTH - _LABEL, break_on_hyphens=False)):
            yield Text.assemble((f"{mark if k == 0 else '':<{_LABEL}}", style), part)
        for finding in fine:
            for picture in finding.pictures:
                yield from _picture(picture)
    yield Text("")
    style = "bold red" if diagnosis.problems else "bold yellow" if diagnosis.warnings else "bold green"
    yield Text(diagnosis.verdict, style=style)


def _finding(finding: Finding) -> Iterator[Text]:
    from rich.text import Text

    mark, style = _MARK[finding.severity]
    yield Text.assemble((f"{mark:<{_LABEL}}", style), (finding.id, "bold"))
    yield from _labelled("", finding.says)
    yield from _labelled("why", f"{finding.why} ({finding.section})", "dim")
    yield from _labelled("do", finding.do)
    for k, place in enumerate(finding.places):
        yield from _labelled("at" if k == 0 else "", str(place), "dim")
    for picture in finding.pictures:
        yield from _picture(picture)


def _labelled(label: str, words: str, style: str = "") -> Iterator[Text]:
    from rich.text import Text

    plain = "".join(c if c.isprintable() else "�" for c in words)  # a log must not write on the terminal
    for k, part in enumerate(wrap(plain, WIDTH - _LABEL, break_on_hyphens=False) or [""]):
        yield Text.assemble((f"{label if k == 0 else '':>{_LABEL - 2}}  ", "dim"), (part, style))


def _picture(picture: Picture) -> Iterator[Text]:
    from rich.text import Text

    pad = " " * _LABEL
    legend = f"   {_LEGEND}" if picture.signed else ""
    yield Text.assemble(pad, (f"{picture.title}{legend}", "italic"))
    for line in picture.lines:  # each to its own scale: methods come in units of their own
        own = max((abs(v) for v in line.values if np.isfinite(v)), default=0.0)
        cells = Text.assemble(pad, f"{line.name:<12} ")
        for value in line.values:
            cells.append(*_cell(value, own, picture.signed))
        cells.append(f"  {line.beside}", style="dim")
        yield cells
    if picture.columns:
        yield Text.assemble(pad, (f"{'':<12} {_ends(picture)}", "dim"))


def _ends(picture: Picture) -> str:
    """The first and the last column, as far apart as the bars are wide."""
    if len(picture.columns) == 1:
        return picture.columns[0]
    return f"{picture.columns[0]} … {picture.columns[-1]}"


def _cell(value: float, scale: float, signed: bool) -> tuple[str, str]:
    if not np.isfinite(value):
        return " ", ""
    strength = abs(value) / scale if scale else 0.0
    if not signed:
        return " ▁▂▃▄▅▆▇█"[int(np.ceil(8 * strength - 1e-9))], "cyan"
    if strength < 0.02:
        return "·", "dim"
    return (("▲" if strength > 0.5 else "△"), "blue") if value > 0 else (("▼" if strength > 0.5 else "▽"), "yellow")
