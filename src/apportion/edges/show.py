"""How batches and credit look in a terminal and in a notebook.

Credit is a strip of cells per trajectory, blue above zero and orange below; the
sign is in the shape of a cell too, so that nothing hangs on colour alone.
"""

from __future__ import annotations

import os
import sys
from html import escape
from textwrap import wrap

import numpy as np

from ..batch import Batch
from ..credit import Credit
from .facts import Facts, batch_facts, batch_title, credit_facts, credit_title
from .strips import Strip, strips

WIDTH = 100
_ROWS = 8
_LABEL = 9
_LEGEND = "▲△ above 0  ▼▽ below 0  · near 0  ? not scored  × not in the loss"


def batch_repr(batch: Batch) -> str:
    return _terminal(batch_title(batch), batch_facts(batch), [], 0.0, 0)


def credit_repr(credit: Credit) -> str:
    rows = strips(credit, most=_ROWS, cells=60)
    return _terminal(credit_title(credit), credit_facts(credit), rows, _scale(credit), credit.batch.n_trajectories)


def batch_html(batch: Batch) -> str:
    return _page(batch_title(batch), batch_facts(batch), "")


def credit_html(credit: Credit) -> str:
    scale = _scale(credit)
    rows = "".join(_html_strip(credit, s, scale) for s in strips(credit, most=20, cells=120))
    more = credit.batch.n_trajectories - 20
    rest = f"<tr><td></td><td>and {more:,} more trajectories</td></tr>" if more > 0 else ""
    return _page(
        credit_title(credit), credit_facts(credit), f"<table style='color:inherit'>{rows}{rest}</table><small>{_LEGEND}</small>"
    )


def _scale(credit: Credit) -> float:
    return float(np.abs(credit.unit).max()) if credit.unit.size else 0.0


def _glyph(value: float, null: bool, dropped: bool, scale: float) -> str:
    if dropped:
        return "×"
    if null:
        return "?"
    strength = abs(value) / scale if scale else 0.0
    if strength < 0.02:
        return "·"
    return ("▲" if strength > 0.5 else "△") if value > 0 else ("▼" if strength > 0.5 else "▽")


# --- terminal ---------------------------------------------------------------------------------------
def _terminal(title: str, facts: Facts, rows: list[Strip], scale: float, total: int) -> str:
    import io

    from rich.console import Console
    from rich.text import Text

    colour = getattr(sys.stdout, "isatty", bool)() and "NO_COLOR" not in os.environ
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=colour, color_system="truecolor" if colour else None, width=WIDTH, legacy_windows=False
    )
    lines = [Text(_plain(title), style="bold")]
    for label, text in facts:
        parts = wrap(
            _plain(text), WIDTH - _LABEL - 2, max_lines=2, placeholder=" …", replace_whitespace=False, drop_whitespace=False
        )
        heads = [label, *[""] * (len(parts) - 1)]
        lines += [Text.assemble((f"  {head:<{_LABEL}}", "dim"), part) for head, part in zip(heads, parts, strict=True)]
    for strip in rows:
        name = _plain(str(strip.trajectory))
        line = Text.assemble((f"  {name if len(name) <= _LABEL - 1 else name[: _LABEL - 2] + '…':<{_LABEL}}", "dim"))
        for value, null, dropped in zip(strip.value, strip.null, strip.dropped, strict=True):
            line.append(_glyph(value, null, dropped, scale), style=_style(value, scale) if not (null or dropped) else "dim")
        line.append(f"  reward {strip.reward:.4g}", style="dim")
        lines.append(line)
    if rows:
        more = total - len(rows)
        lines.append(Text(f"  {'':<{_LABEL}}{_LEGEND}" + (f"; {more:,} more" if more else ""), style="dim"))
    for line in lines:
        line.truncate(WIDTH, overflow="ellipsis")
        console.print(line, no_wrap=True, highlight=False)
    return out.getvalue().rstrip("\n")


def _plain(text: str) -> str:
    """Text without the control characters with which a log could write on the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _style(value: float, scale: float) -> str:
    strength = abs(value) / scale if scale else 0.0
    strong, pale = ((33, 102, 172), (146, 197, 222)) if value > 0 else ((230, 97, 1), (253, 184, 99))
    mixed = [round(p + (s - p) * strength) for p, s in zip(pale, strong, strict=True)]
    return "dim" if strength < 0.02 else "rgb({},{},{})".format(*mixed)


# --- notebook ---------------------------------------------------------------------------------------
def _page(title: str, facts: Facts, body: str) -> str:
    rows = "".join(f"<tr><td><b>{escape(k)}</b></td><td style='text-align:left'>{escape(v)}</td></tr>" for k, v in facts)
    head = f"<b>{escape(title)}</b><table style='color:inherit'>{rows}</table>"
    return f"<div style='font-family:sans-serif;white-space:pre-wrap'>{head}{body}</div>"


def _html_strip(credit: Credit, strip: Strip, scale: float) -> str:
    cells = "".join(
        f"<span title='{escape(_tip(credit, strip, k), quote=True)}' style='display:inline-block;width:1.1em;text-align:center;"
        f"background:{_background(strip, k, scale)}'>{_glyph(strip.value[k], strip.null[k], strip.dropped[k], scale)}</span>"
        for k in range(strip.value.size)
    )
    name = escape(str(strip.trajectory)[:40])
    return f"<tr><td>{name}</td><td style='text-align:left'>{cells} reward {strip.reward:.4g}</td></tr>"


def _background(strip: Strip, k: int, scale: float) -> str:
    """Blue or orange over whatever stands behind, so that light and dark pages both work."""
    if strip.null[k] or strip.dropped[k] or not scale:
        return "transparent"
    rgb = "33,102,172" if strip.value[k] > 0 else "230,97,1"
    return f"rgba({rgb},{0.75 * abs(strip.value[k]) / scale:.2f})"


def _tip(credit: Credit, strip: Strip, k: int) -> str:
    batch, unit = credit.batch, int(strip.unit[k])
    what = f"{credit.level} {unit}"
    if strip.size[k] > 1:
        what += f", the strongest of {strip.size[k]:,}"
    said = ""
    if batch.text is not None and credit.level in ("turn", "step", "token"):
        text = batch.text[int(batch.within(credit.level, "turn")[unit])]
        said = f"\n{text[:300]}" if text else ""
    state = "dropped from the loss" if strip.dropped[k] else "not scored" if strip.null[k] else f"{strip.value[k]:.4g}"
    return f"{what}: {state}{said}"
